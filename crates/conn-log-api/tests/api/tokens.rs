//! Tenants and tokens.

use actix_web::http::Method;
use conn_log_store::Scope;
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
