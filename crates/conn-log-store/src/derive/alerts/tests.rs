//! Rules that stand back: they get their share again, and what they tell stays the same.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use conn_log_core::alert::Rule;
use conn_log_core::{Event, EventFields, Timestamp};
use conn_log_test_support::{Backend, TestDatabase};
use serde_json::{Value, json};

use super::runner::Runner;
use super::stand_back::Meter;
use crate::{Store, StoreOptions, Submission, TenantId};

/// The time between two calls of the clock.
const TICK: Duration = Duration::from_millis(40);

/// The ticks for which rules stand back.
const TICKS_MAX: u32 = 10;

/// More events than the rules may be behind without standing back, and some steps.
const EVENTS: usize = 20_000;

/// A full machine: the writer is always busy, the thread of the rules waits for a processor half of the
/// time, and each look at the clock takes a tick.
#[derive(Default)]
struct Full(AtomicU32);

impl Meter for Full {
    fn now(&self) -> Duration {
        TICK * (self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn stored(&self) -> Duration {
        TICK * self.0.load(Ordering::Relaxed)
    }

    fn waited(&self) -> Duration {
        self.stored() / 2
    }
}

/// Failures of some devices: bursts with pauses between them, and each tenth event comes late.
fn events() -> Vec<Event> {
    let event = |number: usize| {
        let number = i64::try_from(number).unwrap();
        let late = if number % 10 == 9 { 3_000 } else { 0 };
        Event::from_store(EventFields {
            device_id: format!("d{}", number % 7),
            application_id: "a".to_owned(),
            connection_type: "attempted".to_owned(),
            status: if number % 100 < 80 { "denied" } else { "success" }.to_owned(),
            timestamp: Timestamp::parse("2024-01-15T10:30:00Z")
                .unwrap()
                .plus(TimeDelta::milliseconds(number * 50 + number / 2_000 * 60_000 - late)),
            ip_address: None,
            user_agent: None,
            duration: None,
            session_id: None,
            event_id: None,
            metadata: "{}".to_owned(),
        })
    };
    (0..EVENTS).map(event).collect()
}

fn open(database: &TestDatabase) -> Store {
    let store = Store::open(StoreOptions {
        alerting: false,
        alerting_wait_max: TICK * TICKS_MAX,
        ..StoreOptions::new(database.url().parse().unwrap())
    });
    let store = store.unwrap();
    for kind in [
        json!({"kind": "failure_burst", "params": {"threshold": 5, "window_seconds": 10}}),
        json!({"kind": "sequence", "params": {"first": {"status": "denied"}, "count": 3,
            "then": {"status": "success"}, "window_seconds": 10}}),
    ] {
        let mut rule = json!({"name": "rule", "group_by": ["device_id"], "cooldown_seconds": 20});
        rule.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        let Value::Object(rule) = rule else { panic!("not an object") };
        store.rule_create(TenantId::DEFAULT, Rule::from_json(rule).unwrap()).unwrap();
    }
    store
}

fn append(store: &Store, events: &[Event]) {
    let submission = Submission {
        tenant: TenantId::DEFAULT,
        events: events.to_vec(),
        atomic: false,
        claim: None,
        rejects: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.append(submission)).unwrap();
}

fn taken(store: &Store) -> i64 {
    store.alerting_state().taken.get(&TenantId::DEFAULT).copied().unwrap_or(0)
}

/// Lets rules go on until they have taken in the log.
fn catch_up(store: &Store, runner: &mut Runner) {
    while taken(store) < store.log_size(TenantId::DEFAULT).unwrap() {
        runner.round().unwrap();
    }
}

/// What was told, without times of the server's clock.
fn told(store: &Store) -> Vec<String> {
    let changes = store.alert_changes_after(TenantId::DEFAULT, 0, 100_000).unwrap();
    let text = |change: crate::AlertChange| {
        let mut alert = change.alert;
        alert.as_object_mut().unwrap().remove("detected_at");
        format!("{} {alert}", change.kind.name())
    };
    changes.into_iter().map(text).collect()
}

/// What is told if the rules keep up with each submission.
fn told_while_they_keep_up(backend: Backend) -> Vec<String> {
    let database = TestDatabase::new(backend).unwrap();
    let store = open(&database);
    let mut runner = store.rules_runner(Box::new(Full::default()));
    for some in events().chunks(130) {
        append(&store, some);
        catch_up(&store, &mut runner);
    }
    let told = told(&store);
    assert!(told.len() > 50, "{}", told.len());
    store.close();
    told
}

fn they_stand_back_for_a_while_and_tell_the_same(backend: Backend) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let store = open(&database);
    let mut runner = store.rules_runner(Box::new(Full::default()));
    let events = events();
    let (first, mut rest) = events.split_at(13_000);
    append(&store, first);
    assert!(runner.round().unwrap().is_any_back);
    let before = taken(&store);
    assert!(before < 10_000, "{before}");
    // While events come, the rules stand back up to the limit.
    let mut rounds = 1;
    loop {
        let (some, others) = rest.split_at(600);
        append(&store, some);
        rest = others;
        let is_any_back = runner.round().unwrap().is_any_back;
        if taken(&store) > before {
            break;
        }
        assert!(is_any_back);
        rounds += 1;
    }
    assert_eq!(rounds, TICKS_MAX);
    append(&store, rest);
    catch_up(&store, &mut runner);
    assert_eq!(told(&store), told_while_they_keep_up(backend));
    store.close();
}

#[test]
fn rules_that_stand_back_get_their_share_again_and_tell_the_same_on_sqlite() {
    they_stand_back_for_a_while_and_tell_the_same(Backend::Sqlite);
}

#[test]
fn rules_that_stand_back_get_their_share_again_and_tell_the_same_on_postgres() {
    they_stand_back_for_a_while_and_tell_the_same(Backend::Postgres);
}
