//! Retries are safe.

use rstest::rstest;
use serde_json::json;

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
    let mut event = event();
    event["event_id"] = "e-1".into();
    let first = app.post(&event).await;
    event["device_id"] = "another".into();
    let again = app.post(&event).await;
    assert_eq!((again.status, &again.body), (200, &first.body));

    let batch = app.post(&json!([event, event_of("new"), event])).await;
    assert_eq!(batch.status, 207);
    let body = batch.json();
    assert_eq!((&body["accepted"], &body["duplicates"]), (&json!(1), &json!(2)));
    assert_eq!(body["results"][0], json!({"index": 0, "status": 200, "id": 1}));
    assert_eq!(body["results"][1], json!({"index": 1, "status": 201, "id": 2}));
}
