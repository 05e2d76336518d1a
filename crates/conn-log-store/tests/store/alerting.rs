//! Rules behind the log: the same changes of alerts, however the log was cut into commits and runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use conn_log_core::alert::{KINDS, Rule};
use conn_log_core::{Event, EventFields, Timestamp};
use conn_log_store::{AlertQuery, AlertState, PageQuery, PageStart, Store};
use conn_log_test_support::*;
use serde_json::{Value, json};

/// Time limit that only a broken store exceeds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kinds that these events raise no alert of: a window and an hour of them are not over.
const NONE_RAISED: [&str; 2] = ["volume", "beaconing"];

fn rule(json: Value) -> Rule {
    let Value::Object(object) = json else { panic!("not an object") };
    Rule::from_json(object).unwrap()
}

fn rules() -> Vec<Rule> {
    [
        json!({"name": "burst", "kind": "failure_burst", "group_by": ["device_id"],
            "params": {"threshold": 3, "window_seconds": 60}, "cooldown_seconds": 30}),
        json!({"name": "addresses", "kind": "distinct_count", "group_by": ["device_id"],
            "params": {"of": "ip_address", "at_least": 3, "window_seconds": 60}}),
        json!({"name": "sequence", "kind": "sequence", "group_by": ["device_id"],
            "params": {"first": {"status": "denied"}, "count": 2, "then": {"status": "success"},
                "window_seconds": 60}}),
        json!({"name": "new", "kind": "first_seen", "group_by": ["device_id"],
            "params": {"of": ["ip_address"], "learning_seconds": 0}}),
    ]
    .map(rule)
    .to_vec()
}

/// Some hundred events of a few devices, with failures in every order of time.
fn events() -> Vec<Event> {
    let fields = |number: u8| EventFields {
        device_id: format!("d{}", number % 3),
        connection_type: "attempted".to_owned(),
        status: if number.is_multiple_of(7) { "success" } else { "denied" }.to_owned(),
        timestamp: Timestamp::parse("2024-01-15T10:30:00Z")
            .unwrap()
            .plus(chrono_seconds(i64::from(number) * 37 % 600)),
        ip_address: Some([10, 0, 0, number % 5].into()),
        ..parts("d")
    };
    (0..180).map(|number| Event::from_store(fields(number))).collect()
}

/// A rule of each kind.
fn all_rules() -> Vec<Rule> {
    let mut all = rules();
    let more = json!([
        {"name": "match", "kind": "match", "params": {}, "filter": {"status": "success"}},
        {"name": "on and off", "kind": "flapping",
            "params": {"transitions": 2, "window_seconds": 200}},
        {"name": "silent", "kind": "silence", "params": {"after_seconds": 20}},
        {"name": "long", "kind": "long_session", "params": {"longer_than_seconds": 30}},
        {"name": "flood", "kind": "volume", "params":
            {"factor": 2, "window_seconds": 60, "baseline_windows": 3}},
        {"name": "beacon", "kind": "beaconing", "params":
            {"min_connections": 20, "score": 0.5, "max_prevalence": 1}},
        {"name": "travel", "kind": "impossible_travel", "params": {}},
    ]);
    for mut json in more.as_array().unwrap().clone() {
        json["group_by"] = json!(["device_id"]);
        all.push(rule(json));
    }
    all
}

