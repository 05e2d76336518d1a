//! Sessions in their table: those that marks concern are read, settled and written back.

use std::collections::{BTreeMap, HashMap, HashSet};

use conn_log_core::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::settle::{End, Key, Mark, SessionState, settle_pair, settle_session, stretch};
use crate::derive::facts::TimePosition;
use crate::derive::schema::sessions;
use crate::engine::{AnyConnection, KEYS_AT_ONCE, Micros, clear_some, upsert};
use crate::tenant_id::TenantId;

/// A session as a row.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub(super) struct SessionRow {
    tenant_id: i32,
    at: Micros,
    event: i64,
    device: i32,
    application: i32,
    session_id: Option<String>,
    start_at: Option<Micros>,
    start_event: Option<i64>,
    end_at: Option<Micros>,
    end_event: Option<i64>,
    end_status: Option<i32>,
    end_duration: Option<f64>,
    is_open: bool,
}

impl SessionRow {
    fn new(tenant: TenantId, session: &SessionState) -> Self {
        let (at, event) = session.position();
        SessionRow {
            tenant_id: tenant.0,
            at: Micros(at),
            event,
            device: session.device,
            application: session.application,
            session_id: session.session_id.clone(),
            start_at: session.start.map(|(at, _)| Micros(at)),
            start_event: session.start.map(|(_, event)| event),
            end_at: session.end.map(|end| Micros(end.at)),
            end_event: session.end.and_then(|end| end.event),
            end_status: session.end.and_then(|end| end.status),
            end_duration: session.end.and_then(|end| end.duration),
            is_open: session.is_open(),
        }
    }
}

impl From<SessionRow> for SessionState {
    fn from(row: SessionRow) -> Self {
        SessionState {
            device: row.device,
            application: row.application,
            session_id: row.session_id,
            start: row.start_at.map(|at| at.0).zip(row.start_event),
            end: row.end_at.map(|at| End {
                at: at.0,
                event: row.end_event,
                status: row.end_status,
                duration: row.end_duration,
            }),
        }
    }
}

/// The changes that marks make to the table.
#[derive(Debug, Default)]
pub(in crate::derive) struct Changes {
    /// Sessions that were there and are another now, or are no more.
    pub(in crate::derive) before: Vec<SessionState>,
    /// What they are now, and new ones.
    pub(in crate::derive) after: Vec<SessionState>,
}

/// Sessions of a pair from the first mark on that are read at once: nearly always all that matter.
const AHEAD: i64 = 8;

/// What these marks change.
pub(super) fn settle(
    connection: &mut AnyConnection,
    tenant: TenantId,
    marks: &BTreeMap<Key, Vec<Mark>>,
) -> QueryResult<Changes> {
    let ids: Vec<&str> = marks
        .keys()
        .filter_map(|key| match key {
            Key::Session(id) => Some(id.as_str()),
            Key::Pair(..) => None,
        })
        .collect();
    let mut by_id = load_by_id(connection, tenant, &ids)?;
    let mut changes = Changes::default();
    for (key, marks) in marks {
        let (before, after) = match key {
            Key::Session(id) => {
                let before = by_id.remove(id);
                let after = settle_session(id, before.as_ref(), marks);
                (before.into_iter().collect(), after.into_iter().collect())
            }
            Key::Pair(device, application) => {
                let pair = (*device, *application);
                let before = load_stretch(connection, tenant, pair, marks)?;
                let after = settle_pair(pair, &before, marks);
                (before, after)
            }
        };
        changes.add(&before, after);
    }
    Ok(changes)
}

impl Changes {
    fn add(&mut self, before: &[SessionState], after: Vec<SessionState>) {
        self.before.extend(before.iter().filter(|session| !after.contains(session)).cloned());
        self.after.extend(after.into_iter().filter(|session| !before.contains(session)));
    }
}

