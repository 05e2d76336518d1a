//! Lists of sessions from the table: conditions, and pages that indexes serve.

use conn_log_core::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::rows::{SessionRow, session_hash};
use super::state::{
    IS_ENDED, IS_OPEN, LENGTH_MAX, LENGTH_OPEN, SessionState, length_end, stray_at,
};
use crate::derive::facts::TimePosition;
use crate::derive::schema::sessions;
use crate::engine::{AnyConnection, Instant, Micros};
use crate::tenant_id::TenantId;

/// A half-open range of time. It includes sessions that were open at some moment of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// Conditions on sessions. The numbers stand for names; an empty list means any.
#[derive(Clone, Debug)]
pub(super) struct SessionConditions {
    pub(super) devices: Vec<i32>,
    pub(super) applications: Vec<i32>,
    pub(super) session_ids: Vec<String>,
    pub(super) open: Option<bool>,
    pub(super) windows: Vec<Window>,
    /// Sessions without an event after this time have timed out.
    pub(super) quiet_since: Option<Timestamp>,
}

impl SessionConditions {
    pub(super) fn holds(&self, session: &SessionState) -> bool {
        let any = |list: &[i32], number| list.is_empty() || list.contains(&number);
        !session.is_stray()
            && any(&self.devices, session.device)
            && any(&self.applications, session.application)
            && (self.session_ids.is_empty()
                || session.session_id.as_ref().is_some_and(|id| self.session_ids.contains(id)))
            && self.open.is_none_or(|open| session.is_open(self.quiet_since) == open)
            && self.windows.iter().all(|window| window.holds(session, self.quiet_since))
    }

    /// The classes of length to read one by one, if an index by time alone would also read many
    /// sessions without an end. `None` if it would not.
    fn classes(&self) -> Option<Vec<i16>> {
        let is_few = !self.devices.is_empty() || !self.session_ids.is_empty();
        let ended = 0..=LENGTH_MAX;
        match self.open {
            _ if is_few => None,
            Some(true) => Some(vec![LENGTH_OPEN]),
            Some(false) => Some(ended.chain(self.quiet_since.map(|_| LENGTH_OPEN)).collect()),
            None if self.windows.iter().all(|window| window.since == Timestamp::MIN) => None,
            None => Some(ended.chain([LENGTH_OPEN]).collect()),
        }
    }
}

impl Window {
    /// Whether a session was open in the range. A session is open from its start until before its
    /// end, and at its start; one without a known start at its end.
    fn holds(self, session: &SessionState, quiet_since: Option<Timestamp>) -> bool {
        let begin = session.position().0;
        begin < self.until
            && (begin >= self.since
                || session.ended_at(quiet_since).is_none_or(|end| end > self.since))
    }
}

/// The start, the direction and the limit of a page of sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRange {
    pub(super) from: Option<TimePosition>,
    /// Towards later sessions.
    pub(super) is_backwards: bool,
    pub(super) limit: usize,
}

impl SessionRange {
    /// Whether a session lies in the range.
    pub(super) fn reaches(&self, session: &SessionState) -> bool {
        let position = session.position();
        let is_beyond = |from| if self.is_backwards { position > from } else { position < from };
        self.from.is_none_or(is_beyond)
    }

    /// Sorts sessions in the order of the range.
    pub(super) fn sort(&self, sessions: &mut [SessionState]) {
        sessions.sort_unstable_by_key(SessionState::position);
        if !self.is_backwards {
            sessions.reverse();
        }
    }
}

/// Reads up to that many sessions in the order of the range.
pub(super) fn page(
    connection: &mut AnyConnection,
    tenant: TenantId,
    conditions: &SessionConditions,
    range: SessionRange,
) -> QueryResult<Vec<SessionState>> {
    let Some(classes) = conditions.classes() else {
        return page_of(connection, tenant, conditions, range, None);
    };
    let mut sessions = Vec::new();
    for class in classes {
        sessions.extend(page_of(connection, tenant, conditions, range, Some(class))?);
    }
    range.sort(&mut sessions);
    sessions.truncate(range.limit);
    Ok(sessions)
}

/// Reads the same for one class of length, or for all.
fn page_of(
    connection: &mut AnyConnection,
    tenant: TenantId,
    conditions: &SessionConditions,
    range: SessionRange,
    class: Option<i16>,
) -> QueryResult<Vec<SessionState>> {
    let mut select = sessions::table
        .filter(sessions::tenant_id.eq(tenant.0))
        .filter(sessions::at.gt(Micros(stray_at())))
        .select(SessionRow::as_select())
        .limit(i64::try_from(range.limit).unwrap_or(i64::MAX))
        .into_boxed();
    // A single value is compared by `=`, so that PostgreSQL takes the rows in the order of its
    // index.
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
        let hashes = conditions.session_ids.iter().map(|id| session_hash(id));
        select = select
            .filter(sessions::session_hash.eq_any(hashes))
            .filter(sessions::session_id.eq_any(conditions.session_ids.clone()));
    }
    if let Some(class) = class {
        select = select.filter(sessions::length.eq(class));
    }
    // The condition in the form of the partial indexes.
    let is_open = || sql::<Bool>(IS_OPEN);
    select = match (conditions.open, conditions.quiet_since.map(Micros)) {
        (None, _) => select,
        (Some(true), None) => select.filter(is_open()),
        (Some(true), Some(quiet)) => select.filter(is_open()).filter(sessions::last_at.gt(quiet)),
        (Some(false), None) => select.filter(sql::<Bool>(IS_ENDED)),
        (Some(false), Some(quiet)) => {
            select.filter(sql::<Bool>(IS_ENDED).or(sessions::last_at.le(quiet)))
        }
    };
    for window in &conditions.windows {
        let since = Micros(window.since);
        select = select.filter(sessions::at.lt(Micros(window.until)));
        if let Some(class) = class.filter(|class| *class <= LENGTH_MAX) {
            let reach = window.since.plus(-length_end(class));
            select = select.filter(sessions::at.gt(Micros(reach)));
        }
        let is_within = sql::<Bool>("(at >= ")
            .bind::<Instant, _>(since)
            .sql(" OR end_at > ")
            .bind::<Instant, _>(since);
        select = match conditions.quiet_since {
            None => select.filter(is_within.sql(" OR length = 32)")),
            Some(quiet) => select.filter(
                is_within
                    .sql(" OR length = 32 AND last_at > ")
                    .bind::<Instant, _>(Micros(quiet.min(window.since)))
                    .sql(")"),
            ),
        };
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
