//! The expected answers, computed from all rows in the simplest way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use conn_log_core::{EventFields, Record, Timestamp};
use conn_log_store::{Application, Device, EndReason, Session};

/// The state of a log at a time. With a timeout, an open session without an event for longer has
/// ended at its last.
pub(crate) struct Reference<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) timeout: Option<Duration>,
    pub(crate) now: Timestamp,
}

/// A session, and whether it is suspended.
struct Walked {
    session: Session,
    is_suspended: bool,
}

impl Walked {
    fn is_connected(&self) -> bool {
        self.session.open && !self.is_suspended
    }
}

/// All devices, by id, if no session times out.
pub(crate) fn devices(records: &[Record]) -> Vec<Device> {
    Reference { records, timeout: None, now: Timestamp::MAX }.devices()
}

impl Reference<'_> {
    /// All devices, by id.
    pub(crate) fn devices(&self) -> Vec<Device> {
        let sessions = self.walked();
        let ids: BTreeSet<&str> =
            all(self.records).map(|(_, parts)| parts.device_id.as_str()).collect();
        let device = |id: &str| {
            let mut own: Vec<(i64, &EventFields)> =
                all(self.records).filter(|(_, parts)| parts.device_id == id).collect();
            own.sort_by_key(|(id, parts)| (parts.timestamp, *id));
            let (_, last) = own[own.len() - 1];
            let of_device = || sessions.iter().filter(|walked| walked.session.device_id == id);
            Device {
                device_id: id.to_owned(),
                first_seen: own[0].1.timestamp,
                last_seen: last.timestamp,
                connected: of_device().any(Walked::is_connected),
                last_application_id: last.application_id.clone(),
                last_ip_address: own.iter().rev().find_map(|(_, parts)| parts.ip_address),
                last_status: last.status.clone(),
                events: count(own.len()),
                failures: count(own.iter().filter(|(_, parts)| parts.status != "success").count()),
                open_sessions: count(of_device().filter(|walked| walked.session.open).count()),
            }
        };
        ids.into_iter().map(device).collect()
    }

    /// Whether a device has an event with an application.
    pub(crate) fn has_used(&self, device: &str, application: &str) -> bool {
        all(self.records)
            .any(|(_, parts)| parts.device_id == device && parts.application_id == application)
    }

    /// All applications, by id.
    pub(crate) fn applications(&self) -> Vec<Application> {
        let sessions = self.walked();
        let ids: BTreeSet<&str> =
            all(self.records).map(|(_, parts)| parts.application_id.as_str()).collect();
        let application = |id: &str| {
            let own: Vec<&EventFields> = all(self.records)
                .map(|(_, parts)| parts)
                .filter(|parts| parts.application_id == id)
                .collect();
            let devices: BTreeSet<&str> =
                own.iter().map(|parts| parts.device_id.as_str()).collect();
            let of_application =
                || sessions.iter().filter(|walked| walked.session.application_id == id);
            let connected: BTreeSet<&str> = of_application()
                .filter(|walked| walked.is_connected())
                .map(|walked| walked.session.device_id.as_str())
                .collect();
            Application {
                application_id: id.to_owned(),
                first_seen: own.iter().map(|parts| parts.timestamp).min().unwrap(),
                last_seen: own.iter().map(|parts| parts.timestamp).max().unwrap(),
                devices: count(devices.len()),
                connected_devices: count(connected.len()),
                events: count(own.len()),
                failures: count(own.iter().filter(|parts| parts.status != "success").count()),
                open_sessions: count(of_application().filter(|w| w.session.open).count()),
            }
        };
        ids.into_iter().map(application).collect()
    }

    /// All sessions, newest first.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let mut sessions: Vec<Session> =
            self.walked().into_iter().map(|walked| walked.session).collect();
        sessions.sort_by_key(|session| (session.place().at, session.place().event_id));
        sessions.reverse();
        sessions
    }

    fn walked(&self) -> Vec<Walked> {
        let mut by_key: BTreeMap<_, Vec<(i64, &EventFields)>> = BTreeMap::new();
        for (id, parts) in all(self.records) {
            let key = (&parts.device_id, &parts.application_id, &parts.session_id);
            by_key.entry(key).or_default().push((id, parts));
        }
        by_key.into_values().flat_map(|events| self.walk(events)).collect()
    }

    /// The sessions of one key, event by event.
    fn walk(&self, mut events: Vec<(i64, &EventFields)>) -> Vec<Walked> {
        events.sort_by_key(|(id, parts)| (parts.timestamp, *id));
        let last_at = events[events.len() - 1].1.timestamp;
        let times: Vec<Timestamp> = events.iter().map(|(_, parts)| parts.timestamp).collect();
        let mut seen = BTreeSet::new();
        let mut marks = events;
        marks.retain(|(_, parts)| {
            is_mark(parts) && seen.insert((parts.timestamp, &parts.connection_type))
        });
        let mut walk = Walk::default();
        while let Some((_, first)) = marks.first() {
            walk.time_out(&times, first.timestamp, self.timeout);
            // At one instant an end of an open session is processed first.
            let here = marks.iter().take_while(|(_, parts)| parts.timestamp == first.timestamp);
            let is_end = |parts: &EventFields| parts.connection_type == "terminated";
            let end = here.clone().position(|(_, parts)| is_end(parts));
            let next = if walk.is_open { end.unwrap_or(0) } else { 0 };
            let (id, mark) = marks.remove(next);
            walk.take(id, mark);
        }
        walk.time_out(&times, last_at, self.timeout);
        for (walked, _) in &mut walk.sessions {
            self.finish(walked, last_at);
        }
        walk.sessions.into_iter().map(|(walked, _)| walked).collect()
    }

    fn finish(&self, walked: &mut Walked, key_last_at: Timestamp) {
        let session = &mut walked.session;
        session.last_event_at = match session.ended_at {
            None => key_last_at,
            Some(ended_at) => session.started_at.unwrap_or(ended_at).max(ended_at),
        };
        if session.open && is_longer(self.timeout, session.last_event_at, self.now) {
            time_out(session, session.last_event_at);
        }
        let seconds =
            |from: Timestamp, to: Timestamp| (to.micros() - from.micros()).max(0) as f64 / 1e6;
        let between = session.started_at.zip(session.ended_at).map(|(s, e)| seconds(s, e));
        session.duration = session.duration.or(between);
    }
}