fn load_by_id(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ids: &[&str],
) -> QueryResult<HashMap<String, SessionState>> {
    let mut found = HashMap::new();
    for some in ids.chunks(KEYS_AT_ONCE) {
        let rows: Vec<SessionRow> = sessions::table
            .filter(sessions::tenant_id.eq(tenant.0))
            .filter(sessions::session_id.eq_any(some.iter().copied()))
            .select(SessionRow::as_select())
            .load(connection)?;
        let states = rows.into_iter().map(SessionState::from);
        found.extend(states.filter_map(|session| Some((session.session_id.clone()?, session))));
    }
    Ok(found)
}

/// The sessions of a pair that these marks can change.
fn load_stretch(
    connection: &mut AnyConnection,
    tenant: TenantId,
    (device, application): (i32, i32),
    marks: &[Mark],
) -> QueryResult<Vec<SessionState>> {
    let times = || marks.iter().map(|mark| mark.position.0);
    let (Some(since), Some(until)) = (times().min(), times().max()) else {
        return Ok(Vec::new());
    };
    let of_pair = || {
        sessions::table
            .filter(sessions::tenant_id.eq(tenant.0))
            .filter(sessions::device.eq(device))
            .filter(sessions::application.eq(application))
            .filter(sessions::session_id.is_null())
    };
    let before: Option<SessionRow> = of_pair()
        .filter(sessions::at.lt(Micros(since)))
        .order(sessions::at.desc())
        .select(SessionRow::as_select())
        .first(connection)
        .optional()?;
    let mut ahead = AHEAD;
    loop {
        let rows: Vec<SessionRow> = of_pair()
            .filter(sessions::at.ge(Micros(since)))
            .order(sessions::at)
            .limit(ahead)
            .select(SessionRow::as_select())
            .load(connection)?;
        let is_all = i64::try_from(rows.len()).is_ok_and(|count| count < ahead);
        let mut found: Vec<SessionState> =
            before.iter().cloned().chain(rows).map(SessionState::from).collect();
        match stretch(&found, until) {
            Some(count) => found.truncate(count),
            None if is_all => {}
            None => {
                ahead *= 8;
                continue;
            }
        }
        return Ok(found);
    }
}

/// Brings the table to what [`settle`] found.
pub(super) fn write_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    changes: &Changes,
) -> QueryResult<()> {
    let positions: HashSet<TimePosition> =
        changes.after.iter().map(SessionState::position).collect();
    for session in &changes.before {
        let (at, event) = session.position();
        if !positions.contains(&(at, event)) {
            let gone = sessions::table.find((tenant.0, Micros(at), event));
            diesel::delete(gone).execute(connection)?;
        }
    }
    let mut rows: Vec<SessionRow> =
        changes.after.iter().map(|session| SessionRow::new(tenant, session)).collect();
    rows.sort_unstable_by_key(|row| (row.at, row.event));
    // Device, application and session id are those of the event that the key names.
    upsert!(
        connection,
        sessions,
        &rows,
        key: (tenant_id, at, event),
        kept: (device, application, session_id),
        set: (start_at, start_event, end_at, end_event, end_status, end_duration, is_open)
    );
    Ok(())
}

/// Forgets some of a tenant's; tells whether there may be more.
pub(super) fn clear_some_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<bool> {
    Ok(clear_some!(connection, sessions, at: Micros, tenant))
}

/// Conditions on sessions. Numbers are of names; an empty list means any.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionConditions {
    pub(super) devices: Vec<i32>,
    pub(super) applications: Vec<i32>,
    pub(super) session_ids: Vec<String>,
    pub(super) open: Option<bool>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl SessionConditions {
    pub(super) fn holds(&self, session: &SessionState) -> bool {
        let any = |list: &[i32], number| list.is_empty() || list.contains(&number);
        let at = session.position().0;
        any(&self.devices, session.device)
            && any(&self.applications, session.application)
            && (self.session_ids.is_empty()
                || session.session_id.as_ref().is_some_and(|id| self.session_ids.contains(id)))
            && self.open.is_none_or(|open| session.is_open() == open)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }
}

