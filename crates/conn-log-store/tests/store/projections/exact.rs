//! Whatever happens to a log, every answer is that of a plain recomputation.

use conn_log_store::{Page, PageQuery, PageStart, SessionFilter, StatisticsQuery, Store};
use conn_log_test_support::{Backend, DEFAULT, TestDatabase, append};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::reference;
use super::scenario::{Action, actions, all, restore};
use super::{statistics, step_until_caught_up};

/// A store that makes no steps by itself.
fn open(database: &TestDatabase) -> Store {
    let mut options = database.options();
    options.projections = false;
    Store::open(options).unwrap()
}

fn histories(backend: Backend, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let questions = prop::collection::vec(statistics::query(), 6);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(actions(), questions), |(actions, questions)| {
        let Some(database) = TestDatabase::new(backend) else {
            return Ok(());
        };
        let mut store = open(&database);
        for action in actions {
            match action {
                Action::Append(parts) => {
                    runtime.block_on(append(&store, restore(parts))).unwrap();
                }
                Action::Step(count) => {
                    store.projections_step(DEFAULT, count).unwrap();
                }
                Action::Check => check(&store, &questions)?,
                Action::Reopen => {
                    drop(store);
                    store = open(&database);
                }
                Action::Reset(name) => {
                    store.rebuild(DEFAULT, name).unwrap().ok();
                }
            }
        }
        check(&store, &questions)?;
        step_until_caught_up(&store, 7);
        check(&store, &questions)
    });
    result.unwrap();
}

#[test]
fn every_answer_is_that_of_a_plain_recomputation_on_sqlite() {
    histories(Backend::Sqlite, 40);
}

#[test]
fn every_answer_is_that_of_a_plain_recomputation_on_postgres() {
    histories(Backend::Postgres, 10);
}

fn check(store: &Store, questions: &[StatisticsQuery]) -> Result<(), TestCaseError> {
    let records = all(store, DEFAULT);
    for question in questions.iter().chain([&statistics::by_hour_and_application()]) {
        statistics::check(store, &records, question)?;
    }
    let devices =
        walk(|query| store.device_list(DEFAULT, query).unwrap(), |device| device.device_id.clone());
    prop_assert_eq!(devices, reference::devices(&records));
    let applications = walk(
        |query| store.application_list(DEFAULT, query).unwrap(),
        |application| application.application_id.clone(),
    );
    prop_assert_eq!(applications, reference::applications(&records));
    for device in reference::devices(&records) {
        let found = store.device_get(DEFAULT, &device.device_id).unwrap();
        prop_assert_eq!(found, Some(device));
    }
    for application in reference::applications(&records) {
        let found = store.application_get(DEFAULT, &application.application_id).unwrap();
        prop_assert_eq!(found, Some(application));
    }
    check_sessions(store, SessionFilter::default(), |_| true)?;
    check_sessions(store, SessionFilter { open: Some(true), ..SessionFilter::default() }, |s| {
        s.open
    })?;
    let filter = SessionFilter {
        device_ids: vec!["dev_1".to_owned(), "nobody".to_owned()],
        open: Some(false),
        since: Some(super::scenario::at(3_600)),
        until: Some(super::scenario::at(7_200)),
        ..SessionFilter::default()
    };
    check_sessions(store, filter.clone(), |session| {
        let at = session.place().at;
        session.device_id == "dev_1"
            && !session.open
            && filter.since.is_some_and(|since| at >= since)
            && filter.until.is_some_and(|until| at < until)
    })
}

fn check_sessions(
    store: &Store,
    filter: SessionFilter,
    holds: impl Fn(&conn_log_store::Session) -> bool,
) -> Result<(), TestCaseError> {
    let found = walk(
        |query| store.session_list(DEFAULT, &filter, query).unwrap(),
        conn_log_store::Session::place,
    );
    let mut expected = reference::sessions(&all(store, DEFAULT));
    expected.retain(|session| holds(session));
    prop_assert_eq!(found, expected);
    Ok(())
}

/// Every item of a list, by pages of three, there and back.
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
