//! The answers, computed from all rows in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use conn_log_core::{EventFields, Record, Timestamp};
use conn_log_store::{Application, Device, Session};

/// Of each device, by id.
pub(crate) fn devices(records: &[Record]) -> Vec<Device> {
    let sessions = sessions(records);
    let ids: BTreeSet<&str> = all(records).map(|(_, parts)| parts.device_id.as_str()).collect();
    let device = |id: &str| {
        let mut own: Vec<(i64, &EventFields)> =
            all(records).filter(|(_, parts)| parts.device_id == id).collect();
        own.sort_by_key(|(id, parts)| (parts.timestamp, *id));
        let (_, last) = own[own.len() - 1];
        let connections = own.iter().rev().filter(|(_, parts)| parts.status == "success");
        let connected = connections
            .filter_map(|(_, parts)| match parts.connection_type.as_str() {
                "established" | "resumed" => Some(true),
                "suspended" | "terminated" => Some(false),
                _ => None,
            })
            .next();
        Device {
            device_id: id.to_owned(),
            first_seen: own[0].1.timestamp,
            last_seen: last.timestamp,
            connected: connected == Some(true),
            last_application_id: last.application_id.clone(),
            last_ip_address: own.iter().rev().find_map(|(_, parts)| parts.ip_address),
            last_status: last.status.clone(),
            events: count(own.len()),
            failures: count(own.iter().filter(|(_, parts)| parts.status != "success").count()),
            open_sessions: count(sessions.iter().filter(|s| s.device_id == id && s.open).count()),
        }
    };
    ids.into_iter().map(device).collect()
}

/// Of each application, by id.
pub(crate) fn applications(records: &[Record]) -> Vec<Application> {
    let sessions = sessions(records);
    let ids: BTreeSet<&str> =
        all(records).map(|(_, parts)| parts.application_id.as_str()).collect();
    let application = |id: &str| {
        let own: Vec<&EventFields> = all(records)
            .map(|(_, parts)| parts)
            .filter(|parts| parts.application_id == id)
            .collect();
        let devices: BTreeSet<&str> = own.iter().map(|parts| parts.device_id.as_str()).collect();
        let open = sessions.iter().filter(|s| s.application_id == id && s.open).count();
        Application {
            application_id: id.to_owned(),
            first_seen: own.iter().map(|parts| parts.timestamp).min().unwrap(),
            last_seen: own.iter().map(|parts| parts.timestamp).max().unwrap(),
            devices: count(devices.len()),
            events: count(own.len()),
            failures: count(own.iter().filter(|parts| parts.status != "success").count()),
            open_sessions: count(open),
        }
    };
    ids.into_iter().map(application).collect()
}

/// All sessions, newest first.
pub(crate) fn sessions(records: &[Record]) -> Vec<Session> {
    let mut by_id: BTreeMap<&str, Vec<(i64, &EventFields)>> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), Vec<(i64, &EventFields)>> = BTreeMap::new();
    for (id, parts) in all(records).filter(|(_, parts)| is_start(parts) || is_end(parts)) {
        match &parts.session_id {
            Some(session) => by_id.entry(session).or_default().push((id, parts)),
            None => by_pair
                .entry((&parts.device_id, &parts.application_id))
                .or_default()
                .push((id, parts)),
        }
    }
    let mut sessions: Vec<Session> = by_id.values().map(|marks| by_session_id(marks)).collect();
    sessions.extend(by_pair.values().flat_map(|marks| by_device_and_application(marks)));
    sessions.sort_by_key(|session| (session.place().at, session.place().event_id));
    sessions.reverse();
    sessions
}

fn by_session_id(marks: &[(i64, &EventFields)]) -> Session {
    let start = marks
        .iter()
        .filter(|(_, parts)| is_start(parts))
        .min_by_key(|(id, parts)| (parts.timestamp, *id));
    let end = marks
        .iter()
        .filter(|(_, parts)| is_end(parts))
        .max_by_key(|(id, parts)| (parts.timestamp, -*id));
    session(start.copied(), end.copied())
}

/// Walks through time, instant by instant.
fn by_device_and_application(marks: &[(i64, &EventFields)]) -> Vec<Session> {
    let instants: BTreeSet<Timestamp> = marks.iter().map(|(_, parts)| parts.timestamp).collect();
    let mut sessions = Vec::new();
    let mut open: Option<(i64, &EventFields)> = None;
    for instant in instants {
        let first = |is: fn(&EventFields) -> bool| {
            let here = marks.iter().filter(|(_, p)| p.timestamp == instant && is(p));
            here.min_by_key(|(id, _)| *id).copied()
        };
        let (mut start, end) = (first(is_start), first(is_end));
        match (open, end) {
            (Some(opened), Some(end)) => {
                sessions.push(session(Some(opened), Some(end)));
                open = None;
            }
            (None, Some(end)) => sessions.push(session(start.take(), Some(end))),
            (Some(opened), None) => {
                let started_at = opened.1.timestamp;
                let seconds = (instant.micros() - started_at.micros()) as f64 / 1e6;
                sessions.push(Session {
                    ended_at: Some(instant),
                    duration: Some(seconds),
                    open: false,
                    ..session(Some(opened), None)
                });
                open = None;
            }
            (None, None) => {}
        }
        open = start.or(open);
    }
    sessions.extend(open.map(|opened| session(Some(opened), None)));
    sessions
}

fn session(start: Option<(i64, &EventFields)>, end: Option<(i64, &EventFields)>) -> Session {
    let of = start.or(end).unwrap().1;
    let times = start.zip(end);
    let between = times
        .map(|((_, s), (_, e))| (e.timestamp.micros() - s.timestamp.micros()).max(0) as f64 / 1e6);
    Session {
        session_id: of.session_id.clone(),
        device_id: of.device_id.clone(),
        application_id: of.application_id.clone(),
        started_at: start.map(|(_, parts)| parts.timestamp),
        ended_at: end.map(|(_, parts)| parts.timestamp),
        duration: end.and_then(|(_, parts)| parts.duration).or(between),
        open: end.is_none(),
        end_status: end.map(|(_, parts)| parts.status.clone()),
        start_event_id: start.map(|(id, _)| id),
        end_event_id: end.map(|(id, _)| id),
    }
}

fn is_start(parts: &EventFields) -> bool {
    parts.connection_type == "established" && parts.status == "success"
}

fn is_end(parts: &EventFields) -> bool {
    parts.connection_type == "terminated"
}

pub(crate) fn all(records: &[Record]) -> impl Iterator<Item = (i64, &EventFields)> {
    records.iter().map(|record| (record.id, record.event.fields()))
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}
