//! Batches: each event stands alone.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use conn_log_api::ApiOptions;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, EVENTS, TestApp, event, event_of};

fn bad() -> Value {
    let mut event = event();
    event["status"] = "fine".into();
    event
}

#[rstest]
#[actix_web::test]
async fn good_events_are_stored_in_order_and_bad_ones_are_named(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let answer = app.post(&json!([event_of("a"), bad(), event_of("b")])).await;
    assert_eq!(answer.status, 207);
    let body = answer.json();
    assert_eq!(
        (&body["accepted"], &body["duplicates"], &body["rejected"]),
        (&json!(2), &json!(0), &json!(1))
    );
    assert_eq!(body["results"][0], json!({"index": 0, "status": 201, "id": 1}));
    assert_eq!(body["results"][1]["status"], 422);
    assert_eq!(body["results"][1]["problem"]["errors"][0]["pointer"], "/status");
    assert_eq!(body["results"][2], json!({"index": 2, "status": 201, "id": 2}));
    assert_eq!(app.get(&format!("{EVENTS}2")).await.json()["device_id"], "b");
}

#[rstest]
#[actix_web::test]
async fn a_batch_without_fault_is_a_201_and_one_of_a_thousand_is_named(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut events: Vec<Value> = (0..1_000).map(|i| event_of(&format!("d{i}"))).collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    events[617] = bad();
    let body = app.post(&json!(events)).await.json();
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(999), &json!(1)));
    assert_eq!(body["results"][617]["problem"]["type"], "/problems/invalid-event");
    assert_eq!(body["results"][999]["id"], 1_999);
}

#[rstest]
#[actix_web::test]
async fn ndjson_results_carry_lines_and_a_torn_last_line_is_its_own_error(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let body = format!("{}\r\n\n{}\n{{\"device_id\": \"to", event(), event());
    let answer = app.post_as("application/x-ndjson", body).await;
    assert_eq!(answer.status, 207);
    let body = answer.json();
    assert_eq!(body["results"][0], json!({"index": 0, "line": 1, "status": 201, "id": 1}));
    assert_eq!(body["results"][1], json!({"index": 1, "line": 3, "status": 201, "id": 2}));
    assert_eq!(
        (&body["results"][2]["line"], &body["results"][2]["status"]),
        (&json!(4), &json!(400))
    );
}

#[rstest]
#[actix_web::test]
async fn an_envelope_and_a_form_may_hold_an_array(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let array = json!([event(), event()]).to_string();
    let answer = app.post(&json!({"data": array})).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (201, &json!(2)));
    let form = serde_urlencoded::to_string([("data", array)]).unwrap();
    assert_eq!(app.post_as("application/x-www-form-urlencoded", form).await.status, 201);
}

#[rstest]
#[actix_web::test]
async fn a_batch_of_which_nothing_is_stored_is_a_problem(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let values = app.post(&json!([bad(), 5])).await;
    values.is_problem(422, "invalid-event");
    assert_eq!(values.json()["rejected"], 2);
    assert_eq!(values.json()["results"][1]["status"], 400);
    let errors = values.json()["errors"].clone();
    let pointers: Vec<&str> =
        errors.as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/0/status", "/1"]);
    app.post(&json!([5, {}])).await.is_problem(400, "invalid-body");
    app.post(&json!([])).await.is_problem(400, "invalid-body");
    app.post_as("application/x-ndjson", "\n\n").await.is_problem(400, "invalid-body");
}

#[rstest]
#[actix_web::test]
async fn an_atomic_batch_is_stored_whole_or_not_at_all(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let post =
        |body: Value| app.request(Method::POST, &format!("{EVENTS}?atomic=true")).set_json(body);
    let answer = app.send(post(json!([event(), bad()]))).await;
    answer.is_problem(422, "invalid-event");
    assert_eq!(answer.json()["results"][0]["status"], 424);
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
    assert_eq!(app.send(post(json!([event(), event()]))).await.status, 201);
}

#[rstest]
#[actix_web::test]
async fn minimal_answers_hold_counts_and_the_rejected_only(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let request = app.request(Method::POST, EVENTS).insert_header(("prefer", "return=minimal"));
    let answer = app.send(request.set_json(json!([event(), bad(), event()]))).await;
    assert_eq!(answer.header("preference-applied"), Some("return=minimal"));
    let body = answer.json();
    assert_eq!((&body["first_id"], &body["last_id"]), (&json!(1), &json!(2)));
    assert_eq!(body["results"].as_array().unwrap().len(), 1);
    assert_eq!(body["results"][0]["index"], 1);
}

#[rstest]
#[actix_web::test]
async fn more_events_than_the_limit_are_too_many(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let options = ApiOptions { events_max: 3, ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    let four = json!([event(), event(), event(), event()]);
    app.post(&four).await.is_problem(413, "too-large");
    let lines = format!("{}\n", event()).repeat(4);
    app.post_as("application/x-ndjson", lines).await.is_problem(413, "too-large");
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
}

fn to_batch(app: &TestApp) -> TestRequest {
    app.request(Method::POST, &format!("{EVENTS}batch/"))
}

#[rstest]
#[actix_web::test]
async fn the_address_of_batches_answers_as_a_batch_whatever_the_body(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let ndjson = ("content-type", "application/x-ndjson");
    for (id, request) in [
        (1, to_batch(&app).set_json(event())),
        (2, to_batch(&app).set_json(json!([event()]))),
        (3, to_batch(&app).set_json(json!({"data": event().to_string()}))),
        (4, to_batch(&app).set_form([("data", event().to_string())])),
        (5, to_batch(&app).insert_header(ndjson).set_payload(event().to_string())),
    ] {
        let answer = app.send(request).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.json()["results"][0]["id"], id);
    }
    let refused = app.send(to_batch(&app).set_json(bad())).await;
    refused.is_problem(422, "invalid-event");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/0/status");
    assert_eq!(refused.json()["rejected"], 1);
}

#[rstest]
#[actix_web::test]
async fn a_key_used_at_one_address_is_not_replayed_in_the_form_of_the_other(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    assert_eq!(app.post_keyed("k", &event()).await.status, 201);
    let again = || to_batch(&app).insert_header(("idempotency-key", "k")).set_json(event());
    app.send(again()).await.is_problem(422, "idempotency-key-reused");
    let batch = |key| to_batch(&app).insert_header(("idempotency-key", key)).set_json(event());
    let first = app.send(batch("b")).await;
    let replayed = app.send(batch("b")).await;
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    assert_eq!(replayed.body, first.body);
}