/// The sessions so far, each with a flag: whether a start may still be added.
#[derive(Default)]
struct Walk {
    sessions: Vec<(Walked, bool)>,
    /// Whether the last of them is open.
    is_open: bool,
}

/// Whether the time between two others is longer than the timeout.
fn is_longer(timeout: Option<Duration>, from: Timestamp, to: Timestamp) -> bool {
    timeout.is_some_and(|timeout| {
        i128::from(to.micros()) - i128::from(from.micros())
            > i128::try_from(timeout.as_micros()).unwrap()
    })
}

fn time_out(session: &mut Session, at: Timestamp) {
    session.open = false;
    session.ended_at = Some(at);
    session.end_reason = Some(EndReason::TimedOut);
}

impl Walk {
    /// Ends the open session if it saw none of the key's events for too long, up to that time.
    fn time_out(&mut self, times: &[Timestamp], until: Timestamp, timeout: Option<Duration>) {
        let Some((open, _)) = self.sessions.last_mut().filter(|_| self.is_open) else { return };
        let begin = open.session.started_at.unwrap();
        let seen: Vec<_> = times.iter().filter(|at| **at >= begin && **at <= until).collect();
        for pair in seen.windows(2) {
            if is_longer(timeout, *pair[0], *pair[1]) {
                time_out(&mut open.session, *pair[0]);
                open.is_suspended = false;
                self.is_open = false;
                return;
            }
        }
    }

    fn take(&mut self, id: i64, mark: &EventFields) {
        let kind = mark.connection_type.as_str();
        let open = self.sessions.last_mut().filter(|_| self.is_open).map(|(walked, _)| walked);
        match (kind, open) {
            ("suspended", Some(open)) => open.is_suspended = true,
            ("suspended", None) => {}
            ("terminated", Some(open)) => {
                end(&mut open.session, id, mark);
                open.is_suspended = false;
                self.is_open = false;
            }
            ("terminated", None) => {
                let mut session = empty(mark);
                end(&mut session, id, mark);
                self.sessions.push((Walked { session, is_suspended: false }, true));
            }
            (_, Some(open))
                if mark.session_id.is_some() || kind == "resumed" && open.is_suspended =>
            {
                open.is_suspended = false;
            }
            (_, open) => {
                if let Some(open) = open {
                    open.session.open = false;
                    open.session.ended_at = Some(mark.timestamp);
                    open.session.end_reason = Some(EndReason::Superseded);
                    open.is_suspended = false;
                }
                self.start(id, mark);
            }
        }
    }

    fn start(&mut self, id: i64, mark: &EventFields) {
        let minute_before = mark.timestamp.micros() - 60_000_000;
        let early = self.sessions.iter_mut().find(|(walked, may_start)| {
            *may_start && walked.session.ended_at.unwrap().micros() >= minute_before
        });
        if let Some((walked, _)) = early {
            walked.session.started_at = Some(mark.timestamp);
            walked.session.start_event_id = Some(id);
            self.is_open = false;
        } else {
            let mut session = empty(mark);
            session.open = true;
            session.started_at = Some(mark.timestamp);
            session.start_event_id = Some(id);
            self.sessions.push((Walked { session, is_suspended: false }, false));
            self.is_open = true;
        }
        // Only the next start can be the start of an earlier end.
        for (_, may_start) in &mut self.sessions {
            *may_start = false;
        }
    }
}

fn end(session: &mut Session, id: i64, mark: &EventFields) {
    session.open = false;
    session.ended_at = Some(mark.timestamp);
    session.end_reason = Some(EndReason::Terminated);
    session.end_status = Some(mark.status.clone());
    session.end_event_id = Some(id);
    session.duration = mark.duration;
}

fn empty(mark: &EventFields) -> Session {
    Session {
        session_id: mark.session_id.clone(),
        device_id: mark.device_id.clone(),
        application_id: mark.application_id.clone(),
        started_at: None,
        ended_at: None,
        duration: None,
        open: false,
        end_reason: None,
        end_status: None,
        last_event_at: mark.timestamp,
        start_event_id: None,
        end_event_id: None,
    }
}

fn is_mark(parts: &EventFields) -> bool {
    match parts.connection_type.as_str() {
        "established" | "resumed" | "suspended" => parts.status == "success",
        kind => kind == "terminated",
    }
}

pub(crate) fn all(records: &[Record]) -> impl Iterator<Item = (i64, &EventFields)> {
    records.iter().map(|record| (record.id, record.event.fields()))
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}
