//! Random histories: few names and few instants, so that there are many collisions.

use std::net::IpAddr;

use conn_log_core::{Event, EventFields, Record, Start, Timestamp};
use conn_log_core::{EventQuery, Order};
use conn_log_store::{Store, TenantId};
use proptest::prelude::*;

/// An action on a log.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Append(Vec<EventFields>),
    /// Makes the projections take in that many events.
    Step(usize),
    /// Compares all answers.
    Check,
    /// Restarts the process between two steps, with that one of the session timeouts.
    Reopen(usize),
    Reset(&'static str),
}

pub(crate) const NAMES: [&str; 3] = ["presence", "sessions", "statistics"];

/// The time span of a history's events, in seconds.
pub(crate) const SPAN_SECONDS: i64 = 3 * 60 * 60;

pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        5 => prop::collection::vec(event(), 1..12).prop_map(Action::Append),
        4 => (1_usize..8).prop_map(Action::Step),
        2 => Just(Action::Check),
        1 => any::<usize>().prop_map(Action::Reopen),
        1 => prop::sample::select(&NAMES[..]).prop_map(Action::Reset),
    ];
    prop::collection::vec(action, 4..20)
}

pub(crate) fn event() -> impl Strategy<Value = EventFields> {
    let kind = prop_oneof![
        4 => Just("established"),
        4 => Just("terminated"),
        1 => Just("resumed"),
        2 => Just("suspended"),
        1 => prop::sample::select(&["attempted", "authenticated"][..]),
    ];
    let status = prop_oneof![4 => Just("success"), 1 => Just("failure"), 1 => Just("timeout")];
    // Whole minutes collide often, and seconds lie at the edges of buckets. Some events are within
    // a minute of each other.
    let seconds = prop_oneof![
        (0..SPAN_SECONDS / 600).prop_map(|step| step * 600),
        (0..SPAN_SECONDS / 600, 0..4_i64).prop_map(|(step, more)| step * 600 + more * 30),
        0..SPAN_SECONDS,
    ];
    // One device has most of the events, so that it has many sessions without an id.
    let device = prop_oneof![2 => Just(1_u8), 1 => 0..4_u8];
    let names = (device, 0..3_u8, kind, status);
    let numbers = (
        prop::option::of(0.0..5_000.0_f64),
        prop::option::of(-95..-20_i32),
        prop::option::of(prop::sample::select(&["wifi", "4g"][..])),
    );
    let ids = (
        prop::option::weighted(0.4, 0..3_u8),
        prop::option::weighted(0.3, 0..20_u8),
        any::<bool>(),
    );
    (names, seconds, numbers, ids).prop_map(|(names, seconds, numbers, ids)| {
        let (device, application, kind, status) = names;
        let (duration, signal, network) = numbers;
        let (session, event_id, has_address) = ids;
        let mut metadata = Vec::new();
        metadata.extend(network.map(|network| format!(r#""network_type":"{network}""#)));
        metadata.extend(signal.map(|signal| format!(r#""signal_strength":{signal}"#)));
        EventFields {
            device_id: format!("dev_{device}"),
            application_id: format!("app_{application}"),
            connection_type: kind.to_owned(),
            status: status.to_owned(),
            timestamp: at(seconds),
            ip_address: has_address.then(|| IpAddr::from([10, 0, device, application])),
            user_agent: None,
            duration,
            session_id: session.map(|session| format!("s-{session}")),
            event_id: event_id.map(|id| format!("e-{id}")),
            metadata: format!("{{{}}}", metadata.join(",")),
        }
    })
}

/// The timestamp at that many seconds after the start of a history.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let start = Timestamp::parse("2024-01-15T22:30:00Z").unwrap();
    start.plus(chrono::TimeDelta::seconds(seconds))
}

pub(crate) fn restore(parts: Vec<EventFields>) -> Vec<Event> {
    parts.into_iter().map(Event::from_store).collect()
}

/// Every record of the log.
pub(crate) fn all(store: &Store, tenant: TenantId) -> Vec<Record> {
    let query = EventQuery {
        order: Order::IdAscending,
        start: Start::First,
        limit: 100_000,
        ..EventQuery::default()
    };
    store.event_list(tenant, &query).unwrap().records
}
