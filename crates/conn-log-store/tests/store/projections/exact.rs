//! After any history of a log, every answer equals that of a simple computation.

use std::time::Duration;

use conn_log_core::Timestamp;
use conn_log_store::{
    Device, DeviceFilter, Page, PageQuery, PageStart, Session, SessionFilter, SessionTimeout,
    StatisticsQuery, Store,
};
use conn_log_test_support::{Backend, DEFAULT, TestDatabase, append};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::reference::Reference;
use super::scenario::{Action, SPAN_SECONDS, actions, all, at, restore};
use super::{statistics, step_until_caught_up};

/// A store that makes no steps by itself.
fn open(database: &TestDatabase, session_timeout: Option<Duration>) -> Store {
    let mut options = database.options();
    options.projections = false;
    options.session_timeout = session_timeout.map_or(SessionTimeout::Never, SessionTimeout::After);
    Store::open(options).unwrap()
}

fn histories(backend: Backend, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let questions = prop::collection::vec(statistics::query(), 6);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let timeouts = prop::collection::vec(timeout(), 1..3);
    let given = (actions(), questions, timeouts, any::<bool>());
    let result =
        TestRunner::new(config).run(&given, |(actions, questions, timeouts, is_recent)| {
            let Some(database) = TestDatabase::new(backend) else {
                return Ok(());
            };
            let shift = if is_recent { now().micros() - at(SPAN_SECONDS).micros() } else { 0 };
            let shift = chrono::TimeDelta::microseconds(shift);
            let mut timeout = timeouts[0];
            let mut store = open(&database, timeout);
            for action in actions {
                match action {
                    Action::Append(mut parts) => {
                        for event in &mut parts {
                            event.timestamp = event.timestamp.plus(shift);
                        }
                        runtime.block_on(append(&store, restore(parts))).unwrap();
                    }
                    Action::Step(count) => {
                        store.projections_step(DEFAULT, count).unwrap();
                    }
                    Action::Check => check(&store, &questions, timeout, shift)?,
                    Action::Reopen(next) => {
                        drop(store);
                        timeout = timeouts[next % timeouts.len()];
                        store = open(&database, timeout);
                    }
                    Action::Reset(name) => {
                        store.rebuild(DEFAULT, name).unwrap().ok();
                    }
                }
            }
            check(&store, &questions, timeout, shift)?;
            step_until_caught_up(&store, 7);
            check(&store, &questions, timeout, shift)
        });
    result.unwrap();
}

/// No session timeout, or one by which sessions end in the middle of a history.
fn timeout() -> impl Strategy<Value = Option<Duration>> {
    let seconds = prop_oneof![Just(30), Just(600), Just(1_200), 1..SPAN_SECONDS.unsigned_abs()];
    prop::option::weighted(0.7, seconds.prop_map(Duration::from_secs))
}

fn now() -> Timestamp {
    Timestamp::from_micros(chrono::Utc::now().timestamp_micros())
}

#[test]
fn every_answer_is_that_of_a_plain_recomputation_on_sqlite() {
    histories(Backend::Sqlite, 40);
}

#[test]
fn every_answer_is_that_of_a_plain_recomputation_on_postgres() {
    histories(Backend::Postgres, 10);
}

fn check(
    store: &Store,
    questions: &[StatisticsQuery],
    timeout: Option<Duration>,
    shift: chrono::TimeDelta,
) -> Result<(), TestCaseError> {
    let records = all(store, DEFAULT);
    for question in questions.iter().chain([&statistics::by_hour_and_application()]) {
        statistics::check(store, &records, question)?;
    }
    let reference = Reference { records: &records, timeout, now: now() };
    let result = check_presence(store, &reference, shift)
        .and_then(|()| check_sessions(store, &reference, shift));
    // Time has passed: a session that timed out meanwhile differs before and after.
    let (before, after) = (reference.now, now());
    let is_between = |record: &conn_log_core::Record| {
        let ends = timeout.and_then(|timeout| chrono::TimeDelta::from_std(timeout).ok());
        let ends = ends.map(|timeout| record.event.fields().timestamp.plus(timeout));
        ends.is_some_and(|ends| ends >= before && ends <= after)
    };
    if records.iter().any(is_between) { Ok(()) } else { result }
}

