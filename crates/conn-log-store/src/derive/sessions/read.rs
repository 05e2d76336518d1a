//! Sessions as they are read: the table and the tail, settled together.

use std::collections::HashSet;
use std::sync::Arc;

use conn_log_core::Timestamp;

use super::rows::{self, SessionConditions, SessionRange};
use super::settle::SessionState;
use super::{SESSIONS, changes};
use crate::derive::Derivation;
use crate::derive::dictionary::{self, Names};
use crate::derive::facts::TimePosition;
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// A session of a device with an application.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Where its events have one.
    pub session_id: Option<String>,
    /// The device.
    pub device_id: String,
    /// The application.
    pub application_id: String,
    /// `None` where only an end was seen.
    pub started_at: Option<Timestamp>,
    /// `None` while it is open.
    pub ended_at: Option<Timestamp>,
    /// Seconds: as the ending event gives them, else the time from start to end.
    pub duration: Option<f64>,
    /// Whether no end was seen.
    pub open: bool,
    /// The status of the ending event.
    pub end_status: Option<String>,
    /// The event that started it.
    pub start_event_id: Option<i64>,
    /// The event that ended it; `None` too where the next start of its device did.
    pub end_event_id: Option<i64>,
}

/// The place of a session in the list: when it started, or ended where no start is known, and the
/// event that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    /// When.
    pub at: Timestamp,
    /// The event's id.
    pub event_id: i64,
}

impl Session {
    /// Its place in the list.
    pub fn place(&self) -> SessionPlace {
        SessionPlace {
            at: self.started_at.or(self.ended_at).unwrap_or_default(),
            event_id: self.start_event_id.or(self.end_event_id).unwrap_or_default(),
        }
    }
}

/// Which sessions. Every given filter must hold; within a repeatable one any value may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionFilter {
    /// Any of these devices; empty for all.
    pub device_ids: Vec<String>,
    /// Any of these applications; empty for all.
    pub application_ids: Vec<String>,
    /// Any of these sessions; empty for all.
    pub session_ids: Vec<String>,
    /// Only open ones, or only ended ones.
    pub open: Option<bool>,
    /// Only those that started (or ended, without a start) then or later.
    pub since: Option<Timestamp>,
    /// Only those that started (or ended, without a start) before.
    pub until: Option<Timestamp>,
}

/// A page of the sessions, newest first.
pub(crate) fn session_list(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    filter: &SessionFilter,
    query: &PageQuery<SessionPlace>,
) -> Result<Page<Session>, StoreError> {
    let cache = &derivation.dictionary;
    derivation.read(tenant, [SESSIONS], |connection, [watermark], tail, mut names| {
        let filtered = filter.device_ids.iter().chain(&filter.application_ids);
        dictionary::find(connection, tenant, cache, filtered, &mut names)?;
        let conditions = filter.conditions(&names);
        let changes = changes(connection, tenant, tail.past(watermark))?;

        let from = query.position().map(|place| (place.at, place.event_id));
        let range = SessionRange {
            from,
            is_backwards: query.is_backwards(),
            // Those that the tail changes may fall away.
            limit: query.limit.saturating_add(1 + changes.before.len()),
        };
        let mut sessions = rows::page(connection, tenant, &conditions, range)?;
        let touched: HashSet<TimePosition> =
            changes.before.iter().map(SessionState::position).collect();
        sessions.retain(|session| !touched.contains(&session.position()));
        let lies_there = |session: &SessionState| {
            let position = session.position();
            from.is_none_or(
                |from| if range.is_backwards { position > from } else { position < from },
            )
        };
        sessions.extend(
            changes
                .after
                .into_iter()
                .filter(|session| conditions.holds(session) && lies_there(session)),
        );
        sessions.sort_unstable_by_key(SessionState::position);
        if !range.is_backwards {
            sessions.reverse();
        }
        let page = query.page(sessions);
        let numbers = page.items.iter().flat_map(|session| {
            let status = session.end.and_then(|end| end.status);
            [Some(session.device), Some(session.application), status].into_iter().flatten()
        });
        dictionary::find_texts(connection, tenant, numbers, &mut names)?;
        let items = page.items.into_iter().map(|session| session_of(session, &names));
        Ok(Page { items: items.collect(), has_more: page.has_more })
    })
}

impl SessionFilter {
    /// A name that the log does not have gets a number that no session has.
    fn conditions(&self, names: &Names) -> SessionConditions {
        let numbers = |ids: &[String]| ids.iter().map(|id| names.number(id)).collect();
        SessionConditions {
            devices: numbers(&self.device_ids),
            applications: numbers(&self.application_ids),
            session_ids: self.session_ids.clone(),
            open: self.open,
            since: self.since,
            until: self.until,
        }
    }
}

fn session_of(session: SessionState, names: &Names) -> Session {
    let end = session.end;
    let started_at = session.start.map(|(at, _)| at);
    Session {
        device_id: names.text(session.device).to_owned(),
        application_id: names.text(session.application).to_owned(),
        started_at,
        ended_at: end.map(|end| end.at),
        duration: end.and_then(|end| end.duration.or_else(|| Some(seconds(started_at?, end.at)))),
        open: session.is_open(),
        end_status: end.and_then(|end| end.status).map(|status| names.text(status).to_owned()),
        start_event_id: session.start.map(|(_, event)| event),
        end_event_id: end.and_then(|end| end.event),
        session_id: session.session_id,
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years fit exactly")]
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.micros() - from.micros()).max(0) as f64 / 1e6
}
