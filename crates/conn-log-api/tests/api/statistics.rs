//! `GET /device_app_connection_log/stats/`, exact the moment a POST returns.

use actix_web::body::{self, BodySize, MessageBody as _};
use actix_web::http::{Method, Version};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, EVENTS, TestApp};

const JSON: &str = "application/json";

fn event_for(application_id: &str) -> Value {
    json!({"device_id": "dev_1", "application_id": application_id, "status": "success",
        "connection_type": "established", "timestamp": "2024-01-15T10:00:30Z"})
}

async fn nine_events(database: Database) -> TestApp {
    let app = TestApp::on(database).await;
    let events: Vec<Value> = (0..9)
        .map(|i| {
            let mut event = json!({
                "device_id": format!("dev_{}", i % 3), "application_id": "app_1",
                "connection_type": if i % 2 == 0 { "established" } else { "terminated" },
                "timestamp": format!("2024-01-15T10:{:02}:30Z", i * 5),
                "status": if i == 4 { "timeout" } else { "success" },
                "metadata": {"signal_strength": -40 - i, "network_type": "wifi"},
            });
            if i % 2 == 1 {
                event["duration"] = json!(f64::from(i) * 10.0);
                event["metadata"] = json!({"network_type": 5, "signal_strength": "weak"});
            }
            event
        })
        .collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    app
}

async fn results(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("{EVENTS}stats/?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

fn assert_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= expected.abs() * 0.02, "{found} for {expected}");
}

#[rstest]
#[actix_web::test]
async fn an_hour_of_events_is_summed_up_as_the_contract_shows(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = nine_events(database).await;
    let answer = app.get(&format!("{EVENTS}stats/?interval=1h&group_by=application_id")).await;
    assert_eq!(answer.json()["interval"], "1h");
    let mut found = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(found.len(), 1);
    let (duration, signal) = (found[0]["duration"].take(), found[0]["signal_strength"].take());
    assert_near(&found[0]["failure_rate"].take(), 0.111);
    let expected = json!({"start": "2024-01-15T10:00:00Z", "application_id": "app_1", "events": 9,
        "devices": 3, "failures": 1, "failure_rate": null, "duration": null,
        "signal_strength": null});
    assert_eq!(found[0], expected);
    assert_eq!((&duration["count"], &duration["mean"]), (&json!(4), &json!(40.0)));
    assert_near(&duration["p50"], 40.0);
    assert_near(&duration["p95"], 67.0);
    assert_near(&duration["p99"], 69.4);
    assert_eq!((&signal["count"], &signal["mean"]), (&json!(5), &json!(-44.0)));
    assert_near(&signal["p10"], -47.2);
}

#[rstest]
#[actix_web::test]
async fn every_interval_group_and_filter_narrows_it_down(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = nine_events(database).await;
    let column =
        |rows: &[Value], name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    let all = results(&app, "").await;
    assert_eq!((&all[0]["start"], &all[0]["events"]), (&json!(null), &json!(9)));
    assert!(all[0].get("application_id").is_none());
    assert_eq!(results(&app, "interval=1m").await.len(), 9);
    assert_eq!(results(&app, "interval=5m").await[1]["start"], "2024-01-15T10:05:00Z");
    assert_eq!(results(&app, "interval=1d").await[0]["start"], "2024-01-15T00:00:00Z");
    let networks = results(&app, "group_by=network_type").await;
    assert_eq!(column(&networks, "network_type"), [json!(null), json!("wifi")]);
    assert_eq!(column(&networks, "events"), [4, 5]);
    let devices = results(&app, "group_by=device_id,status&group_by=connection_type").await;
    assert_eq!(devices.len(), 6);
    assert_eq!(devices[0]["device_id"], "dev_0");
    for (query, events) in [
        ("device_id=dev_0", 3),
        ("device_id=dev_0&device_id=dev_1", 6),
        ("status=timeout", 1),
        ("connection_type=terminated&interval=1m", 4),
        ("application_id=app_1&since=2024-01-15T10:05:30Z&until=2024-01-15T10:40:30Z", 7),
        ("since=2024-01-15T10:05:31Z&interval=5m", 7),
        ("device_id=dev_1&until=2024-01-15T10:20:00Z", 1),
    ] {
        let rows = results(&app, query).await;
        let sum: i64 = rows.iter().map(|row| row["events"].as_i64().unwrap()).sum();
        assert_eq!(sum, events, "{query}");
    }
    let none = results(&app, "application_id=nobody").await;
    assert!(none.is_empty());
    let without = results(&app, "connection_type=established").await;
    let nothing = json!({"count": 0, "mean": null, "p50": null, "p95": null, "p99": null});
    assert_eq!(without[0]["duration"], nothing);
}

#[rstest]
#[actix_web::test]
async fn an_answer_of_many_groups_is_whole_and_in_order(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
    // Around the ends of the parts that it is sent in.
    #[values(499, 500, 501, 1_700)] groups: usize,
) {
    let app = TestApp::on(database).await;
    let names: Vec<String> = (0..groups).map(|i| format!("app_{i:04}")).collect();
    // The order in which they are registered is none that an answer has.
    let events: Vec<Value> = names.iter().rev().map(|name| event_for(name)).collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    for query in ["group_by=application_id", "interval=1h&group_by=application_id"] {
        let rows = results(&app, query).await;
        let found: Vec<&str> =
            rows.iter().map(|row| row["application_id"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
        let head = app.send(app.request(Method::HEAD, &format!("{EVENTS}stats/?{query}"))).await;
        assert_eq!((head.status, head.header("content-type")), (200, Some(JSON)));
        let old = app.request(Method::GET, &format!("{EVENTS}stats/?{query}"));
        let old = app.open(old.version(Version::HTTP_10)).await;
        assert!(matches!(old.response().body().size(), BodySize::Sized(_)));
    }
}

#[rstest]
#[actix_web::test]
async fn as_many_large_answers_are_sent_at_a_time_as_memory_is_meant_for(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let events: Vec<Value> = (0..2_000).map(|i| event_for(&format!("app_{i:04}"))).collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    let large = format!("{EVENTS}stats/?group_by=application_id");
    // Clients that take nothing.
    let mut open = Vec::new();
    while open.len() < 8 {
        let answer = app.open(app.request(Method::GET, &large)).await;
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    let refused = app.get(&large).await;
    assert_eq!(refused.header("retry-after"), Some("30"));
    refused.is_problem(503, "overloaded");
    assert_eq!(results(&app, "").await.len(), 1, "what is small takes no place");
    // One that leaves makes room for one that waits, and so does one that has taken all of it.
    for has_taken_all in [false, true] {
        let answer = open.pop().unwrap().into_body();
        if has_taken_all {
            assert!(body::to_bytes(answer).await.unwrap().ends_with(b"]}"));
        } else {
            drop(answer);
        }
        let again = app.open(app.request(Method::GET, &large)).await;
        assert_eq!(again.status(), 200);
        open.push(again);
    }
}

#[rstest]
#[actix_web::test]
async fn a_parameter_that_statistics_do_not_take_is_a_400(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for query in ["interval=1w", "group_by=colour", "group_by=", "since=now", "limit=3"] {
        assert_eq!(app.get(&format!("{EVENTS}stats/?{query}")).await.status, 400, "{query}");
    }
    assert!(results(&app, "interval=1h").await.is_empty());
}
