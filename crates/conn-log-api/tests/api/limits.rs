//! Rates, and the metrics that count all outcomes.

use std::num::NonZeroU32;

use actix_web::http::Method;
use conn_log_api::ApiOptions;
use conn_log_store::{NewToken, Rate, Scope, TenantId};
use rstest::rstest;
use serde_json::json;

use crate::test_app::{Database, EVENTS, TestApp, event};

#[rstest]
#[actix_web::test]
async fn a_token_over_its_rate_gets_retry_after(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let rate = Rate { events_per_second: 1, burst_events: 3 };
    let options = ApiOptions { default_rate: Some(rate), ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    let first = app.post(&event()).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("ratelimit-policy"), Some("\"events\";q=3;w=3"));
    assert!(first.header("ratelimit").unwrap().starts_with("\"events\";r=2;t="));
    assert_eq!(app.post(&json!([event(), event()])).await.status, 201);
    let refused = app.post(&json!([event(), event()])).await;
    refused.is_problem(429, "too-many-requests");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(refused.header("ratelimit").unwrap().starts_with("\"events\";r=0;t="));
    assert_eq!(app.get(EVENTS).await.json()["results"].as_array().unwrap().len(), 3);
}

/// Without this, a client that sends large batches could send without limit.
#[actix_web::test]
async fn a_batch_larger_than_the_bucket_passes_once_and_is_paid_for() {
    let app = TestApp::on(Database::Sqlite).await;
    let rate = Some(Rate { events_per_second: 10, burst_events: 10 });
    let new = NewToken { rate, ..app.new_token(TenantId::DEFAULT, &[Scope::Write]) };
    let token = app.store.token_create(new).unwrap().1.reveal().to_owned();
    let send = |count: usize| {
        let bearer = ("authorization", format!("Bearer {token}"));
        let body = serde_json::Value::from(vec![event(); count]).to_string();
        let request = app.request(Method::POST, EVENTS).insert_header(bearer);
        app.send(request.insert_header(("content-type", "application/json")).set_payload(body))
    };
    assert_eq!(send(500).await.status, 201);
    let refused = send(1).await;
    refused.is_problem(429, "too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((45..=50).contains(&wait), "{wait}");
}

#[rstest]
#[actix_web::test]
async fn an_address_with_too_many_failures_must_wait_and_valid_tokens_go_on(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let two = NonZeroU32::new(2).unwrap();
    let options = ApiOptions { auth_failures_per_minute: two, ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    let wrong =
        || app.request(Method::GET, EVENTS).insert_header(("authorization", "Bearer clog_wrong"));
    app.send(wrong()).await.is_problem(401, "unauthorized");
    app.send(wrong()).await.is_problem(401, "unauthorized");
    let refused = app.send(wrong()).await;
    refused.is_problem(429, "too-many-requests");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("ratelimit-policy"), Some("\"failures\";q=2;w=60"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"failures\";r=0;t="));
    assert_eq!(app.get(EVENTS).await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn the_addresses_of_an_ipv6_network_of_64_bits_fail_to_authenticate_as_one(
    #[values(Database::Sqlite)] database: Database,
) {
    let one = NonZeroU32::new(1).unwrap();
    let options = ApiOptions { auth_failures_per_minute: one, ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    let wrong_from = |address: &str| {
        let request = app.request(Method::GET, EVENTS).peer_addr(address.parse().unwrap());
        request.insert_header(("authorization", "Bearer clog_wrong"))
    };
    app.send(wrong_from("[2001:db8:0:1::1]:80")).await.is_problem(401, "unauthorized");
    app.send(wrong_from("[2001:db8:0:1:ffff::2]:80")).await.is_problem(429, "too-many-requests");
    app.send(wrong_from("[2001:db8:0:2::1]:80")).await.is_problem(401, "unauthorized");
    app.send(wrong_from("192.0.2.1:80")).await.is_problem(401, "unauthorized");
    app.send(wrong_from("192.0.2.2:80")).await.is_problem(401, "unauthorized");
}

#[rstest]
#[actix_web::test]
async fn no_client_makes_a_new_label(#[values(Database::Sqlite)] database: Database) {
    let app = TestApp::on(database).await;
    let strange = Method::from_bytes(b"STRANGE").unwrap();
    app.send(app.request(strange, "/some/path/of/a/client")).await;
    app.get(&format!("{EVENTS}77777/")).await;
    let metrics = app.get("/metrics").await.body;
    assert!(!metrics.contains("STRANGE") && !metrics.contains("77777"));
    assert!(!metrics.contains("of/a/client"));
}