/// From where a page of sessions goes on, which way, and how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRange {
    pub(super) from: Option<TimePosition>,
    /// Towards later sessions.
    pub(super) is_backwards: bool,
    pub(super) limit: usize,
}

/// Up to that many sessions in the order of the range.
pub(super) fn page(
    connection: &mut AnyConnection,
    tenant: TenantId,
    conditions: &SessionConditions,
    range: SessionRange,
) -> QueryResult<Vec<SessionState>> {
    let mut select = sessions::table
        .filter(sessions::tenant_id.eq(tenant.0))
        .select(SessionRow::as_select())
        .limit(i64::try_from(range.limit).unwrap_or(i64::MAX))
        .into_boxed();
    // One is compared, so that PostgreSQL takes the rows in the order of its index.
    select = match conditions.devices[..] {
        [] => select,
        [one] => select.filter(sessions::device.eq(one)),
        _ => select.filter(sessions::device.eq_any(conditions.devices.clone())),
    };
    select = match conditions.applications[..] {
        [] => select,
        [one] => select.filter(sessions::application.eq(one)),
        _ => select.filter(sessions::application.eq_any(conditions.applications.clone())),
    };
    if !conditions.session_ids.is_empty() {
        select = select.filter(sessions::session_id.eq_any(conditions.session_ids.clone()));
    }
    match conditions.open {
        // As the partial indexes have it.
        Some(true) => select = select.filter(sql::<Bool>("is_open")),
        Some(false) => select = select.filter(sql::<Bool>("NOT is_open")),
        None => {}
    }
    if let Some(since) = conditions.since {
        select = select.filter(sessions::at.ge(Micros(since)));
    }
    if let Some(until) = conditions.until {
        select = select.filter(sessions::at.lt(Micros(until)));
    }
    if let Some((at, event)) = range.from {
        let at = Micros(at);
        select = if range.is_backwards {
            select
                .filter(sessions::at.ge(at))
                .filter(sessions::at.gt(at).or(sessions::event.gt(event)))
        } else {
            select
                .filter(sessions::at.le(at))
                .filter(sessions::at.lt(at).or(sessions::event.lt(event)))
        };
    }
    let rows: Vec<SessionRow> = if range.is_backwards {
        select.order((sessions::at.asc(), sessions::event.asc())).load(connection)?
    } else {
        select.order((sessions::at.desc(), sessions::event.desc())).load(connection)?
    };
    Ok(rows.into_iter().map(SessionState::from).collect())
}

/// Open sessions of each of those devices.
pub(in crate::derive) fn open_by_device(
    connection: &mut AnyConnection,
    tenant: TenantId,
    devices: &[i32],
) -> QueryResult<HashMap<i32, i64>> {
    let rows: Vec<(i32, i64)> = sessions::table
        .filter(sessions::tenant_id.eq(tenant.0))
        .filter(sessions::device.eq_any(devices.iter().copied()))
        .filter(sql::<Bool>("is_open"))
        .group_by(sessions::device)
        .select((sessions::device, diesel::dsl::count_star()))
        .load(connection)?;
    Ok(rows.into_iter().collect())
}

/// Open sessions of each of those applications.
pub(in crate::derive) fn open_by_application(
    connection: &mut AnyConnection,
    tenant: TenantId,
    applications: &[i32],
) -> QueryResult<HashMap<i32, i64>> {
    let rows: Vec<(i32, i64)> = sessions::table
        .filter(sessions::tenant_id.eq(tenant.0))
        .filter(sessions::application.eq_any(applications.iter().copied()))
        .filter(sql::<Bool>("is_open"))
        .group_by(sessions::application)
        .select((sessions::application, diesel::dsl::count_star()))
        .load(connection)?;
    Ok(rows.into_iter().collect())
}