/// Those events, some of them repeated, and others for the other kinds.
fn all_events() -> Vec<Event> {
    let mut some = events();
    some.extend(events().into_iter().take(20));
    some.extend((0..60).map(|number: i64| {
        let kind = if number % 3 == 0 { "terminated" } else { "established" };
        Event::from_store(EventFields {
            connection_type: kind.to_owned(),
            timestamp: parts("d").timestamp.plus(chrono_seconds(number * 53 % 400)),
            ..parts("d9")
        })
    }));
    some.extend((0..6).map(|number: i64| {
        Event::from_store(EventFields {
            metadata: format!(r#"{{"latitude":{},"longitude":0}}"#, number % 2 * 40),
            timestamp: parts("d").timestamp.plus(chrono_seconds(number * 31 % 90)),
            ..parts("traveller")
        })
    }));
    some
}

fn chrono_seconds(seconds: i64) -> chrono::TimeDelta {
    chrono::TimeDelta::seconds(seconds)
}

/// Waits until the rules have taken in the whole log.
async fn wait(store: &Store, rules: usize) {
    let begun = Instant::now();
    loop {
        let state = store.alerting_state();
        let size = store.log_size(DEFAULT).unwrap();
        if state.rules.len() == rules && state.taken.get(&DEFAULT) == Some(&size) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was told, without times of the server's clock.
fn told(store: &Store) -> Vec<String> {
    let changes = store.alert_changes_after(DEFAULT, 0, 10_000).unwrap();
    let text = |change: conn_log_store::AlertChange| {
        let mut alert = change.alert;
        alert.as_object_mut().unwrap().remove("detected_at");
        format!("{} {} {alert}", change.id, change.kind.name())
    };
    changes.into_iter().map(text).collect()
}

on_both_databases! {
    async fn what_is_told_does_not_depend_on_commits_and_restarts(db) {
        let store = db.open();
        for rule in all_rules() {
            store.rule_create(DEFAULT, rule).unwrap();
        }
        append(&store, all_events()).await.unwrap();
        wait(&store, all_rules().len()).await;
        let expected = told(&store);
        assert!(expected.len() > 20);
        store.close();

        let other = TestDatabase::new(db.backend()).unwrap();
        let mut store = other.open();
        for rule in all_rules() {
            store.rule_create(DEFAULT, rule).unwrap();
        }
        for (place, some) in all_events().chunks(13).enumerate() {
            append(&store, some.to_vec()).await.unwrap();
            if place % 3 == 2 {
                store.close();
                store = other.open();
            }
            if place % 2 == 0 {
                wait(&store, all_rules().len()).await;
            }
        }
        wait(&store, all_rules().len()).await;
        assert_eq!(told(&store), expected);
        store.close();
    }

    async fn a_silence_is_judged_while_the_log_is_idle_and_ends_with_the_next_event(db) {
        let store = db.open();
        let silence = json!({"name": "silent", "kind": "silence", "group_by": ["device_id"],
            "params": {"after_seconds": 1}, "lateness_seconds": 0});
        store.rule_create(DEFAULT, rule(silence)).unwrap();
        let now = || Timestamp::from_micros(chrono::Utc::now().timestamp_micros());
        let at = |timestamp| Event::from_store(EventFields { timestamp, ..parts("d") });
        append(&store, vec![at(now())]).await.unwrap();
        let page = PageQuery { start: PageStart::First, limit: 10 };
        let begun = Instant::now();
        let alert = loop {
            let found = store.alert_list(DEFAULT, &AlertQuery::default(), &page).unwrap().items;
            if let Some(alert) = found.into_iter().next() {
                break alert;
            }
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(alert.state, AlertState::Open);
        assert!(alert.to_json()["ended_at"].is_null());
        let later = append(&store, vec![at(now())]).await.unwrap();
        // No event is stored at a time that was judged already.
        let record = later[0].record().unwrap();
        assert!(record.created_at.micros() >= alert.episode.detected_at);
        let begun = Instant::now();
        while store.alert_get(DEFAULT, alert.id).unwrap().unwrap().state != AlertState::Resolved {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        store.close();
    }

    async fn a_preview_is_the_live_run_over_the_same_events(db) {
        let store = db.open();
        let all = all_rules();
        for rule in &all {
            store.rule_create(DEFAULT, rule.clone()).unwrap();
        }
        append(&store, all_events()).await.unwrap();
        wait(&store, all.len()).await;
        let kinds: BTreeSet<&str> = all.iter().map(|rule| rule.kind().name()).collect();
        assert_eq!(kinds, BTreeSet::from(KINDS));
        let page = PageQuery { start: PageStart::First, limit: 1_000 };
        let until = Timestamp::MAX;
        for (id, rule) in (1..).zip(&all) {
            let filter = AlertQuery { rule_ids: vec![id], ..AlertQuery::default() };
            let mut live = store.alert_list(DEFAULT, &filter, &page).unwrap().items;
            live.retain(|alert| alert.merged_into.is_none());
            let preview =
                store.rule_preview(DEFAULT, rule.clone(), Timestamp::EPOCH, until).unwrap();
            assert!(preview.is_complete);
            assert!(!live.is_empty() || NONE_RAISED.contains(&rule.kind().name()), "{}", rule.name());
            let said = |alerts: &[conn_log_store::Alert]| {
                let text = |alert: &conn_log_store::Alert| {
                    let mut json = alert.to_json();
                    for name in ["id", "rule_id", "rule_version", "detected_at"] {
                        json.as_object_mut().unwrap().remove(name);
                    }
                    json.to_string()
                };
                let mut all: Vec<String> = alerts.iter().map(text).collect();
                all.sort();
                all
            };
            assert_eq!(said(&live), said(&preview.alerts), "{}", rule.name());
        }
        store.close();
    }

    async fn a_rule_looks_at_the_events_after_it_and_a_changed_one_begins_anew(db) {
        let store = db.open();
        append(&store, events()).await.unwrap();
        let burst = rules().remove(0);
        let created = store.rule_create(DEFAULT, burst).unwrap();
        assert_eq!(created.after_id, 180);
        let other = rule(json!({"name": "burst", "kind": "failure_burst",
            "group_by": ["device_id"], "params": {"threshold": 4, "window_seconds": 60}}));
        let changed = store.rule_change::<()>(DEFAULT, created.id, move |_| Ok(other)).unwrap();
        assert_eq!(changed.unwrap().version, 2);
        let page = PageQuery { start: PageStart::First, limit: 10 };
        assert_eq!(store.alert_list(DEFAULT, &AlertQuery::default(), &page).unwrap().items, []);
        store.close();
    }
}
