//! `GET /device_app_connection_log/stats/`: the figures are exact as soon as a POST returns.

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
    // Around the limits of the parts in which an answer is sent.
    #[values(499, 500, 501, 1_700)] groups: usize,
) {
    let app = TestApp::on(database).await;
    let names: Vec<String> = (0..groups).map(|i| format!("app_{i:04}")).collect();
    // The events are registered in an order that no answer has.
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
    // Clients that read nothing.
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
    // A client that disconnects makes room for a waiting one, and so does one that has read all its
    // answer.
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
    for (query, expected) in [
        ("interval=2w", "1m, 5m, 15m, 1h, 1d, 1w or 1mo"),
        ("group_by=colour", "network_type"),
        ("group_by=", "network_type"),
        ("since=now", "RFC 3339"),
        ("timezone=Mars/Olympus", "IANA"),
        ("timezone=europe/berlin", "Europe/Berlin"),
        ("timezone=", "IANA"),
        ("sort=colour", "failure_rate"),
        ("sort=--events", "failure_rate"),
        ("sort=events&sort=devices", "once"),
        ("sort=events&limit=0", "1 to 100,000"),
        ("sort=events&limit=100001", "1 to 100,000"),
        ("limit=3", "goes with sort only"),
        ("status=", "empty"),
        ("device_id=", "empty"),
        ("application_id=app_1&application_id=", "empty"),
    ] {
        let answer = app.get(&format!("{EVENTS}stats/?{query}")).await;
        answer.is_problem(400, "invalid-query");
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{query}: {problem}");
    }
    assert!(results(&app, "interval=1h").await.is_empty());
}

#[rstest]
#[actix_web::test]
async fn a_name_that_neither_the_rules_nor_the_log_know_is_a_400_that_says_what_is_known(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = nine_events(database).await;
    for (query, expected) in [
        ("status=faliure", "success, failure, denied, timeout, error"),
        ("status=success&status=succes", "success, failure"),
        ("connection_type=establishd", "attempted, authenticated"),
    ] {
        let answer = app.get(&format!("{EVENTS}stats/?{query}")).await;
        answer.is_problem(400, "invalid-query");
        let problem = answer.json();
        assert_eq!(problem["errors"][0]["code"], "unknown_value");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{query}: {problem}");
    }
    // Like events of a deployment that accepted more names once, in projections or not.
    let mut parts = conn_log_test_support::parts("dev_9");
    (parts.status, parts.connection_type) = ("throttled".to_owned(), "roamed".to_owned());
    let old = conn_log_core::Event::from_store(parts);
    conn_log_test_support::append(&app.store, vec![old]).await.unwrap();
    for is_taken_in in [false, true] {
        if is_taken_in {
            app.store.projections_step(conn_log_test_support::DEFAULT, 100).unwrap();
        }
        let rows = results(&app, "status=throttled&connection_type=roamed").await;
        assert_eq!(rows[0]["events"], 1);
    }
    assert_eq!(results(&app, "status=failed").await.len(), 0, "another name of failure");
    assert_eq!(results(&app, "connection_type=resumed").await.len(), 0, "the rules know it");
}

