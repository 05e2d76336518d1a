//! Retries are safe.

use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, EVENTS, TestApp, event, event_of};

#[rstest]
#[actix_web::test]
async fn the_same_key_with_the_same_body_gets_the_first_answer_again(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for body in [event(), json!([event(), {"device_id": 5}]), json!({"device_id": 5})] {
        let key = body.to_string().len().to_string();
        let first = app.post_keyed(&key, &body).await;
        assert_eq!(first.header("idempotency-replayed"), None);
        let again = app.post_keyed(&key, &body).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("content-type"), first.header("content-type"));
    }
    assert_eq!(app.get(EVENTS).await.json()["results"].as_array().unwrap().len(), 2);
}

#[rstest]
#[actix_web::test]
async fn the_same_key_with_another_body_is_refused(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    assert_eq!(app.post_keyed("k", &event()).await.status, 201);
    app.post_keyed("k", &event_of("other")).await.is_problem(422, "idempotency-key-reused");
    let long = "k".repeat(256);
    app.post_keyed(&long, &event()).await.is_problem(400, "invalid-header");
}

#[rstest]
#[actix_web::test]
async fn sixteen_clients_racing_on_one_key_store_one_event(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let body = event();
    let answers =
        futures_util::future::join_all((0..16).map(|_| app.post_keyed("race", &body))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
    }
    let replayed = answers.iter().filter(|a| a.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, 15);
    assert_eq!(app.get(EVENTS).await.json()["results"].as_array().unwrap().len(), 1);
}

#[rstest]
#[actix_web::test]
async fn a_repeated_event_id_answers_with_the_first_one_s_record(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let event = named("e-1", "first");
    let first = app.post(&event).await;
    let again = app.post(&event).await;
    assert_eq!((again.status, &again.body), (200, &first.body));

    let batch = app.post(&json!([event, event_of("new"), event])).await;
    assert_eq!(batch.status, 207);
    let body = batch.json();
    assert_eq!((&body["accepted"], &body["duplicates"]), (&json!(1), &json!(2)));
    assert_eq!(body["results"][0], json!({"index": 0, "status": 200, "id": 1}));
    assert_eq!(body["results"][1], json!({"index": 1, "status": 201, "id": 2}));
}

#[rstest]
#[actix_web::test]
async fn the_same_event_in_other_words_is_a_repeat(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let members = |timestamp: &str, more: &str| {
        format!(
            r#"{{"event_id": "e-1", "device_id": "d", "application_id": "a", "connection_type": "attempted",
                "timestamp": "{timestamp}", {more}}}"#
        )
    };
    let first = members(
        "2024-01-15T10:30:00.5Z",
        r#""status": "failed", "duration": 60, "ip_address": "2001:DB8::0:1", "signal": -0.0,
            "metadata": {"port": 443.0, "rate": 1e-7, "deep": {"a": 1, "b": [1.50]}, "password": "one"}"#,
    );
    let second = members(
        "2024-01-15T12:30:00.500+02:00",
        r#""metadata": {"deep": {"b": [1.5], "a": 1e0}, "signal": 0, "password": "two", "rate": 0.0000001, "port": 443},
            "ip_address": "2001:db8::1", "duration": 6e1, "status": "failure", "user_agent": null"#,
    );
    let first = app.post_as("application/json", first).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let again = app.post_as("application/json", second).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
}

#[rstest]
#[actix_web::test]
async fn an_event_id_with_other_content_is_a_conflict_that_names_the_first(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.post(&event()).await;
    assert_eq!(app.post(&named("1", "one")).await.status, 201);
    let other = app.post(&named("1", "other")).await;
    other.is_problem(409, "event-id-conflict");
    assert_eq!(other.json()["id"], 2);
    assert!(other.json()["detail"].as_str().unwrap().contains("event 2 "), "{}", other.body);
    assert_eq!(other.header("location"), None);

    // Each value of an event from the client counts.
    for (name, value) in [
        ("application_id", json!("app_2")),
        ("connection_type", json!("terminated")),
        ("timestamp", json!("2024-01-15T10:30:00.000001Z")),
        ("status", json!("denied")),
        ("ip_address", json!("10.0.0.1")),
        ("user_agent", json!("x")),
        ("duration", json!(0)),
        ("metadata", json!({"n": 1})),
        ("session_id", json!("s")),
        ("unknown", json!(null)),
    ] {
        let mut event = named("1", "one");
        event[name] = value;
        let answer = app.post(&event).await;
        assert_eq!((name, answer.status), (name, 409), "{}", answer.body);
    }
    assert_eq!(app.get(EVENTS).await.json()["results"].as_array().unwrap().len(), 2);
}

