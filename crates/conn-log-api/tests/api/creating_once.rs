//! Requests that create an object with an idempotency key: repeated, they create nothing more.

use actix_web::http::Method;
use chrono::{TimeDelta, Utc};
use conn_log_store::Scope;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, EVENTS, TestApp, event};
use crate::watching::{RULES, burst};
use crate::webhooks::WEBHOOKS;

const SILENCES: &str = "/api/v1/silences/";

impl TestApp {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).insert_header(("idempotency-key", key));
        self.send(request.set_json(body)).await
    }

    async fn count(&self, path: &str) -> usize {
        self.get(path).await.json()["results"].as_array().unwrap().len()
    }
}

fn bodies() -> [(&'static str, Value); 3] {
    let until = (Utc::now() + TimeDelta::hours(1)).to_rfc3339();
    [
        (RULES, burst()),
        (WEBHOOKS, json!({"url": "https://example.com/hook"})),
        (SILENCES, json!({"severity": "info", "until": until, "reason": "x"})),
    ]
}

#[rstest]
#[actix_web::test]
async fn a_repeated_request_gets_the_first_answer_and_creates_nothing(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (path, body) in bodies() {
        let first = app.keyed(path, path, &body).await;
        assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
        let (key, without_slash) = (path, path.trim_end_matches('/'));
        for path in [path, without_slash] {
            let again = app.keyed(path, key, &body).await;
            assert_eq!((again.status, &again.body), (201, &first.body));
            assert_eq!(again.header("idempotency-replayed"), Some("true"));
            for name in ["location", "etag", "cache-control", "content-type"] {
                assert_eq!(again.header(name), first.header(name), "{path} {name}");
            }
        }
        assert_eq!(app.count(path).await, 1);
        // Another body, also one that is not taken.
        for other in [json!({"name": "other"}), json!({})] {
            app.keyed(path, path, &other).await.is_problem(422, "idempotency-key-reused");
        }
        // The answer stays as it was, whatever became of the object since.
        let at = first.header("location").unwrap();
        if path == RULES {
            app.send_json(Method::PATCH, at, &json!({"name": "changed"})).await;
        }
        if path != WEBHOOKS {
            assert_eq!(app.send_empty(Method::DELETE, at).await.status, 204);
            let again = app.keyed(path, path, &body).await;
            assert_eq!((again.status, &again.body), (201, &first.body));
            assert_eq!(app.count(path).await, 0);
        }
    }
    // A key belongs to one address, and the keys of events are others.
    let (_, rule) = &bodies()[0];
    app.keyed(WEBHOOKS, RULES, rule).await.is_problem(422, "idempotency-key-reused");
    assert_eq!(app.keyed(EVENTS, RULES, &event()).await.status, 201);
    for bad in ["", "a b", &"k".repeat(256)] {
        app.keyed(RULES, bad, &burst()).await.is_problem(400, "invalid-header");
    }
    // Another tenant has its own keys.
    let other = app.store.tenant_create("other").unwrap().id;
    let other = app.token_with(other, &[Scope::Admin]);
    let request = app.request(Method::POST, RULES).insert_header(("idempotency-key", RULES));
    let request = request.insert_header(("authorization", format!("Bearer {other}")));
    let made = app.send(request.set_json(burst())).await;
    assert_eq!((made.status, made.header("idempotency-replayed")), (201, None));
}

#[rstest]
#[actix_web::test]
async fn a_repeated_webhook_has_the_secret_that_signs(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let body = json!({"url": "https://example.com/hook"});
    let first = app.keyed(WEBHOOKS, "k", &body).await;
    let path = first.header("location").unwrap();
    let rotated = app.send_empty(Method::POST, &format!("{path}rotate_secret/")).await.json();
    let again = app.keyed(WEBHOOKS, "k", &body).await;
    assert_eq!((again.status, again.header("cache-control")), (201, Some("no-store")));
    assert_eq!(again.json()["secret"], rotated["secret"]);
    assert_eq!(app.send_empty(Method::DELETE, path).await.status, 204);
    app.keyed(WEBHOOKS, "k", &body).await.is_problem(404, "not-found");
    assert_eq!(app.count(WEBHOOKS).await, 0);
}

#[rstest]
#[actix_web::test]
async fn a_key_whose_request_was_refused_is_free(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (path, body) in bodies() {
        let refused = app.keyed(path, path, &json!({})).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        let made = app.keyed(path, path, &body).await;
        assert_eq!((made.status, made.header("idempotency-replayed")), (201, None));
        // The key is kept until its window has passed.
        app.store.idempotency_expire(100).unwrap();
        let again = app.keyed(path, path, &body).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
        assert_eq!(app.count(path).await, 1);
    }
}

#[rstest]
#[actix_web::test]
async fn a_key_is_free_again_after_its_window(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database)
        .store(|mut options| {
            options.idempotency_window = std::time::Duration::ZERO;
            options
        })
        .await;
    for _ in 0..2 {
        let made = app.keyed(RULES, "k", &burst()).await;
        assert_eq!((made.status, made.header("idempotency-replayed")), (201, None));
    }
    assert_eq!(app.count(RULES).await, 2);
    assert_eq!(app.store.idempotency_expire(100).unwrap(), 1);
}

#[rstest]
#[actix_web::test]
async fn sixteen_requests_racing_on_one_key_create_one_object(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (path, body) in bodies() {
        let all = (0..16).map(|_| app.keyed(path, path, &body));
        let answers = futures_util::future::join_all(all).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
        }
        let is_replay = |answer: &&Answer| answer.header("idempotency-replayed").is_some();
        assert_eq!(answers.iter().filter(is_replay).count(), 15);
        assert_eq!(app.count(path).await, 1);
    }
}
