//! Deliveries to receivers that behave in every way. Tests give the time: nothing waits for a clock.

use std::time::{Duration, Instant};

use actix_web::http::Method;
use chrono::TimeDelta;
use conn_log_api::ApiOptions;
use conn_log_core::Timestamp;
use conn_log_store::{ChangeKind, NewAlertChange, TenantId};
use rstest::rstest;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::receiver::{Receiver, Reply, Request};
use crate::test_app::{Database, TestApp, event_of};

/// How long the receiver of a test may take: contract's 15 s would make tests slow.
const TIME_MAX: Duration = Duration::from_millis(400);

/// A server that may call loopback.
pub(crate) async fn app_on(database: Database) -> TestApp {
    let webhook_allow = vec!["127.0.0.0/8".parse().unwrap()];
    let options = ApiOptions { webhook_allow, webhook_time_max: TIME_MAX, ..ApiOptions::default() };
    TestApp::on(database).options(options).await
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from(chrono::Utc::now())
}

pub(crate) fn later(seconds: i64) -> Timestamp {
    now().plus(TimeDelta::seconds(seconds))
}

fn alert(id: i64) -> Value {
    json!({
        "id": id, "rule_id": 4, "rule_version": 1, "rule_name": "Five failures",
        "kind": "failure_burst", "severity": "warning", "state": "open",
        "group": {"device_id": "dev_1"}, "count": 2, "event_ids": [1, 2], "first_event_id": 1,
        "last_event_id": 2, "started_at": "2026-01-02T03:04:05Z",
        "ended_at": "2026-01-02T03:05:05Z", "detected_at": "2026-01-02T03:05:06Z",
        "merged_into": null, "explanation": "2 failures within 60 s",
    })
}

impl TestApp {
    pub(crate) fn changes(&self, changes: &[(ChangeKind, i64)]) {
        let change = |(kind, id): &(ChangeKind, i64)| NewAlertChange {
            kind: *kind,
            at: now(),
            alert: alert(*id),
        };
        let changes = changes.iter().map(change).collect();
        self.store.alert_changes_append(TenantId::DEFAULT, changes).unwrap();
    }

    /// Sends all that is due at a time.
    pub(crate) fn notify(&self, time: Timestamp) {
        while self.notifier.step(time).unwrap() > 0 {
            self.notifier.settle();
        }
    }

    /// The deliveries of a webhook, the oldest first.
    pub(crate) async fn deliveries(&self, path: &str) -> Vec<Value> {
        let page = self.get(&format!("{path}deliveries/")).await.json();
        page["results"].as_array().unwrap().iter().rev().cloned().collect()
    }
}

/// Whether the published library finds its own signature among those of a request. Its check of
/// the time is left out: tests move it.
fn verify(request: &Request, secret: &str) -> bool {
    let id = request.header("webhook-id");
    let timestamp = request.header("webhook-timestamp").parse().unwrap();
    let webhook = Webhook::new(secret).unwrap();
    let signature = webhook.sign(id, timestamp, request.body.as_bytes()).unwrap();
    request.header("webhook-signature").split(' ').any(|signed| signed == signature)
}

#[rstest]
#[actix_web::test]
async fn a_change_arrives_signed_with_the_alert_and_its_events(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::Answer(200, "", "thank\nyou"));
    let (path, secret) = app.webhook(&json!({"url": receiver.url()})).await;
    for _ in 0..2 {
        app.post(&event_of("dev_1")).await;
    }
    app.changes(&[(ChangeKind::Opened, 7)]);
    app.notify(now());
    let request = receiver.next();
    assert_eq!(request.line, "POST /hook HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("user-agent").starts_with("conn-log/"));
    assert!(verify(&request, &secret));
    let body = request.json();
    assert_eq!((&body["type"], &body["data"]["sequence"]), (&json!("alert.opened"), &json!(1)));
    assert_eq!(body["data"]["alert"], alert(7));
    let events: Vec<Value> = vec![
        app.get("/api/v1/device_app_connection_log/1/").await.json(),
        app.get("/api/v1/device_app_connection_log/2/").await.json(),
    ];
    assert_eq!(body["data"]["events"], Value::from(events));

    let delivery = app.deliveries(&path).await.remove(0);
    assert_eq!(delivery["message_id"], request.header("webhook-id"));
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("delivered"), &json!(1)));
    assert_eq!((&delivery["type"], &delivery["alert_id"]), (&json!("alert.opened"), &json!("7")));
    let attempt = &delivery["last_attempt"];
    assert_eq!((&attempt["status"], &attempt["answer"]), (&json!(200), &json!("thank you")));
    assert!(
        app.get(&format!("{path}deliveries/?state=failed")).await.json()["results"] == json!([])
    );
    let whole = app.get(&format!("{path}deliveries/1/")).await.json();
    assert_eq!(whole["all_attempts"], json!([attempt]));
}

