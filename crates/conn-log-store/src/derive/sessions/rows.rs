//! Sessions in their table: reads those that events can change, settles them and writes them back.

use chrono::TimeDelta;
use conn_log_core::Timestamp;
use diesel::prelude::*;
use foldhash::{HashMap, HashMapExt as _, HashSet};

use super::fold::{END_BEFORE_START_MAX, meets, settle};
use super::marks::{Key, News};
use super::state::{End, SessionState, decode, encode};
use crate::derive::facts::TimePosition;
use crate::derive::schema::sessions;
use crate::engine::{AnyConnection, KEYS_AT_ONCE, Micros, clear_some, upsert};
use crate::tenant_id::TenantId;

/// The number by which the table finds a session id. Ids are random as a rule: an index of their
/// texts would be the largest of all, and each new session would change another page of it. Some ids
/// share a number, so that the id itself is compared too.
pub(super) fn session_hash(session_id: &str) -> i32 {
    crc32fast::hash(session_id.as_bytes()).cast_signed()
}

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
    session_hash: Option<i32>,
    start: Option<i16>,
    end_at: Option<Micros>,
    end_event: Option<i64>,
    end_status: Option<i32>,
    end_duration: Option<f64>,
    last_at: Micros,
    more: Option<Vec<u8>>,
    length: i16,
    is_suspended: bool,
}

/// The event that ended a session that timed out, as its row holds it: no event has this id.
const TIMED_OUT: i64 = 0;

/// The type of a session's start, as its row holds it.
const ESTABLISHED: i16 = 1;
const RESUMED: i16 = 2;

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
            session_hash: session.session_id.as_deref().map(session_hash),
            start: session.start.map(|_| if session.is_resumed { RESUMED } else { ESTABLISHED }),
            end_at: session.end.map(|end| Micros(end.at)),
            end_event: session
                .end
                .and_then(|end| if end.is_timed_out { Some(TIMED_OUT) } else { end.event }),
            end_status: session.end.and_then(|end| end.status),
            end_duration: session.end.and_then(|end| end.duration),
            last_at: Micros(session.last_at),
            more: encode(&session.more, &session.gaps),
            length: session.length(),
            is_suspended: session.is_suspended,
        }
    }
}

impl From<SessionRow> for SessionState {
    fn from(row: SessionRow) -> Self {
        let start = row.start.map(|_| (row.at.0, row.event));
        let end = row.end_at.map(|at| End {
            at: at.0,
            event: row.end_event.filter(|event| *event != TIMED_OUT),
            is_timed_out: row.end_event == Some(TIMED_OUT),
            status: row.end_status,
            duration: row.end_duration,
        });
        let (more, gaps) = decode(row.more.as_deref());
        SessionState {
            device: row.device,
            application: row.application,
            session_id: row.session_id,
            start,
            is_resumed: row.start == Some(RESUMED),
            end,
            is_suspended: row.is_suspended,
            last_at: row.last_at.0,
            more,
            gaps,
            stray_event: if start.is_none() && end.is_none() { row.event } else { 0 },
        }
    }
}

/// The changes by events to the table.
#[derive(Debug, Default)]
pub(in crate::derive) struct Changes {
    /// Sessions in the table that have changed or are removed.
    pub(in crate::derive) before: Vec<SessionState>,
    /// Their new state, and new sessions.
    pub(in crate::derive) after: Vec<SessionState>,
}

impl Changes {
    fn add(&mut self, before: &[SessionState], after: &[SessionState]) {
        let missing = |from: &[SessionState], of: &[SessionState]| -> Vec<SessionState> {
            of.iter().filter(|session| !from.contains(session)).cloned().collect()
        };
        self.before.extend(missing(after, before));
        self.after.extend(missing(before, after));
    }
}

/// Rows of a key from the first mark on that one read returns: nearly always all that are needed.
const AHEAD: i64 = 4;

/// Rows of many session ids that one read returns. Ids that many devices share have more; then each
/// key is read separately.
const SHARED_MAX: usize = KEYS_AT_ONCE * 4;

/// Computes the changes by the new events. Open sessions end at gaps longer than the `timeout`.
///
/// A session without an id is looked up alone: on Citus some milliseconds, and a step may have tens
/// of thousands. So a store that stops does not wait for the last of them.
///
/// # Errors
/// [`diesel::result::Error::RollbackTransaction`] once `is_stopped`.
pub(super) fn changes(
    connection: &mut AnyConnection,
    tenant: TenantId,
    news: HashMap<Key<'_>, News>,
    timeout: Option<TimeDelta>,
    is_stopped: impl Fn() -> bool,
) -> QueryResult<Changes> {
    let mut changes = Changes::default();
    let go_on =
        || if is_stopped() { Err(diesel::result::Error::RollbackTransaction) } else { Ok(()) };
    let (with_id, without): (Vec<_>, Vec<_>) =
        news.into_iter().partition(|(key, _)| key.session_id.is_some());
    for some in with_id.chunks(KEYS_AT_ONCE) {
        let Some(mut known) = load_by_ids(connection, tenant, some)? else {
            for (key, news) in some {
                go_on()?;
                change_stretch(connection, tenant, *key, news, timeout, &mut changes)?;
            }
            continue;
        };
        for (key, news) in some {
            let before = known.remove(key).unwrap_or_default();
            let before: Vec<SessionState> = before.into_iter().map(SessionState::from).collect();
            let after = settle(*key, &before, news, true, timeout);
            changes.add(&before, &after);
        }
    }
    for (key, news) in &without {
        go_on()?;
        change_stretch(connection, tenant, *key, news, timeout, &mut changes)?;
    }
    Ok(changes)
}

