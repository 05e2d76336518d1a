//! Tenants and tokens.

use actix_web::http::Method;
use conn_log_core::Timestamp;
use conn_log_store::{NewToken, Scope, TenantId};
use rstest::rstest;
use serde_json::json;

use crate::test_app::{Database, EVENTS, TestApp, event, event_of};

#[rstest]
#[actix_web::test]
async fn a_tenant_sees_its_own_log_only(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let other = app.store.tenant_create("other").unwrap().id;
    let token = app.token_with(other, &[Scope::Read, Scope::Write]);
    let request = |method: Method, path: &str| {
        app.request(method, path).insert_header(("authorization", format!("Bearer {token}")))
    };
    app.post(&event_of("mine")).await;
    app.post(&event_of("mine")).await;
    let theirs = app.send(request(Method::POST, EVENTS).set_json(event())).await;
    assert_eq!(theirs.json()["id"], 1);
    let list = app.send(request(Method::GET, EVENTS)).await.json();
    assert_eq!(list["results"].as_array().unwrap().len(), 1);
    app.send(request(Method::GET, &format!("{EVENTS}2/"))).await.is_problem(404, "not-found");
    let by_device = format!("{EVENTS}?device_id=mine");
    assert_eq!(app.send(request(Method::GET, &by_device)).await.json()["results"], json!([]));
}

#[rstest]
#[actix_web::test]
async fn a_revoked_or_expired_token_is_refused_like_an_unknown_one(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let make = |expires_at| {
        let new = NewToken { expires_at, ..app.new_token(TenantId::DEFAULT, &[Scope::Read]) };
        app.store.token_create(new).unwrap()
    };
    let (revoked, revoked_secret) = make(None);
    app.store.token_revoke(None, revoked.id).unwrap();
    let (_, expired_secret) = make(Some(Timestamp::EPOCH));
    let mut bodies = Vec::new();
    for secret in [revoked_secret.reveal(), expired_secret.reveal(), "clog_unknown"] {
        let request = app
            .request(Method::GET, EVENTS)
            .insert_header(("authorization", format!("Bearer {secret}")))
            .insert_header(("x-request-id", "same"));
        let answer = app.send(request).await;
        answer.is_problem(401, "unauthorized");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[rstest]
#[actix_web::test]
async fn two_authorization_headers_are_refused_whichever_is_good(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    let request =
        app.request(Method::GET, EVENTS).append_header(("authorization", "Bearer clog_x"));
    app.send(request).await.is_problem(400, "invalid-header");
}