#[rstest]
#[actix_web::test]
async fn conflicts_in_a_batch_cost_no_other_event(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let batch = json!([named("1", "a"), named("1", "b"), named("2", "b"), named("1", "a")]);
    let answer = app.post(&batch).await;
    assert_eq!(answer.status, 207, "{}", answer.body);
    let body = answer.json();
    let counts = ["accepted", "duplicates", "rejected"].map(|name| body[name].clone());
    assert_eq!(counts, [json!(2), json!(1), json!(1)]);
    let results = body["results"].as_array().unwrap();
    assert_eq!(results[0], json!({"index": 0, "status": 201, "id": 1}));
    assert_eq!((&results[1]["status"], &results[1]["id"]), (&json!(409), &json!(null)));
    assert_eq!(results[1]["problem"]["type"], "/problems/event-id-conflict");
    assert_eq!(results[1]["problem"]["id"], 1);
    assert_eq!(results[2], json!({"index": 2, "status": 201, "id": 2}));
    assert_eq!(results[3], json!({"index": 3, "status": 200, "id": 1}));

    // One event has a fault in addition: every fault of the body is listed.
    let none = app.post(&json!([named("1", "c"), {"device_id": 5}, named("2", "c")])).await;
    none.is_problem(422, "invalid-event");
    assert_eq!(
        (&none.json()["rejected"], &none.json()["results"][2]["status"]),
        (&json!(3), &json!(409))
    );
    assert!(none.faults().iter().all(|(pointer, _)| pointer.starts_with("/1/")), "{}", none.body);
    assert!(none.faults().contains(&("/1/device_id".to_owned(), "wrong_type".to_owned())));
}

#[rstest]
#[actix_web::test]
async fn a_conflict_keeps_the_whole_of_an_atomic_batch_out(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let post =
        |body: Value| app.request(Method::POST, &format!("{EVENTS}?atomic=true")).set_json(body);
    assert_eq!(app.post(&named("1", "a")).await.status, 201);
    for (batch, statuses, first) in [
        (json!([event(), named("1", "b"), named("1", "a")]), [424, 409, 424], json!(1)),
        (json!([named("2", "a"), named("2", "b"), event()]), [424, 409, 424], json!(null)),
    ] {
        let answer = app.send(post(batch)).await;
        answer.is_problem(422, "invalid-event");
        let body = answer.json();
        assert_eq!((&body["accepted"], &body["rejected"]), (&json!(0), &json!(3)));
        let results = body["results"].as_array().unwrap();
        let found: Vec<_> = results.iter().map(|result| result["status"].clone()).collect();
        assert_eq!(found, statuses);
        assert_eq!(results[1]["problem"]["id"], first);
    }
    // No event of it was stored, and its event_ids are still free.
    let answer = app.send(post(json!([named("2", "b"), named("1", "a")]))).await;
    assert_eq!(answer.status, 207, "{}", answer.body);
    assert_eq!(answer.json()["results"][0], json!({"index": 0, "status": 201, "id": 2}));
}

#[rstest]
#[actix_web::test]
async fn a_conflict_is_replayed_to_the_byte(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.post(&named("1", "a")).await;
    for (key, body) in [("one", named("1", "b")), ("many", json!([named("1", "b"), event()]))] {
        let first = app.post_keyed(key, &body).await;
        assert!([409, 207].contains(&first.status), "{}", first.body);
        let again = app.post_keyed(key, &body).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
}

/// An event of a device with the `event_id` given.
fn named(event_id: &str, device_id: &str) -> Value {
    let mut event = event_of(device_id);
    event["event_id"] = event_id.into();
    event
}
