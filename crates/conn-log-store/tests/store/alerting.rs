//! Rules behind the log: the same changes of alerts, however the log was cut into commits and runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use conn_log_core::alert::{KINDS, Rule, starter_rules};
use conn_log_core::{Event, EventFields, Timestamp};
use conn_log_store::{AlertQuery, AlertState, PageQuery, PageStart, Store};
use conn_log_test_support::*;
use serde_json::{Value, json};

/// Time limit that only a broken store exceeds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kinds that are judged when time has passed: what is told of them depends on when that was.
const CLOSING: [&str; 4] = ["silence", "long_session", "volume", "beaconing"];

/// Kinds whose episodes depend on the order of arrival: a preview has the order of time.
const BY_ARRIVAL: [&str; 3] = ["first_seen", "volume", "beaconing"];

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

/// What alerts say that are neither withdrawn nor joined with another one, without what depends on
/// the order and the time of arrival.
fn said(alerts: &[conn_log_store::Alert]) -> Vec<String> {
    let lasts = |alert: &&conn_log_store::Alert| {
        alert.state != AlertState::Withdrawn && alert.merged_into.is_none()
    };
    let text = |alert: &conn_log_store::Alert| {
        let mut json = alert.to_json();
        for name in ["id", "rule_id", "rule_version", "detected_at"] {
            json.as_object_mut().unwrap().remove(name);
        }
        let explanation = json["explanation"].as_str().unwrap().to_owned();
        let (found, _) = explanation.split_once("; before:").unwrap_or((&explanation, ""));
        json["explanation"] = found.into();
        json.to_string()
    };
    let mut all: Vec<String> = alerts.iter().filter(lasts).map(text).collect();
    all.sort();
    all
}

