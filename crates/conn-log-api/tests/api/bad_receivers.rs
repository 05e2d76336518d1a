//! Receivers that hang, fail, redirect, never end, or are gone: each is noted, and no other waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use conn_log_store::ChangeKind;
use rstest::rstest;
use serde_json::{Value, json};

use crate::delivering::{app_on, later, now};
use crate::receiver::{Receiver, Reply};
use crate::test_app::Database;

#[rstest]
#[actix_web::test]
async fn a_receiver_that_hangs_holds_up_no_other(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let hanging: Vec<Receiver> = (0..20).map(|_| Receiver::that(Reply::Hang)).collect();
    for receiver in &hanging {
        app.webhook(&json!({"url": receiver.url()})).await;
    }
    let well = Receiver::that(Reply::status(200));
    app.webhook(&json!({"url": well.url()})).await;
    // The first round tells which receivers hang.
    app.changes(&[(ChangeKind::Opened, 1)]);
    app.notify(now());
    well.next();
    let alerts: Vec<_> = (2..=40).map(|id| (ChangeKind::Opened, id)).collect();
    app.changes(&alerts);
    // Each step begins as many attempts as there is room for; nothing waits for one that hangs.
    let (begun, mut received) = (Instant::now(), 0);
    while received < alerts.len() {
        app.notifier.step(later(10)).unwrap();
        received += well.all().len();
        assert!(begun.elapsed() < Duration::from_secs(20), "{received} came");
        std::thread::yield_now();
    }
    app.notifier.settle();
}

#[rstest]
#[actix_web::test]
async fn after_a_day_of_failures_a_receiver_gets_all_in_order_and_nobody_waited(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    const HOUR: i64 = 3_600;
    let app = app_on(database).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&is_well);
    let failing = Receiver::by(move |_| {
        Reply::status(if answers.load(Ordering::SeqCst) { 200 } else { 500 })
    });
    let (path, _) = app.webhook(&json!({"url": failing.url()})).await;
    let well = Receiver::that(Reply::status(200));
    app.webhook(&json!({"url": well.url()})).await;
    for hour in 0..24 {
        let kind = if hour == 0 { ChangeKind::Opened } else { ChangeKind::Extended };
        app.changes(&[(kind, 1)]);
        app.notify(later(hour * HOUR));
        // The other receiver is told within the hour.
        assert_eq!(well.all().len(), 1, "hour {hour}");
    }
    let tried = failing.all();
    assert!((5..=8).contains(&tried.len()), "{}", tried.len());
    assert!(tried.iter().all(|request| request.json()["type"] == "alert.opened"));
    assert_eq!(app.get(&path).await.json()["enabled"], true);
    is_well.store(true, Ordering::SeqCst);
    // Attempts end at the longest 12 hours after the one before.
    app.notify(later(36 * HOUR));
    let sequences: Vec<i64> = failing
        .all()
        .iter()
        .map(|request| request.json()["data"]["sequence"].as_i64().unwrap())
        .collect();
    assert_eq!(sequences, (1..=24).collect::<Vec<i64>>());
    assert_eq!(app.get(&path).await.json()["failing_since"], Value::Null);
}

#[rstest]
#[actix_web::test]
async fn an_open_connection_without_an_answer_is_left_at_its_time(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
    #[values(Reply::Hang, Reply::Drip, Reply::Close, Reply::Reset)] reply: Reply,
) {
    let app = app_on(database).await;
    let is_slow = matches!(reply, Reply::Hang | Reply::Drip);
    let receiver = Receiver::that(reply);
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1)]);
    let begun = Instant::now();
    app.notify(now());
    assert!(begun.elapsed() < Duration::from_secs(5));
    let delivery = app.deliveries(&path).await.remove(0);
    assert_eq!(delivery["state"], "pending");
    assert!(delivery["next_attempt_at"].is_string());
    let attempt = &delivery["last_attempt"];
    assert_eq!((&attempt["status"], &attempt["answer"]), (&Value::Null, &Value::Null));
    assert!(!attempt["error"].as_str().unwrap().is_empty());
    if is_slow {
        assert_eq!(attempt["error"], "the receiver took too long");
        assert!(attempt["duration"].as_f64().unwrap() >= 0.4, "{attempt}");
    }
}

#[rstest]
#[actix_web::test]
async fn of_a_gigabyte_the_begin_is_read(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::Endless);
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1)]);
    app.notify(now());
    let delivery = app.deliveries(&path).await.remove(0);
    assert_eq!(delivery["state"], "delivered");
    assert_eq!(delivery["last_attempt"]["answer"], "x".repeat(512));
    // What the sockets hold is all that was taken.
    assert!(*receiver.taken.lock().unwrap() < 50_000_000);
}

#[rstest]
#[actix_web::test]
async fn a_redirect_is_a_failure_and_is_not_followed(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
    #[values(301, 302, 307, 308)] status: u16,
) {
    let app = app_on(database).await;
    let inside = Receiver::that(Reply::status(200));
    let target: &'static str = Box::leak(format!("location: {}\r\n", inside.url()).into());
    let receiver = Receiver::that(Reply::Answer(status, target, ""));
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1)]);
    app.notify(now());
    let delivery = app.deliveries(&path).await.remove(0);
    assert_eq!(
        (&delivery["state"], &delivery["last_attempt"]["status"]),
        (&json!("pending"), &json!(status))
    );
    assert!(inside.all().is_empty());
}

#[rstest]
#[actix_web::test]
async fn a_receiver_that_is_gone_is_called_no_more(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::status(410));
    let (path, _) = app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1), (ChangeKind::Resolved, 1)]);
    app.notify(now());
    app.notify(later(100_000));
    assert_eq!(receiver.all().len(), 1);
    let webhook = app.get(&path).await.json();
    assert_eq!((&webhook["enabled"], &webhook["disabled_reason"]), (&json!(false), &json!("gone")));
    let states: Vec<Value> =
        app.deliveries(&path).await.iter().map(|d| d["state"].clone()).collect();
    assert_eq!(states, ["failed", "cancelled"]);
    let metrics = app.get("/metrics").await.body;
    assert!(metrics.contains("conn_log_webhooks_disabled 1"), "{metrics}");
    assert!(metrics.contains(r#"conn_log_webhook_attempts_total{outcome="disabled"} 1"#));
    for action in ["test/", "deliveries/1/redeliver/"] {
        let answer = app.send_empty(Method::POST, &format!("{path}{action}")).await;
        answer.is_problem(422, "invalid-value");
    }
}

#[rstest]
#[actix_web::test]
async fn a_receiver_may_ask_for_a_longer_wait(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = app_on(database).await;
    let receiver = Receiver::that(Reply::Answer(429, "retry-after: 3600\r\n", ""));
    app.webhook(&json!({"url": receiver.url()})).await;
    app.changes(&[(ChangeKind::Opened, 1)]);
    app.notify(now());
    app.notify(later(3_500));
    assert_eq!(receiver.all().len(), 1);
    app.notify(later(3_700));
    assert_eq!(receiver.all().len(), 1);
}