fn check_presence(
    store: &Store,
    reference: &Reference<'_>,
    shift: chrono::TimeDelta,
) -> Result<(), TestCaseError> {
    let at = |seconds| at(seconds).plus(shift);
    let devices = reference.devices();
    let applications = walk(
        |query| store.application_list(DEFAULT, query).unwrap(),
        |application| application.application_id.clone(),
    );
    prop_assert_eq!(applications, reference.applications());
    for device in &devices {
        let found = store.device_get(DEFAULT, &device.device_id).unwrap();
        prop_assert_eq!(found.as_ref(), Some(device));
    }
    for application in reference.applications() {
        let found = store.application_get(DEFAULT, &application.application_id).unwrap();
        prop_assert_eq!(found, Some(application));
    }
    let list = |filter: &DeviceFilter, holds: &dyn Fn(&Device) -> bool| {
        let found = walk(
            |query| store.device_list(DEFAULT, filter, query).unwrap(),
            |device| device.device_id.clone(),
        );
        let mut expected = devices.clone();
        expected.retain(|device| holds(device));
        prop_assert_eq!(found, expected, "{:?}", filter);
        Ok(())
    };
    list(&DeviceFilter::default(), &|_| true)?;
    for connected in [true, false] {
        let filter = DeviceFilter { connected: Some(connected), ..DeviceFilter::default() };
        list(&filter, &|device| device.connected == connected)?;
    }
    let filter = DeviceFilter {
        application_ids: vec!["app_1".to_owned(), "nothing".to_owned()],
        ..DeviceFilter::default()
    };
    list(&filter, &|device| reference.has_used(&device.device_id, "app_1"))?;
    let (since, until) = (at(3_600), at(9_000));
    let filter = DeviceFilter {
        seen_since: Some(since),
        seen_until: Some(until),
        ..DeviceFilter::default()
    };
    list(&filter, &|device| device.last_seen >= since && device.last_seen < until)
}

fn check_sessions(
    store: &Store,
    reference: &Reference<'_>,
    shift: chrono::TimeDelta,
) -> Result<(), TestCaseError> {
    let at = |seconds| at(seconds).plus(shift);
    let sessions = reference.sessions();
    let list = |filter: SessionFilter, holds: &dyn Fn(&Session) -> bool| {
        let found =
            walk(|query| store.session_list(DEFAULT, &filter, query).unwrap(), Session::place);
        let mut expected = sessions.clone();
        expected.retain(|session| holds(session));
        prop_assert_eq!(found, expected, "{:?}", filter);
        Ok(())
    };
    let all = SessionFilter::default;
    list(all(), &|_| true)?;
    for open in [true, false] {
        list(SessionFilter { open: Some(open), ..all() }, &|session| session.open == open)?;
    }
    let (since, until, moment) = (at(3_600), at(7_200), at(6_000));
    list(SessionFilter { active_at: Some(moment), ..all() }, &|session| {
        was_open(session, moment, moment.plus(chrono::TimeDelta::microseconds(1)))
    })?;
    let filter = SessionFilter { since: Some(since), until: Some(until), ..all() };
    list(filter, &|session| was_open(session, since, until))?;
    list(SessionFilter { since: Some(since), ..all() }, &|session| {
        was_open(session, since, Timestamp::MAX)
    })?;
    let filter = SessionFilter {
        device_ids: vec!["dev_1".to_owned(), "nobody".to_owned()],
        open: Some(false),
        until: Some(until),
        ..all()
    };
    list(filter, &|session| {
        let is_of_device = session.device_id == "dev_1" && !session.open;
        is_of_device && was_open(session, Timestamp::MIN, until)
    })?;
    let filter = SessionFilter {
        application_ids: vec!["app_2".to_owned()],
        session_ids: vec!["s-1".to_owned(), "s-2".to_owned()],
        ..all()
    };
    list(filter, &|session| {
        let is_wanted = matches!(session.session_id.as_deref(), Some("s-1" | "s-2"));
        is_wanted && session.application_id == "app_2"
    })
}

/// Whether a session was open at some moment of a time range: from its start until before its end,
/// and at its start. One without a known start was open at its end.
fn was_open(session: &Session, since: Timestamp, until: Timestamp) -> bool {
    let begin = session.started_at.or(session.ended_at).unwrap();
    let begins_within = begin >= since && begin < until;
    begins_within || begin < since && session.ended_at.is_none_or(|end| end > since)
}

/// Reads all items of a list, in pages of three, forwards and backwards.
fn walk<T: Clone + PartialEq + std::fmt::Debug, P: Clone>(
    list: impl Fn(&PageQuery<P>) -> Page<T>,
    place: impl Fn(&T) -> P,
) -> Vec<T> {
    let mut items: Vec<T> = Vec::new();
    let mut start = PageStart::First;
    loop {
        let page = list(&PageQuery { start, limit: 3 });
        items.extend(page.items);
        match items.last() {
            Some(last) if page.has_more => start = PageStart::After(place(last)),
            _ => break,
        }
    }
    if let Some(last) = items.last() {
        let back = list(&PageQuery { start: PageStart::Before(place(last)), limit: items.len() });
        assert_eq!(back.items[..], items[..items.len() - 1]);
        assert!(!back.has_more);
    }
    items
}
