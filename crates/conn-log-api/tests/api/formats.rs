//! The formats of webhooks: what each takes, and how an alert ends in Alertmanager.

use actix_web::http::Method;
use conn_log_core::Timestamp;
use conn_log_store::ChangeKind;
use rstest::rstest;
use serde_json::{Value, json};

use crate::delivering::{app_on, later, now};
use crate::receiver::{Receiver, Reply};
use crate::test_app::{Database, TestApp};
use crate::watching::{ALERTS, burst, denied};
use crate::webhooks::WEBHOOKS;

#[rstest]
#[actix_web::test]
async fn every_format_takes_any_events(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for format in ["standard", "slack", "alertmanager", "pagerduty"] {
        for events in [json!(["alert.opened"]), json!(["alert.resolved"]), Value::Null] {
            let new = json!({"url": "https://example.com/x", "events": events, "format": format});
            let made = app.send_json(Method::POST, WEBHOOKS, &new).await;
            assert_eq!(made.status, 201, "{new}: {}", made.body);
            let path = made.header("location").unwrap().to_owned();
            let change = json!({"events": ["alert.withdrawn"]});
            assert_eq!(app.send_json(Method::PATCH, &path, &change).await.status, 200);
        }
    }
}

#[rstest]
#[actix_web::test]
async fn pagerduty_itself_needs_its_key_and_a_gateway_before_it_does_not(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let fault = [("/routing_key".to_owned(), "missing".to_owned())];
    for host in ["events.pagerduty.com", "events.eu.pagerduty.com", "EVENTS.pagerduty.com.:443"] {
        let new = json!({"url": format!("https://{host}/v2/enqueue"), "format": "pagerduty"});
        let answer = app.send_json(Method::POST, WEBHOOKS, &new).await;
        answer.is_problem(400, "invalid-object");
        assert_eq!(answer.faults(), fault);
    }
    let receiver = Receiver::that(Reply::status(202));
    let (path, _) = app.webhook(&json!({"url": receiver.url(), "format": "pagerduty"})).await;
    app.changes(&[(ChangeKind::Opened, 9)]);
    app.notify(now());
    let body = receiver.next().json();
    assert_eq!((&body["event_action"], body.get("routing_key")), (&json!("trigger"), None));
    let to_pagerduty = json!({"url": "https://events.pagerduty.com/v2/enqueue"});
    let answer = app.send_json(Method::PATCH, &path, &to_pagerduty).await;
    assert_eq!(answer.faults(), fault);
    let with_key = json!({"url": "https://events.pagerduty.com/v2/enqueue", "routing_key": "k"});
    assert_eq!(app.send_json(Method::PATCH, &path, &with_key).await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn an_alert_whose_end_is_not_asked_for_ends_in_alertmanager_with_the_next_repetition(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(200));
    let new = json!({"url": receiver.url(), "format": "alertmanager", "events": ["alert.opened"]});
    app.webhook(&new).await;
    app.rule(&burst()).await;
    let events: Vec<Value> = (1..4).map(|n| denied("d", n, "10.0.0.1")).collect();
    app.post(&json!(events)).await;
    app.alerts("", 1).await;
    app.notify(now());
    let opened = receiver.next().json()[0].clone();
    let ends_at = |sent: &Value| Timestamp::parse(sent["endsAt"].as_str().unwrap()).unwrap();
    assert!(ends_at(&opened) > later(1_100));
    app.notify(later(310));
    let repeated = receiver.next().json()[0].clone();
    assert!(ends_at(&repeated) > later(1_400));

    // The end is told by the last repetition, which is tried until the receiver takes it.
    let resolved = app.send_empty(Method::POST, &format!("{ALERTS}1/resolve/")).await;
    assert_eq!(resolved.status, 200);
    app.notify(later(320));
    assert!(receiver.all().is_empty());
    let time = later(620);
    app.notify(time);
    let ended = receiver.next().json()[0].clone();
    assert_eq!(ended["labels"], opened["labels"]);
    assert!(ends_at(&ended) <= time);
    app.notify(later(7_200));
    assert!(receiver.all().is_empty());
}

#[rstest]
#[actix_web::test]
async fn the_message_on_the_page_is_one_that_is_sent(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let page = include_str!("../../../../docs/webhooks.md");
    let told = page.lines().find(|line| line.starts_with(r#"{"type":"alert.opened""#)).unwrap();
    let mut told: Value = serde_json::from_str(&told.replace(", …]", "]")).unwrap();

    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(204));
    app.webhook(&json!({"url": receiver.url()})).await;
    let rule = json!({"name": "Five failures", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 5, "window_seconds": 60}});
    app.rule(&rule).await;
    let events: Vec<Value> = (5..10)
        .map(|n| {
            let mut event = denied("dev_1", n, "192.0.2.7");
            event["timestamp"] = format!("2026-01-02T03:04:{n:02}Z").into();
            event
        })
        .collect();
    app.post(&json!(events)).await;
    app.alerts("", 1).await;
    app.notify(now());
    let mut sent = receiver.next().json();
    sent["data"]["events"].as_array_mut().unwrap().truncate(1);
    for place in ["/timestamp", "/data/alert/detected_at", "/data/events/0/created_at"] {
        let time = sent.pointer(place).unwrap().clone();
        *told.pointer_mut(place).unwrap() = time;
    }
    assert_eq!(told, sent, "{sent}");
}
