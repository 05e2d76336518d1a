//! Reads of sessions: the table and the tail, settled together.

use std::collections::HashSet;
use std::sync::Arc;

use conn_log_core::Timestamp;

use super::list::{self, SessionConditions, SessionRange, Window};
use super::state::SessionState;
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
    /// `None` if its events have no session id.
    pub session_id: Option<String>,
    /// The device.
    pub device_id: String,
    /// The application.
    pub application_id: String,
    /// `None` if only an end was seen.
    pub started_at: Option<Timestamp>,
    /// `None` while it is open.
    pub ended_at: Option<Timestamp>,
    /// In seconds: as the ending event gives it, else the time from start to end.
    pub duration: Option<f64>,
    /// Whether it has started and not ended.
    pub open: bool,
    /// The reason why it ended; `None` while it is open.
    pub end_reason: Option<EndReason>,
    /// The status of the ending event.
    pub end_status: Option<String>,
    /// The time of its key's latest event within it.
    pub last_event_at: Timestamp,
    /// The event that started it.
    pub start_event_id: Option<i64>,
    /// The event that ended it; `None` if no event did.
    pub end_event_id: Option<i64>,
}

/// The reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// An event of type `terminated`.
    Terminated,
    /// The next start of its key, which has no session id.
    Superseded,
    /// No event came for longer than the session time-out.
    TimedOut,
}

/// The position of a session in the list: its start, or its end if no start is known, and the id of
/// the event at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    /// The time.
    pub at: Timestamp,
    /// The event's id.
    pub event_id: i64,
}

impl Session {
    /// Its position in the list.
    pub fn place(&self) -> SessionPlace {
        SessionPlace {
            at: self.started_at.or(self.ended_at).unwrap_or_default(),
            event_id: self.start_event_id.or(self.end_event_id).unwrap_or_default(),
        }
    }
}

/// A filter for sessions. Every given condition must hold; within a repeatable one any value may.
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
    /// Only those that were open at some moment from this time on.
    pub since: Option<Timestamp>,
    /// Only those that were open at some moment before this time, and not before `since`.
    pub until: Option<Timestamp>,
    /// Only those that were open at this time.
    pub active_at: Option<Timestamp>,
}

/// A page of the sessions, newest first.
pub(crate) fn session_list(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    filter: &SessionFilter,
    query: &PageQuery<SessionPlace>,
) -> Result<Page<Session>, StoreError> {
    let cache = &derivation.dictionary;
    let quiet_since = derivation.quiet_since();
    derivation.read(tenant, [SESSIONS], |connection, [watermark], tail, mut names| {
        let filtered = filter.device_ids.iter().chain(&filter.application_ids);
        dictionary::find(connection, tenant, cache, filtered, &mut names)?;
        let conditions = filter.conditions(&names, quiet_since);
        let changes =
            changes(connection, tenant, tail.past(watermark), derivation.session_timeout, || {
                false
            })?;

        let range = SessionRange {
            from: query.position().map(|place| (place.at, place.event_id)),
            is_backwards: query.is_backwards(),
            // Sessions that the tail changes may drop out of the page.
            limit: query.limit.saturating_add(1 + changes.before.len()),
        };
        let mut sessions = list::page(connection, tenant, &conditions, range)?;
        let touched: HashSet<TimePosition> =
            changes.before.iter().map(SessionState::position).collect();
        sessions.retain(|session| !touched.contains(&session.position()));
        let is_wanted =
            |session: &SessionState| conditions.holds(session) && range.reaches(session);
        sessions.extend(changes.after.into_iter().filter(is_wanted));
        range.sort(&mut sessions);
        let page = query.page(sessions);
        let numbers = page.items.iter().flat_map(|session| {
            let status = session.end.and_then(|end| end.status);
            [Some(session.device), Some(session.application), status].into_iter().flatten()
        });
        dictionary::find_texts(connection, tenant, numbers, &mut names)?;
        let items = page.items.into_iter().map(|session| session_of(session, &names, quiet_since));
        Ok(Page { items: items.collect(), has_more: page.has_more })
    })
}

impl SessionFilter {
    /// A name that is not in the log gets a number that no session has.
    fn conditions(&self, names: &Names, quiet_since: Option<Timestamp>) -> SessionConditions {
        let numbers = |ids: &[String]| ids.iter().map(|id| names.number(id)).collect();
        SessionConditions {
            devices: numbers(&self.device_ids),
            applications: numbers(&self.application_ids),
            session_ids: self.session_ids.clone(),
            open: self.open,
            windows: self.windows(),
            quiet_since,
        }
    }

    fn windows(&self) -> Vec<Window> {
        let mut windows = Vec::new();
        if self.since.is_some() || self.until.is_some() {
            windows.push(Window {
                since: self.since.unwrap_or(Timestamp::MIN),
                until: self.until.unwrap_or(Timestamp::MAX),
            });
        }
        let moment = chrono::TimeDelta::microseconds(1);
        windows.extend(self.active_at.map(|at| Window { since: at, until: at.plus(moment) }));
        windows
    }
}

fn session_of(session: SessionState, names: &Names, quiet_since: Option<Timestamp>) -> Session {
    let end = session.end;
    let started_at = session.start.map(|(at, _)| at);
    let ended_at = session.ended_at(quiet_since);
    let between = started_at.zip(ended_at).map(|(start, end)| seconds(start, end));
    let end_reason = ended_at.map(|_| match end {
        Some(end) if end.event.is_some() => EndReason::Terminated,
        Some(end) if end.is_timed_out => EndReason::TimedOut,
        Some(_) => EndReason::Superseded,
        None => EndReason::TimedOut,
    });
    Session {
        device_id: names.text(session.device).to_owned(),
        application_id: names.text(session.application).to_owned(),
        started_at,
        ended_at,
        duration: end.and_then(|end| end.duration).or(between),
        open: session.is_open(quiet_since),
        end_reason,
        end_status: end.and_then(|end| end.status).map(|status| names.text(status).to_owned()),
        last_event_at: session.last_event_at(),
        start_event_id: session.start.map(|(_, event)| event),
        end_event_id: end.and_then(|end| end.event),
        session_id: session.session_id,
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years fit exactly")]
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.micros() - from.micros()).max(0) as f64 / 1e6
}