#[rstest]
#[actix_web::test]
async fn days_weeks_and_months_begin_where_a_zones_clocks_say(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let events: Vec<Value> = [
        "2024-03-30T22:59:59Z",
        "2024-03-30T23:00:00Z",
        "2024-03-31T21:59:59Z",
        "2024-03-31T22:00:00Z",
    ]
    .map(|timestamp| {
        json!({"device_id": "dev_1", "application_id": "app_1", "status": "success",
                "connection_type": "established", "timestamp": timestamp})
    })
    .to_vec();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    let steps = |rows: Vec<Value>| -> Vec<(String, i64)> {
        let step = |row: &Value| {
            (row["start"].as_str().unwrap().to_owned(), row["events"].as_i64().unwrap())
        };
        rows.iter().map(step).collect()
    };
    let owned = |steps: &[(&str, i64)]| -> Vec<(String, i64)> {
        steps.iter().map(|(start, events)| ((*start).to_owned(), *events)).collect()
    };
    for (query, expected) in [
        (
            "interval=1d&timezone=Europe/Berlin",
            &[
                ("2024-03-29T23:00:00Z", 1),
                ("2024-03-30T23:00:00Z", 2),
                ("2024-03-31T22:00:00Z", 1),
            ][..],
        ),
        (
            "interval=1w&timezone=Europe/Berlin",
            &[("2024-03-24T23:00:00Z", 3), ("2024-03-31T22:00:00Z", 1)][..],
        ),
        (
            "interval=1mo&timezone=Europe%2FBerlin",
            &[("2024-02-29T23:00:00Z", 3), ("2024-03-31T22:00:00Z", 1)][..],
        ),
        ("interval=1mo", &[("2024-03-01T00:00:00Z", 4)][..]),
        ("interval=1w", &[("2024-03-25T00:00:00Z", 4)][..]),
        (
            "interval=1d&timezone=Asia/Kolkata",
            &[("2024-03-30T18:30:00Z", 2), ("2024-03-31T18:30:00Z", 2)][..],
        ),
        (
            "interval=15m&since=2024-03-31T00:00:00Z",
            &[("2024-03-31T21:45:00Z", 1), ("2024-03-31T22:00:00Z", 1)][..],
        ),
    ] {
        assert_eq!(steps(results(&app, query).await), owned(expected), "{query}");
    }
    let answer = app.get(&format!("{EVENTS}stats/?interval=1mo&timezone=Europe/Berlin")).await;
    assert_eq!(answer.json()["interval"], "1mo");
}

#[rstest]
#[actix_web::test]
async fn the_first_groups_of_each_step_are_answered_alone(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    // Device n has n + 2 events, and n % 3 of them fail; device 4 has events on the next day, too.
    let event = |device: i64, minute: i64, status: &str, day: i64| {
        json!({"device_id": format!("dev_{device}"), "application_id": format!("app_{}", device % 2),
            "connection_type": "established", "status": status,
            "timestamp": format!("2024-01-{day:02}T10:{minute:02}:00Z"), "duration": minute})
    };
    let mut events: Vec<Value> = (0..6)
        .flat_map(|device| (0..device + 2).map(move |n| (device, n)))
        .map(|(device, n)| event(device, n, if n < device % 3 { "error" } else { "success" }, 15))
        .collect();
    events.push(event(4, 30, "timeout", 16));
    assert_eq!(app.post(&json!(events)).await.status, 201);
    let firsts =
        |rows: Vec<Value>, key: &'static str, figure: &'static str| -> Vec<(String, String)> {
            let first =
                |row: &Value| (row[key].as_str().unwrap().to_owned(), row[figure].to_string());
            rows.iter().map(first).collect()
        };
    for is_taken_in in [false, true] {
        if is_taken_in {
            app.store.projections_step(conn_log_test_support::DEFAULT, 1_000).unwrap();
        }
        for (query, figure, expected) in [
            ("sort=-failures&limit=3", "failures", "dev_2 2 dev_4 2 dev_5 2"),
            ("sort=-events&limit=2", "events", "dev_4 7 dev_5 7"),
            ("sort=events&limit=2", "events", "dev_0 2 dev_1 3"),
            ("sort=-failure_rate&limit=2", "failure_rate", "dev_2 0.5 dev_1 0.333333"),
            ("sort=failures", "failures", "dev_0 0 dev_3 0 dev_1 1 dev_2 2 dev_4 2 dev_5 2"),
            ("sort=-devices&limit=1", "devices", "dev_0 1"),
            ("interval=1d&sort=-failures&limit=1", "failures", "dev_2 2 dev_4 1"),
        ] {
            let rows = results(&app, &format!("group_by=device_id&{query}")).await;
            let found: Vec<String> = firsts(rows, "device_id", figure)
                .into_iter()
                .flat_map(|(key, figure)| [key, figure])
                .collect();
            assert_eq!(found.join(" "), expected, "{query}");
        }
        let rows = results(&app, "group_by=application_id&sort=-devices&limit=1").await;
        assert_eq!((&rows[0]["application_id"], &rows[0]["devices"]), (&json!("app_0"), &json!(3)));
        // The rows in the answer have all of their figures.
        let rows = results(&app, "group_by=device_id&sort=-events&limit=1").await;
        assert_eq!(
            (&rows[0]["device_id"], &rows[0]["duration"]["count"]),
            (&json!("dev_4"), &json!(7))
        );
    }
}
