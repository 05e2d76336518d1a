//! The server besides its resources: health, pages, codings.

use std::time::Duration;

use actix_web::http::Method;
use rstest::rstest;
use serde_json::json;

use actix_web::test::{TestRequest, call_service, init_service};
use conn_log_api::{ApiOptions, App, Metrics, create_app};
use conn_log_store::{Store, StoreOptions};
use conn_log_test_support::Cluster;

use crate::test_app::{Database, EVENTS, TestApp, event};

#[rstest]
#[actix_web::test]
async fn the_server_says_that_it_is_alive_and_ready(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for path in ["/healthz", "/healthz/", "/readyz"] {
        assert_eq!(app.get(path).await.status, 200);
    }
}

#[rstest]
#[actix_web::test]
async fn every_answer_forbids_to_guess_its_type_and_every_page_to_be_framed(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    for path in
        ["/", "/docs", "/docs/swagger-ui.css", "/problems/", "/openapi.json", "/none", EVENTS]
    {
        let answer = app.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    for path in ["/", "/docs", "/problems/", "/problems/invalid-event"] {
        let request = app.request(Method::GET, path).insert_header(("accept", "text/html"));
        let answer = app.send(request).await;
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    }
}

#[rstest]
#[actix_web::test]
async fn the_docs_page_and_all_it_loads_come_from_the_server(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    let page = app.get("/docs").await;
    assert_eq!(page.status, 200);
    let addresses: Vec<&str> = page
        .body
        .split('"')
        .filter(|text| text.starts_with('/') || text.starts_with("http"))
        .collect();
    assert!(addresses.len() >= 4, "{addresses:?}");
    for address in addresses {
        assert!(!app.get_body(address).await.is_empty(), "{address}");
    }
}

#[rstest]
#[actix_web::test]
async fn answers_are_compressed_as_the_client_accepts_it_and_streams_are_not(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    for coding in ["gzip", "zstd"] {
        let request = app.request(Method::GET, "/openapi.json");
        let response = app.open(request.insert_header(("accept-encoding", coding))).await;
        assert_eq!(response.headers().get("content-encoding").unwrap(), coding);
    }
    let request = app.request(Method::GET, &format!("{EVENTS}stream/"));
    let response = app.open(request.insert_header(("accept-encoding", "gzip"))).await;
    assert_eq!(response.headers().get("content-encoding").unwrap(), "identity");
}

#[rstest]
#[actix_web::test]
async fn a_client_that_accepts_no_coding_gets_406_and_nothing_is_stored(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for codings in ["identity;q=0", "*;q=0", "br, identity;q=0"] {
        let request = app.request(Method::POST, EVENTS).set_json(event());
        let answer = app.send(request.insert_header(("accept-encoding", codings))).await;
        answer.is_problem(406, "not-acceptable");
    }
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
}

/// The kernel accepts bytes for a process that is stopped, so no connection breaks.
#[actix_web::test]
async fn a_read_of_a_postgres_that_is_frozen_ends() {
    let Some(cluster) = Cluster::start_new() else { return };
    let read_time_max = Duration::from_millis(500);
    let store = Store::open(StoreOptions { read_time_max, ..cluster.options() }).unwrap();
    let token = store.first_token().unwrap().unwrap().1.reveal().to_owned();
    let app = App::new(store.clone(), ApiOptions::default(), Metrics::new().unwrap());
    let service = init_service(create_app(app)).await;
    let list = || {
        let request = TestRequest::get().uri(EVENTS);
        request.insert_header(("authorization", format!("Bearer {token}"))).to_request()
    };
    assert_eq!(call_service(&service, list()).await.status(), 200);
    cluster.freeze();
    let answers = [call_service(&service, list()).await, call_service(&service, list()).await];
    cluster.thaw();
    for answer in answers {
        assert_eq!(answer.status(), 503);
    }
    assert_eq!(call_service(&service, list()).await.status(), 200);
    assert!(store.close());
}