#[rstest]
#[actix_web::test]
async fn attempts_have_one_id_and_a_signature_each_and_changes_keep_their_order(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let mut count = 0;
    let receiver = Receiver::by(move |_| {
        count += 1;
        Reply::status(if count <= 2 { 500 } else { 204 })
    });
    let (path, secret) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1), (ChangeKind::Resolved, 1)]);
    app.notify(now());
    assert!(app.get(&path).await.json()["failing_since"].is_string());
    assert_eq!(app.deliveries(&path).await[1]["next_attempt_at"], Value::Null);
    app.notify(later(10));
    app.notify(later(10 + 400));
    let all = receiver.all();
    let id = |n: usize| all[n].header("webhook-id").to_owned();
    let kinds: Vec<Value> = all.iter().map(|request| request.json()["type"].clone()).collect();
    assert_eq!(kinds, ["alert.opened", "alert.opened", "alert.opened", "alert.resolved"]);
    assert!(id(0) == id(1) && id(1) == id(2) && id(2) != id(3));
    assert!(all.iter().all(|request| verify(request, &secret)));
    let times: Vec<&str> = all.iter().map(|r| r.header("webhook-timestamp")).collect();
    assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
    assert_eq!(app.get(&path).await.json()["failing_since"], Value::Null);
}

#[rstest]
#[actix_web::test]
async fn both_secrets_sign_for_a_day_after_a_rotation(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(200));
    let (path, old) = app.webhook(&json!({"url": receiver.url()})).await;
    let rotated = app.send_empty(Method::POST, &format!("{path}rotate_secret/")).await.json();
    let new = rotated["secret"].as_str().unwrap();
    for (id, hours, signed_by_old) in [(1, 0, true), (2, 23, true), (3, 25, false)] {
        app.changes(&[(ChangeKind::Opened, id)]);
        app.notify(later(hours * 3_600));
        let request = receiver.next();
        assert!(verify(&request, new));
        assert_eq!(verify(&request, &old), signed_by_old, "after {hours} h");
    }
}

#[rstest]
#[actix_web::test]
async fn a_test_is_sent_at_once_and_once(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(500));
    let (path, secret) = app.webhook(&json!({"url": receiver.url()})).await;
    let answer = app.send_empty(Method::POST, &format!("{path}test/")).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let delivery = answer.json();
    assert_eq!(
        (&delivery["type"], &delivery["state"]),
        (&json!("webhook.test"), &json!("pending"))
    );
    app.notify(later(1));
    app.notify(later(100_000));
    let all = receiver.all();
    assert_eq!(all.len(), 1);
    assert!(verify(&all[0], &secret));
    assert_eq!(all[0].json()["type"], "webhook.test");
    assert_eq!(app.deliveries(&path).await[0]["state"], "failed");
}

#[rstest]
#[actix_web::test]
async fn what_failed_or_was_missed_is_sent_on_request(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    app.changes(&[(ChangeKind::Opened, 1)]);
    let receiver = Receiver::that(Reply::status(200));
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 2)]);
    app.notify(now());
    let first = receiver.next();
    let again = app.send_empty(Method::POST, &format!("{path}deliveries/1/redeliver/")).await;
    assert_eq!((again.status, &again.json()["state"]), (202, &json!("pending")));
    app.notify(later(1));
    let second = receiver.next();
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(app.deliveries(&path).await[0]["attempts"], 2);

    let none = app
        .send_empty(
            Method::POST,
            &format!("{path}redeliver/?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z"),
        )
        .await;
    assert_eq!((none.status, none.json()), (202, json!({"redelivered": 0, "has_more": false})));
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    let all = app.send_json(Method::POST, &format!("{path}redeliver/"), &since).await;
    assert_eq!((all.status, all.json()), (202, json!({"redelivered": 1, "has_more": false})));
    app.notify(later(1));
    assert_eq!(receiver.next().json()["data"]["alert"]["id"], 1);
    let redeliver = format!("{path}redeliver/");
    for (body, faults) in [
        (json!({}), [("/since", "missing")]),
        (json!({"since": "x"}), [("/since", "invalid_timestamp")]),
        (
            json!({"since": "2026-01-01T00:00:00Z", "until": "2025-01-01T00:00:00Z"}),
            [("/until", "out_of_range")],
        ),
    ] {
        let answer = app.send_json(Method::POST, &redeliver, &body).await;
        assert_eq!(answer.faults(), faults.map(|(a, b)| (a.to_owned(), b.to_owned())), "{body}");
    }
    let answer = app.send_empty(Method::POST, &redeliver).await;
    answer.is_problem(400, "invalid-query");
    assert_eq!(answer.json()["errors"][0]["parameter"], "since");
}