/// The alerts of a rule, once they say the same as that.
async fn wait_for(store: &Store, rule: i64, expected: &[conn_log_store::Alert]) {
    let page = PageQuery { start: PageStart::First, limit: 1_000 };
    let filter = AlertQuery { rule_ids: vec![rule], ..AlertQuery::default() };
    let begun = Instant::now();
    loop {
        let live = store.alert_list(DEFAULT, &filter, &page).unwrap().items;
        if said(&live) == said(expected) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{rule}: {:#?} {:#?}", said(&live), said(expected));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
        let mut rules = all_rules();
        rules.retain(|rule| !CLOSING.contains(&rule.kind().name()));
        let store = db.open();
        for rule in &rules {
            store.rule_create(DEFAULT, rule.clone()).unwrap();
        }
        append(&store, all_events()).await.unwrap();
        wait(&store, rules.len()).await;
        let expected = told(&store);
        assert!(expected.len() > 20);
        store.close();

        let other = TestDatabase::new(db.backend()).unwrap();
        let mut store = other.open();
        for rule in &rules {
            store.rule_create(DEFAULT, rule.clone()).unwrap();
        }
        for (place, some) in all_events().chunks(13).enumerate() {
            append(&store, some.to_vec()).await.unwrap();
            if place % 3 == 2 {
                store.close();
                store = other.open();
            }
            if place % 2 == 0 {
                wait(&store, rules.len()).await;
            }
        }
        wait(&store, rules.len()).await;
        assert_eq!(told(&store), expected);
        store.close();
    }

    async fn what_goes_on_is_the_same_whatever_the_commits_and_restarts(db) {
        let mut store = db.open();
        let mut rules = all_rules();
        rules.retain(|rule| ["silence", "long_session"].contains(&rule.kind().name()));
        for rule in &rules {
            store.rule_create(DEFAULT, rule.clone()).unwrap();
        }
        for (place, some) in all_events().chunks(13).enumerate() {
            append(&store, some.to_vec()).await.unwrap();
            if place % 5 == 2 {
                store.close();
                store = db.open();
            }
        }
        for (id, rule) in (1..).zip(rules) {
            let (since, until) = (Timestamp::EPOCH, Timestamp::MAX);
            let preview = store.rule_preview(DEFAULT, rule, since, until).unwrap();
            assert!(!preview.alerts.is_empty());
            wait_for(&store, id, &preview.alerts).await;
        }
        store.close();
    }

    async fn the_starter_rules_tell_nothing_false_of_an_ordinary_import(db) {
        let store = db.open();
        store.rule_install(DEFAULT, starter_rules()).unwrap();
        let now = Timestamp::from_micros(chrono::Utc::now().timestamp_micros());
        let event = |number: i64| {
            let kind = if number / 10 % 2 == 0 { "established" } else { "terminated" };
            Event::from_store(EventFields {
                connection_type: kind.to_owned(),
                timestamp: now.plus(chrono_seconds(-1_700 * number)),
                ..parts(&format!("d{}", number % 10))
            })
        };
        let mut events: Vec<Event> = (0..999).rev().map(event).collect();
        // One device is dormant: its alert says that it was time for the others, too.
        let timestamp = now.plus(chrono::TimeDelta::days(-10));
        events.push(Event::from_store(EventFields { timestamp, ..parts("dormant") }));
        append(&store, events).await.unwrap();
        let begun = Instant::now();
        while store.alert_changes_after(DEFAULT, 0, 10_000).unwrap().is_empty() {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let told = store.alert_changes_after(DEFAULT, 0, 10_000).unwrap();
        let told: Vec<(&str, String)> = told
            .iter()
            .map(|change| (change.kind.name(), change.alert["group"].to_string()))
            .collect();
        assert_eq!(told, [("opened", json!({"device_id": "dormant"}).to_string())]);
        store.close();
    }

    async fn a_preview_takes_an_import_as_if_it_had_been_registered_as_it_happened(db) {
        let store = db.open();
        let now = Timestamp::from_micros(chrono::Utc::now().timestamp_micros());
        let begun = now.plus(chrono::TimeDelta::days(-3));
        let at = |minutes: i64| begun.plus(chrono::TimeDelta::minutes(minutes));
        let event = |device: &str, minutes: i64, address: u8| {
            Event::from_store(EventFields {
                timestamp: at(minutes),
                ip_address: Some([10, 0, 0, address].into()),
                ..parts(device)
            })
        };
        let clock = (0..25).map(|number| event("clock", number * 10, 1));
        let news = [(0, 10), (30, 11), (70, 12), (80, 13)];
        let news = news.map(|(minutes, address)| event("new", minutes, address));
        let mut events: Vec<Event> = clock.chain(news).collect();
        // Newest first.
        events.reverse();
        append(&store, events).await.unwrap();
        let count = |rule: &Rule, since: Timestamp, until: Timestamp| {
            let preview = store.rule_preview(DEFAULT, rule.clone(), since, until).unwrap();
            assert!(preview.is_complete);
            let withdrawn = |alert: &&conn_log_store::Alert| alert.state == AlertState::Withdrawn;
            assert_eq!(preview.alerts.iter().filter(withdrawn).count(), 0);
            preview.alerts.len()
        };
        let beacon = rule(json!({"name": "beacon", "kind": "beaconing",
            "params": {"min_connections": 20}, "group_by": ["device_id", "application_id"]}));
        for until in [at(245), at(24 * 60 + 300), now] {
            assert_eq!(count(&beacon, begun, until), 1, "{until}");
        }
        assert_eq!(count(&beacon, begun, at(100)), 0);
        let new = rule(json!({"name": "new", "kind": "first_seen", "group_by": ["device_id"],
            "filter": {"device_id": "new"}, "cooldown_seconds": 0,
            "params": {"of": ["ip_address"], "learning_seconds": 3_600}}));
        assert_eq!(count(&new, begun, now), 2);
        // What came before the time is not new, and what comes after it has no part in it.
        assert_eq!(count(&rule(json!({"name": "new", "kind": "first_seen",
            "group_by": ["application_id"], "filter": {"device_id": "clock"},
            "params": {"of": ["ip_address"], "learning_seconds": 0}})), at(15), now), 0);
        let silent = rule(json!({"name": "silent", "kind": "silence", "group_by": ["device_id"],
            "params": {"after_seconds": 900}}));
        // The one device fell silent, and the other was twice before.
        assert_eq!(count(&silent, begun, now), 4);
        store.close();
    }

    async fn a_preview_of_volumes_is_the_live_run_over_the_same_events(db) {
        let store = db.open();
        let flood = rule(json!({"name": "flood", "kind": "volume", "group_by": ["device_id"],
            "params": {"factor": 5, "window_seconds": 3_600, "baseline_windows": 3}}));
        store.rule_create(DEFAULT, flood.clone()).unwrap();
        let start = Timestamp::parse("2026-01-05T10:00:00Z").unwrap();
        let event = |(hour, number): (i64, i64)| {
            let timestamp = start.plus(chrono_seconds(hour * 3_600 + number * 10));
            Event::from_store(EventFields { timestamp, ..parts("d") })
        };
        let of = |hour: i64| (0..if hour == 6 { 300 } else { 30 }).map(move |n| (hour, n));
        append(&store, (0..9).flat_map(of).map(event).collect()).await.unwrap();
        let (since, until) = (Timestamp::EPOCH, Timestamp::MAX);
        let preview = store.rule_preview(DEFAULT, flood, since, until).unwrap();
        let counts: Vec<u64> = preview.alerts.iter().map(|alert| alert.episode.count).collect();
        assert_eq!(counts, [300, 0]);
        wait_for(&store, 1, &preview.alerts).await;
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
        for (id, rule) in (1..).zip(&all) {
            let (since, until) = (Timestamp::EPOCH, Timestamp::MAX);
            let preview = store.rule_preview(DEFAULT, rule.clone(), since, until).unwrap();
            assert!(preview.is_complete);
            let kind = rule.kind().name();
            if !BY_ARRIVAL.contains(&kind) {
                assert!(!preview.alerts.is_empty(), "{}", rule.name());
                wait_for(&store, id, &preview.alerts).await;
            } else if kind == "first_seen" {
                // Another event may be the first one, and the combinations are the same.
                let filter = AlertQuery { rule_ids: vec![id], ..AlertQuery::default() };
                let live = store.alert_list(DEFAULT, &filter, &page).unwrap().items;
                let count = |alerts: &[conn_log_store::Alert]| {
                    alerts.iter().map(|alert| alert.episode.count).sum::<u64>()
                };
                assert_eq!(count(&live), count(&preview.alerts));
                assert!(count(&live) > 0);
            }
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