/// Reads all sessions of those keys; `None` if their ids have too many.
fn load_by_ids<'a>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    keys: &[(Key<'a>, News)],
) -> QueryResult<Option<HashMap<Key<'a>, Vec<SessionRow>>>> {
    let ids: HashSet<&str> = keys.iter().filter_map(|(key, _)| key.session_id).collect();
    let rows: Vec<SessionRow> = sessions::table
        .filter(sessions::tenant_id.eq(tenant.0))
        .filter(sessions::session_hash.eq_any(ids.iter().copied().map(session_hash)))
        .filter(sessions::session_id.eq_any(ids.iter().copied()))
        .limit(i64::try_from(SHARED_MAX).unwrap_or(i64::MAX))
        .select(SessionRow::as_select())
        .load(connection)?;
    if rows.len() == SHARED_MAX {
        return Ok(None);
    }
    let mut by_key: HashMap<Key<'a>, Vec<SessionRow>> = HashMap::new();
    for row in rows {
        let session_id = row.session_id.as_deref().and_then(|id| ids.get(id)).copied();
        let key = Key { device: row.device, application: row.application, session_id };
        by_key.entry(key).or_default().push(row);
    }
    Ok(Some(by_key))
}

/// Settles the sessions of a key that the new events can change.
fn change_stretch(
    connection: &mut AnyConnection,
    tenant: TenantId,
    key: Key<'_>,
    news: &News,
    timeout: Option<TimeDelta>,
    changes: &mut Changes,
) -> QueryResult<()> {
    if news.marks.is_empty() {
        // Events without a mark belong to the last session, unless they lie in gaps before it.
        let before: Vec<SessionState> = load_last(connection, tenant, key, Timestamp::MAX)?;
        let begin = before.first().map(|session| session.position().0);
        if news.times.first().is_none_or(|first| begin.is_none_or(|begin| *first >= begin)) {
            let after = settle(key, &before, news, true, timeout);
            changes.add(&before, &after);
            return Ok(());
        }
    }
    let marks = news.marks.iter().map(|mark| mark.position.0);
    let Some(first) = marks.chain(news.times.first().copied()).min() else { return Ok(()) };
    // An end waits for its start for that long.
    let since = first.plus(-END_BEFORE_START_MAX);
    let known = load_last(connection, tenant, key, since)?;
    let mut ahead = AHEAD;
    loop {
        let rows = load_from(connection, tenant, key, since, ahead)?;
        let is_all = i64::try_from(rows.len()).is_ok_and(|count| count < ahead);
        let mut before: Vec<SessionState> = known.iter().cloned().chain(rows).collect();
        let mut after = settle(key, &before, news, is_all, timeout);
        if !is_all {
            let Some(unchanged) = meets(&before, &after, news.last_at) else {
                ahead *= 8;
                continue;
            };
            before.retain(|session| session.position().0 < unchanged);
            after.retain(|session| session.position().0 < unchanged);
        }
        changes.add(&before, &after);
        return Ok(());
    }
}

/// The sessions of a key, as a query.
macro_rules! of_key {
    ($tenant:expr, $key:expr) => {{
        let (key, all) = ($key, sessions::table.filter(sessions::tenant_id.eq($tenant.0)));
        let all = all
            .filter(sessions::device.eq(key.device))
            .filter(sessions::application.eq(key.application))
            .select(SessionRow::as_select())
            .into_boxed();
        match key.session_id {
            Some(session_id) => all
                .filter(sessions::session_hash.eq(session_hash(session_id)))
                .filter(sessions::session_id.eq(session_id.to_owned())),
            None => all.filter(sessions::session_id.is_null()),
        }
    }};
}

/// Reads the last session of the key that began before that position, if there is one.
fn load_last(
    connection: &mut AnyConnection,
    tenant: TenantId,
    key: Key<'_>,
    until: Timestamp,
) -> QueryResult<Vec<SessionState>> {
    let rows: Vec<SessionRow> = of_key!(tenant, key)
        .filter(sessions::at.lt(Micros(until)))
        .order((sessions::at.desc(), sessions::event.desc()))
        .limit(1)
        .load(connection)?;
    Ok(rows.into_iter().map(SessionState::from).collect())
}

fn load_from(
    connection: &mut AnyConnection,
    tenant: TenantId,
    key: Key<'_>,
    since: Timestamp,
    limit: i64,
) -> QueryResult<Vec<SessionState>> {
    let rows: Vec<SessionRow> = of_key!(tenant, key)
        .filter(sessions::at.ge(Micros(since)))
        .order((sessions::at.asc(), sessions::event.asc()))
        .limit(limit)
        .load(connection)?;
    Ok(rows.into_iter().map(SessionState::from).collect())
}

/// Writes the changes that [`changes`] found to the table.
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
    // The event in the key determines device, application and session id.
    upsert!(
        connection,
        sessions,
        &rows,
        key: (tenant_id, at, event),
        kept: (device, application, session_id, session_hash),
        set: (
            start,
            end_at,
            end_event,
            end_status,
            end_duration,
            last_at,
            more,
            length,
            is_suspended
        )
    );
    Ok(())
}

/// Deletes some sessions of a tenant; returns whether there may be more.
pub(super) fn clear_some_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<bool> {
    Ok(clear_some!(connection, sessions, at: Micros, tenant))
}