#[rstest]
#[actix_web::test]
async fn a_silenced_alert_is_noted_and_not_told(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(200));
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    let until = later(3_600).to_string();
    app.send_empty(Method::POST, "/api/v1/alert_rules/install/").await;
    let silence = json!({"rule_id": 4, "until": until, "reason": "works"});
    let made = app.send_json(Method::POST, "/api/v1/silences/", &silence).await;
    assert_eq!(made.status, 201, "{}", made.body);
    app.changes(&[(ChangeKind::Opened, 1)]);
    app.notify(later(1));
    assert!(receiver.all().is_empty());
    let silenced = app.get(&format!("{path}deliveries/?state=silenced")).await.json();
    assert_eq!(silenced["results"].as_array().unwrap().len(), 1);
    let again = app.send_empty(Method::POST, &format!("{path}deliveries/1/redeliver/")).await;
    assert_eq!(again.status, 202);
    app.notify(later(1));
    assert_eq!(receiver.all().len(), 1);
}

#[rstest]
#[actix_web::test]
async fn each_format_is_what_its_receivers_take(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receivers: Vec<Receiver> = (0..3).map(|_| Receiver::that(Reply::status(202))).collect();
    for (receiver, format) in receivers.iter().zip(["slack", "alertmanager", "pagerduty"]) {
        let mut webhook = json!({"url": receiver.url(), "format": format});
        if format == "pagerduty" {
            webhook["routing_key"] = "R0UT1NG".into();
        }
        if format == "alertmanager" {
            webhook["url"] = receiver.url().replace("/hook", "").into();
        }
        app.webhook(&webhook).await;
    }
    app.changes(&[(ChangeKind::Opened, 9)]);
    app.notify(now());
    let requests = [0, 1, 2].map(|n| receivers[n].next());
    let paths = requests.each_ref().map(|request| request.line.split(' ').nth(1).unwrap());
    assert_eq!(paths, ["/hook", "/api/v2/alerts", "/hook"]);
    let [slack, alertmanager, pagerduty] = requests.each_ref().map(Request::json);
    assert_eq!(slack["text"], "[warning] alert opened: Five failures: device_id dev_1");
    assert_eq!(alertmanager[0]["labels"]["alertname"], "Five failures");
    assert_eq!(alertmanager[0]["startsAt"], "2026-01-02T03:04:05Z");
    assert_eq!(
        (&pagerduty["dedup_key"], &pagerduty["routing_key"]),
        (&json!("9"), &json!("R0UT1NG"))
    );
    // An open alert is repeated for Alertmanager alone.
    app.notify(later(310));
    assert_eq!(receivers[1].next().json()[0]["labels"], alertmanager[0]["labels"]);
    app.changes(&[(ChangeKind::Resolved, 9)]);
    app.notify(later(311));
    assert_eq!(receivers[2].next().json()["event_action"], "resolve");
    receivers[1].next();
    app.notify(later(3_600));
    assert!(receivers[1].all().is_empty());
}

#[rstest]
#[actix_web::test]
async fn an_inside_address_is_not_called_once_the_deployment_forbids_it(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(200));
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1)]);
    let strict = app.notifier_with(ApiOptions::default());
    assert_eq!(strict.step(now()).unwrap(), 1);
    strict.settle();
    assert!(receiver.all().is_empty());
    let attempt = app.deliveries(&path).await[0]["last_attempt"].clone();
    let error = attempt["error"].as_str().unwrap();
    assert!(error.contains("inside the deployment"), "{error}");
}

#[rstest]
#[actix_web::test]
async fn metrics_tell_what_became_of_attempts_and_how_long_the_oldest_waits(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::by(|request| {
        Reply::status(if request.body.contains(r#""id":1,"#) { 500 } else { 200 })
    });
    app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1), (ChangeKind::Opened, 2)]);
    let begun = Instant::now();
    app.notify(now());
    let metrics = app.get("/metrics").await.body;
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(&format!("conn_log_{name} ")));
        line.unwrap_or_else(|| panic!("{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!((value(r#"webhook_attempts_total{outcome="delivered"}"#) - 1.0).abs() < 0.1);
    assert!((value(r#"webhook_attempts_total{outcome="retried"}"#) - 1.0).abs() < 0.1);
    assert!(value("webhook_attempts_running").abs() < 0.1);
    let waited = value("webhook_oldest_waiting_seconds");
    assert!(waited > 0.0 && waited <= begun.elapsed().as_secs_f64() + 1.0, "{waited}");
}
