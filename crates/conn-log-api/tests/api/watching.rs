//! Rules and alerts.

use std::time::{Duration, Instant};

use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::streaming::Stream;
use crate::test_app::{Database, EVENTS, TestApp, event_of};

pub(crate) const RULES: &str = "/api/v1/alert_rules/";
pub(crate) const ALERTS: &str = "/api/v1/alerts/";

/// Time limit that only a broken server exceeds.
const PATIENCE: Duration = Duration::from_secs(20);

impl TestApp {
    /// Creates a rule; returns its id.
    pub(crate) async fn rule(&self, json: &Value) -> i64 {
        let answer = self.send_json(Method::POST, RULES, json).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["id"].as_i64().unwrap()
    }

    /// The alerts, once there are that many with that query.
    pub(crate) async fn alerts(&self, query: &str, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let answer = self.get(&format!("{ALERTS}{query}")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let found = answer.json()["results"].as_array().unwrap().clone();
            if found.len() >= count {
                assert_eq!(found.len(), count, "{found:?}");
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{found:?}");
            // The evaluation is a thread of its own, which nothing here can wait for.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn denied(device: &str, second: u32, address: &str) -> Value {
    let mut event = event_of(device);
    event["connection_type"] = "attempted".into();
    event["status"] = "denied".into();
    event["ip_address"] = address.into();
    event["timestamp"] = format!("2024-01-15T10:30:{second:02}Z").into();
    event
}

pub(crate) fn burst() -> Value {
    json!({"name": "failed logins", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 3, "window_seconds": 60}, "severity": "critical"})
}

#[rstest]
#[actix_web::test]
async fn a_burst_of_failures_is_an_alert_with_its_evidence(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.post(&json!([denied("before", 1, "10.0.0.1"), denied("before", 2, "10.0.0.1")])).await;
    let rule = app.rule(&burst()).await;
    app.post(&denied("before", 3, "10.0.0.1")).await;
    let batch = json!([denied("d", 1, "10.0.0.1"), event_of("d"), denied("d", 9, "10.0.0.2")]);
    assert_eq!(app.post(&batch).await.status, 201);
    assert_eq!(app.post(&denied("d", 5, "10.0.0.3")).await.status, 201);
    let alert = &app.alerts("", 1).await[0];
    assert_eq!(alert["rule_id"], rule);
    assert_eq!(alert["rule_version"], 1);
    assert_eq!(alert["kind"], "failure_burst");
    assert_eq!(alert["severity"], "critical");
    assert_eq!(alert["state"], "open");
    assert_eq!(alert["group"], json!({"device_id": "d"}));
    assert_eq!(alert["count"], 3);
    assert_eq!(alert["event_ids"], json!([4, 7, 6]));
    assert_eq!(alert["started_at"], "2024-01-15T10:30:01Z");
    assert_eq!(alert["ended_at"], "2024-01-15T10:30:09Z");
    let explanation = alert["explanation"].as_str().unwrap();
    assert!(explanation.contains("3 events (attempted, denied) of device d"), "{explanation}");
    assert!(explanation.contains("from 3 addresses within 8 s"), "{explanation}");
    // The link shows the events of the group and the time, other statuses included.
    let list = app.get(alert["events_url"].as_str().unwrap()).await.json();
    let ids: Vec<i64> =
        list["results"].as_array().unwrap().iter().map(|e| e["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [4, 7, 6]);
    assert_eq!(app.get(&format!("{ALERTS}{}/", alert["id"])).await.json(), *alert);
}

#[rstest]
#[actix_web::test]
async fn an_alert_is_acknowledged_resolved_and_found(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.rule(&burst()).await;
    for device in ["a_b", "axb"] {
        let events: Vec<Value> = (1..4).map(|n| denied(device, n, "10.0.0.1")).collect();
        app.post(&json!(events)).await;
        app.alerts(&format!("?group={device}"), 1).await;
    }
    let path = format!("{ALERTS}1/acknowledge/");
    let answer = app.send_json(Method::POST, &path, &json!({"note": "mine"})).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("acknowledged")));
    let again = app.send(app.request(Method::POST, &path)).await;
    assert_eq!((again.status, &again.json()["note"]), (200, &json!("mine")));
    assert_eq!(app.alerts("?state=acknowledged&state=resolved", 1).await[0]["id"], 1);
    let answer = app.send(app.request(Method::POST, &format!("{ALERTS}2/resolve/"))).await;
    assert_eq!(answer.json()["state"], "resolved");
    // A further event extends an alert and does not open it again.
    app.post(&denied("a_b", 4, "10.0.0.1")).await;
    app.post(&denied("a_b", 5, "10.0.0.1")).await;
    app.post(&denied("a_b", 6, "10.0.0.1")).await;
    let begun = Instant::now();
    while app.get(&format!("{ALERTS}1/")).await.json()["count"] != 6 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(app.get(&format!("{ALERTS}1/")).await.json()["state"], "acknowledged");
    app.alerts("?group=%7B%22device_id%22%3A%22axb%22%7D", 1).await;
    app.alerts("?severity=critical&kind=failure_burst&rule_id=1&since=2024-01-15T10:30:01Z", 2)
        .await;
    app.alerts("?until=2024-01-15T10:30:01Z", 0).await;
    app.get(&format!("{ALERTS}?state=asleep")).await.is_problem(400, "invalid-query");
    app.get(&format!("{ALERTS}7/")).await.is_problem(404, "not-found");
    let changes = app.store.alert_changes_after(conn_log_store::TenantId::DEFAULT, 0, 100).unwrap();
    let kinds: Vec<&str> = changes.iter().map(|change| change.kind.name()).collect();
    assert_eq!(kinds, ["opened", "opened", "acknowledged", "resolved", "extended"]);
    assert_eq!(changes.iter().map(|change| change.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(changes[4].alert["count"], 6);
    assert_eq!(changes[4].alert["state"], "acknowledged");
}

#[rstest]
#[actix_web::test]
async fn a_rule_says_how_it_fares_and_so_do_the_metrics(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let path = format!("{RULES}{}/", app.rule(&burst()).await);
    app.post(&denied("d", 1, "10.0.0.1")).await;
    let expected = json!({"groups": 1, "late_reads": 0, "late_reads_cut": 0,
        "groups_given_up": 0, "slowed": false, "behind_events": 0});
    let begun = Instant::now();
    loop {
        let health = app.get(&path).await.json()["health"].clone();
        if health == expected {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{health}");
        // The evaluation is a thread of its own, which nothing here can wait for.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let metrics = app.get("/metrics").await.body;
    for line in ["conn_log_rules_slowed 0", "conn_log_rules_slowed_behind_events 0"] {
        assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
    }
}

#[rstest]
#[actix_web::test]
async fn a_rule_is_made_read_changed_and_deleted(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let id = app.rule(&burst()).await;
    let path = format!("{RULES}{id}/");
    let rule = app.get(&path).await.json();
    assert_eq!(rule["version"], 1);
    assert_eq!(rule["lateness_seconds"], 300);
    assert_eq!(rule["params"], json!({"threshold": 3, "window_seconds": 60}));
    let renamed = app.send_json(Method::PATCH, &path, &json!({"name": "other"})).await.json();
    assert_eq!((&renamed["name"], &renamed["version"]), (&json!("other"), &json!(1)));
    let changed =
        app.send_json(Method::PATCH, &path, &json!({"params": {"threshold": 9}})).await.json();
    assert_eq!(changed["version"], 2);
    assert_eq!(changed["params"], json!({"threshold": 9, "window_seconds": 60}));
    let answer = app.send_json(Method::PATCH, &path, &json!({"params": {"threshold": 1}})).await;
    answer.is_problem(422, "invalid-value");
    assert_eq!(app.get(RULES).await.json()["results"].as_array().unwrap().len(), 1);
    assert_eq!(app.send(app.request(Method::DELETE, &path)).await.status, 204);
    app.get(&path).await.is_problem(404, "not-found");
    app.send(app.request(Method::DELETE, &path)).await.is_problem(404, "not-found");
}

#[rstest]
#[actix_web::test]
async fn a_rule_that_can_find_nothing_is_refused_with_every_reason(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut rule = burst();
    rule["filter"] = json!({"status": "denid"});
    let answer = app.send_json(Method::POST, RULES, &rule).await;
    answer.is_problem(422, "invalid-value");
    assert_eq!(answer.faults(), [("/filter/status".to_owned(), "matches_nothing".to_owned())]);
    let mut rule = burst();
    rule["filter"] = json!({"status": "denied", "device_id": ["a", "b"]});
    rule["exclude"] = json!({"status": ["denied", "failure"]});
    let answer = app.send_json(Method::POST, RULES, &rule).await;
    assert_eq!(answer.faults(), [("/exclude".to_owned(), "matches_nothing".to_owned())]);
    rule["exclude"] = json!({"status": ["denied"], "device_id": "a"});
    assert_eq!(app.send_json(Method::POST, RULES, &rule).await.status, 201);
    let sequence = json!({"name": "x", "kind": "sequence", "group_by": ["device_id"],
        "filter": {"status": "success"},
        "params": {"first": {"status": "denied"}, "then": {"status": "success"}}});
    let answer = app.send_json(Method::POST, RULES, &sequence).await;
    assert_eq!(answer.faults(), [("/params/first".to_owned(), "matches_nothing".to_owned())]);
    let flapping = json!({"name": "x", "kind": "flapping", "group_by": ["device_id"],
        "params": {}, "filter": {"connection_type": "established", "status": "denied"}});
    let answer = app.send_json(Method::POST, RULES, &flapping).await;
    assert_eq!(answer.faults(), [("/filter".to_owned(), "matches_nothing".to_owned())]);
    let rule = json!({"kind": "failure_burst", "group_by": ["shoe"], "params": {"threshold": 0}});
    let answer = app.send_json(Method::POST, RULES, &rule).await;
    answer.is_problem(400, "invalid-object");
    let pointers: Vec<String> = answer.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/group_by/0", "/name", "/params/threshold"]);
}

#[rstest]
#[actix_web::test]
async fn a_preview_finds_what_the_rule_would_have_found(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.rule(&burst()).await;
    let events: Vec<Value> = [9, 1, 5, 30, 7].iter().map(|n| denied("d", *n, "10.0.0.1")).collect();
    app.post(&json!(events)).await;
    let live = app.alerts("", 1).await.remove(0);
    let mut body = burst();
    body["since"] = "2024-01-15T00:00:00Z".into();
    body["until"] = "2024-01-16T00:00:00Z".into();
    let answer = app.send_json(Method::POST, &format!("{RULES}preview/"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let found = answer.json();
    assert_eq!(found["complete"], true);
    assert_eq!(found["events"], 5);
    assert_eq!(found["by_day"], json!([{"day": "2024-01-15", "alerts": 1}]));
    let episode = &found["episodes"][0];
    for member in ["group", "count", "event_ids", "started_at", "ended_at", "explanation"] {
        assert_eq!(episode[member], live[member], "{member}");
    }
    // The time may stand in the query, and until is this moment if absent.
    let path = format!("{RULES}preview/?since=2024-01-15T00%3A00%3A00Z");
    let mut rule = burst();
    rule.as_object_mut().unwrap().remove("name");
    let answer = app.send_json(Method::POST, &path, &rule).await;
    assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(1)), "{}", answer.body);
    let answer = app.send_json(Method::POST, &format!("{RULES}preview/"), &rule).await;
    assert_eq!(answer.faults(), [("/since".to_owned(), "missing".to_owned())]);
    body["until"] = "yesterday".into();
    body["params"]["threshold"] = 0.into();
    let answer = app.send_json(Method::POST, &format!("{RULES}preview/"), &body).await;
    answer.is_problem(422, "invalid-value");
    assert_eq!(answer.faults().len(), 2);
}

#[rstest]
#[actix_web::test]
async fn a_preview_finds_a_beacon_in_what_was_registered_just_now(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let event = |number: u32| {
        let mut event = event_of("dev-7");
        let (hour, minute) = (1 + number / 6, number % 6 * 10);
        event["timestamp"] = format!("2024-01-15T{hour:02}:{minute:02}:00Z").into();
        event
    };
    app.post(&json!((0..21).rev().map(event).collect::<Vec<Value>>())).await;
    let body = |until: &str| {
        json!({"kind": "beaconing", "params": {"min_connections": 20},
            "group_by": ["device_id", "application_id"], "since": "2024-01-15T00:00:00Z",
            "until": until})
    };
    for (until, count) in
        [("2024-01-15T04:20:01Z", 1), ("2024-01-16T04:20:00Z", 1), ("2024-01-15T04:00:00Z", 0)]
    {
        let answer = app.send_json(Method::POST, &format!("{RULES}preview/"), &body(until)).await;
        assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(count)), "{until}");
    }
}

#[rstest]
#[actix_web::test]
async fn old_events_are_a_silence_when_no_further_one_has_come(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.rule(&json!({"name": "silent", "kind": "silence", "group_by": ["device_id"],
        "params": {"after_seconds": 3_600}}))
        .await;
    // Ten minutes apart, with one gap of three hours.
    for number in 0..20 {
        let minutes = number * 10 + if number < 10 { 0 } else { 180 };
        let mut event = event_of("d");
        event["timestamp"] =
            format!("2024-01-15T{:02}:{:02}:00Z", minutes / 60, minutes % 60).into();
        app.post(&event).await;
    }
    let found = app.alerts("", 2).await;
    assert_eq!(found[0]["count"].as_u64().unwrap() + found[1]["count"].as_u64().unwrap(), 3);
    for alert in &found {
        assert_eq!(alert["count"], alert["event_ids"].as_array().unwrap().len());
    }
    assert!(found.iter().any(|alert| alert["ended_at"] == "2024-01-15T04:40:00Z"), "{found:?}");
    app.alerts("?state=withdrawn", 0).await;
}

#[rstest]
#[actix_web::test]
async fn a_rule_that_was_changed_meanwhile_stays_as_it_is(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let made = app.send_json(Method::POST, RULES, &burst()).await;
    let path = made.header("location").unwrap().to_owned();
    let tag = made.header("etag").unwrap().to_owned();
    assert_eq!(app.get(&path).await.header("etag"), Some(tag.as_str()));
    let change = async |tag: String, name: &str| {
        let request = app.request(Method::PATCH, &path).insert_header(("if-match", tag));
        app.send(request.set_json(json!({"name": name}))).await
    };
    let first = change(format!("\"x\", W/{tag}"), "first").await;
    assert_eq!(first.status, 200, "{}", first.body);
    let new = first.header("etag").unwrap().to_owned();
    assert_ne!(new, tag);
    change(tag, "second").await.is_problem(409, "changed-meanwhile");
    assert_eq!(app.get(&path).await.json()["name"], "first");
    assert_eq!(change("*".to_owned(), "third").await.status, 200);
    change(new.clone(), "fourth").await.is_problem(409, "changed-meanwhile");
    let delete = async |tag: &str| {
        app.send(app.request(Method::DELETE, &path).insert_header(("if-match", tag))).await
    };
    delete(&new).await.is_problem(409, "changed-meanwhile");
    let latest = app.get(&path).await.header("etag").unwrap().to_owned();
    assert_eq!(delete(&latest).await.status, 204);
}

#[rstest]
#[actix_web::test]
async fn the_starter_rules_are_installed_once(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let install = format!("{RULES}install/");
    let first = app.send(app.request(Method::POST, &install)).await;
    let count = first.json()["installed"].as_array().unwrap().len();
    assert!(count >= 9, "{}", first.body);
    let second = app.send(app.request(Method::POST, &install)).await;
    assert_eq!(second.json(), json!({"installed": []}));
    assert_eq!(app.get(RULES).await.json()["results"].as_array().unwrap().len(), count);
}

#[rstest]
#[actix_web::test]
async fn readers_change_no_rule(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let token = app.token_with(conn_log_store::TenantId::DEFAULT, &[conn_log_store::Scope::Read]);
    let with = |method, path: &str| {
        let bearer = ("authorization", format!("Bearer {token}"));
        app.request(method, path).insert_header(bearer)
    };
    let answer = app.send(with(Method::POST, RULES).set_json(burst())).await;
    answer.is_problem(403, "forbidden");
    assert_eq!(app.send(with(Method::GET, RULES)).await.status, 200);
    assert_eq!(app.send(with(Method::GET, ALERTS)).await.status, 200);
    assert_eq!(app.send(with(Method::GET, EVENTS)).await.status, 200);
    app.send(with(Method::POST, &format!("{ALERTS}1/resolve/"))).await.is_problem(403, "forbidden");
}

#[rstest]
#[actix_web::test]
async fn a_stream_tells_of_alerts(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.rule(&burst()).await;
    let mut all = Stream::open(&app, "", None).await;
    let mut of_e = Stream::open(&app, "?device_id=e", None).await;
    for device in ["d", "e"] {
        let events: Vec<Value> = (1..4).map(|n| denied(device, n, "10.0.0.1")).collect();
        app.post(&json!(events)).await;
        app.alerts(&format!("?group={device}"), 1).await;
    }
    let mut expected = app.get(&format!("{ALERTS}1/")).await.json();
    expected["change"] = "opened".into();
    assert_eq!(all.alert().await, expected);
    assert_eq!(all.alert().await["group"], json!({"device_id": "e"}));
    assert_eq!(of_e.alert().await["group"], json!({"device_id": "e"}));
    app.send(app.request(Method::POST, &format!("{ALERTS}1/resolve/"))).await;
    assert_eq!(all.alert().await["change"], "resolved");
}

#[rstest]
#[actix_web::test]
async fn what_a_rule_no_longer_watches_has_ended(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let silent = json!({"name": "silent", "kind": "silence", "group_by": ["device_id"],
        "params": {"after_seconds": 60}, "lateness_seconds": 0});
    let id = app.rule(&silent).await;
    let path = format!("{RULES}{id}/");
    app.post(&denied("d", 1, "10.0.0.1")).await;
    app.alerts("?state=open", 1).await;
    let off = app.send_json(Method::PATCH, &path, &json!({"enabled": false})).await;
    assert_eq!(off.status, 200, "{}", off.body);
    let ended = app.get(&format!("{ALERTS}1/")).await.json();
    assert_eq!(ended["state"], "resolved");
    assert!(ended["ended_at"].is_string());
    let explanation = ended["explanation"].as_str().unwrap();
    assert!(explanation.ends_with("; the rule was disabled"), "{explanation}");
    // Enabled again it begins anew: the device falls silent again, and the old alert stays over.
    app.send_json(Method::PATCH, &path, &json!({"enabled": true})).await;
    app.post(&denied("d", 2, "10.0.0.1")).await;
    app.alerts("?state=open", 1).await;
    assert_eq!(app.get(&format!("{ALERTS}1/")).await.json(), ended);
    app.send_json(Method::PATCH, &path, &json!({"params": {"after_seconds": 61}})).await;
    let changed = app.get(&format!("{ALERTS}2/")).await.json();
    assert!(changed["explanation"].as_str().unwrap().ends_with("; the rule was changed"));
    app.post(&denied("e", 2, "10.0.0.1")).await;
    app.alerts("?state=open", 1).await;
    assert_eq!(app.send(app.request(Method::DELETE, &path)).await.status, 204);
    assert_eq!(app.get(&format!("{ALERTS}3/")).await.json()["state"], "resolved");
    let changes = app.store.alert_changes_after(conn_log_store::TenantId::DEFAULT, 0, 100).unwrap();
    let kinds: Vec<&str> = changes.iter().map(|change| change.kind.name()).collect();
    assert_eq!(kinds, ["opened", "resolved", "opened", "resolved", "opened", "resolved"]);
}

#[rstest]
#[actix_web::test]
async fn an_explanation_says_how_many_such_alerts_were_before(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut rule = burst();
    rule["cooldown_seconds"] = 0.into();
    app.rule(&rule).await;
    for (day, before) in
        [(15, "no such alert"), (16, "1 such alert"), (17, "2 such alerts"), (28, "no such alert")]
    {
        let at = |second: u32| {
            let mut event = denied("d", second, "10.0.0.1");
            event["timestamp"] = format!("2024-01-{day}T10:30:{second:02}Z").into();
            event
        };
        app.post(&json!([at(1), at(2), at(3)])).await;
        let since = format!("?since=2024-01-{day}T00%3A00%3A00Z");
        let alert = &app.alerts(&since, 1).await[0];
        let explanation = alert["explanation"].as_str().unwrap();
        let end = format!("; before: {before} in 7 days");
        assert!(explanation.ends_with(&end), "{explanation}");
    }
}
