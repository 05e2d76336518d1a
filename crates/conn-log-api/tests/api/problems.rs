//! Refused requests and their exact problems. Nothing of a refused request is stored.

use actix_web::http::Method;
use conn_log_store::{Scope, StoreOptions};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, EVENTS, TestApp, event};

/// An event with one member changed; null removes the member.
fn with(name: &str, value: Value) -> String {
    let mut event = event();
    match value {
        Value::Null => drop(event.as_object_mut().unwrap().remove(name)),
        value => event[name] = value,
    }
    event.to_string()
}

async fn refused(app: &TestApp, body: &[u8], status: u16, faults: &[(&str, &str)]) {
    let answer = app.post_as("application/json", body).await;
    let slug = if status == 400 { "invalid-body" } else { "invalid-event" };
    answer.is_problem(status, slug);
    let faults: Vec<(String, String)> =
        faults.iter().map(|(pointer, code)| ((*pointer).into(), (*code).into())).collect();
    assert_eq!(answer.faults(), faults, "{}", String::from_utf8_lossy(body));
}

#[rstest]
#[actix_web::test]
async fn every_bad_input_gets_its_own_problem_and_stores_nothing(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, status, faults) in [
        (b"".to_vec(), 400, &[("", "empty")][..]),
        (b"{\"device_id\": ".to_vec(), 400, &[("", "invalid_json")]),
        (b"\xff\xfe".to_vec(), 400, &[("", "invalid_json")]),
        (b"\"text\"".to_vec(), 400, &[("", "not_an_object")]),
        (with("device_id", Value::Null).into(), 400, &[("/device_id", "missing")]),
        (with("device_id", json!(5)).into(), 400, &[("/device_id", "wrong_type")]),
        (with("metadata", json!([])).into(), 400, &[("/metadata", "wrong_type")]),
        (
            with("app_id", json!("a")).into(),
            400,
            &[("/app_id", "mixed_editions"), ("/connection_status", "missing")][..1],
        ),
        (
            with("timestamp", json!("2024-01-15T10:30:00")).into(),
            422,
            &[("/timestamp", "invalid_timestamp")],
        ),
        (
            with("timestamp", json!("1969-12-31T23:59:59Z")).into(),
            422,
            &[("/timestamp", "before_1970")],
        ),
        (
            with("timestamp", json!("2999-01-01T00:00:00Z")).into(),
            422,
            &[("/timestamp", "in_the_future")],
        ),
        (with("status", json!("fine")).into(), 422, &[("/status", "unknown_value")]),
        (
            with("connection_type", json!("wifi")).into(),
            422,
            &[("/connection_type", "unknown_value")],
        ),
        (with("ip_address", json!("999.1.1.1")).into(), 422, &[("/ip_address", "invalid_address")]),
        (with("duration", json!(-1)).into(), 422, &[("/duration", "out_of_range")]),
        (with("device_id", json!("a\u{0}b")).into(), 422, &[("/device_id", "control_character")]),
        (with("user_agent", json!("a\u{0}b")).into(), 422, &[("/user_agent", "nul_character")]),
        (
            with("metadata", json!({"big": 9_007_199_254_740_992_u64})).into(),
            422,
            &[("/metadata/big", "not_i_json")],
        ),
        (
            with("metadata", json!({"x": "y".repeat(16_384)})).into(),
            422,
            &[("/metadata", "too_large")],
        ),
        (deep.into_bytes(), 400, &[][..]),
    ] {
        if faults.is_empty() {
            // An array is a batch: its one element is not an event.
            assert_eq!(app.post_as("application/json", body).await.status, status);
        } else {
            refused(&app, &body, status, faults).await;
        }
    }
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
}

#[rstest]
#[actix_web::test]
async fn an_event_with_more_faults_than_are_listed_says_so(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (count, listed, detail) in
        [(1, 1, "one fault"), (31, 31, "31 faults"), (100, 32, "32 faults, and perhaps more")]
    {
        let metadata: serde_json::Map<String, Value> =
            (0..count).map(|n| (format!("n{n}"), json!(1_u64 << 60))).collect();
        let answer = app.post_as("application/json", with("metadata", metadata.into())).await;
        answer.is_problem(422, "invalid-event");
        assert_eq!((answer.faults().len(), &answer.json()["detail"]), (listed, &json!(detail)));
    }
}

#[rstest]
#[actix_web::test]
async fn a_token_is_needed_a_valid_one_and_one_with_the_scope(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let tenant = conn_log_store::TenantId::DEFAULT;
    let reader = app.token_with(tenant, &[Scope::Read]);
    let request = |authorization: &str| {
        app.request(Method::POST, EVENTS)
            .insert_header(("authorization", authorization))
            .set_json(event())
    };
    for wrong in ["", "Bearer ", "Bearer clog_wrong", "Basic dXNlcjpwYXNz", &reader] {
        let answer = app.send(request(wrong)).await;
        answer.is_problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    app.send(request(&format!("Bearer {reader}"))).await.is_problem(403, "forbidden");
    assert_eq!(app.send(request(&format!("bearer {}", app.token))).await.status, 201);
}

#[rstest]
#[actix_web::test]
async fn unknown_addresses_methods_and_types_get_problems_too(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.get("/nowhere").await.is_problem(404, "not-found");
    app.get(&format!("{EVENTS}999/")).await.is_problem(404, "not-found");
    app.get(&format!("{EVENTS}words/")).await.is_problem(404, "not-found");

    let answer = app.send(app.request(Method::PUT, EVENTS)).await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));

    let html = app.request(Method::GET, EVENTS).insert_header(("accept", "text/html"));
    app.send(html).await.is_problem(406, "not-acceptable");
    app.post_as("text/plain", "x").await.is_problem(415, "unsupported-media-type");
    app.post_as("application/json; charset=latin1", "{}")
        .await
        .is_problem(415, "unsupported-media-type");
}

#[rstest]
#[actix_web::test]
async fn a_mistyped_parameter_is_refused_by_name(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (query, parameter) in [
        ("devise_id=x", "devise_id"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
        ("order=sideways", "order"),
        ("since=yesterday", "since"),
        ("ip_address=10.0.0.0/40", "ip_address"),
        ("cursor=nonsense", "cursor"),
        ("order=-id&after=5", "after"),
        ("metadata.=x", "metadata"),
    ] {
        let answer = app.get(&format!("{EVENTS}?{query}")).await;
        answer.is_problem(400, "invalid-query");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{query}");
    }
}

#[rstest]
#[actix_web::test]
async fn the_type_of_every_problem_leads_to_a_page(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let problem = app.get("/nowhere").await.json();
    let page = app.get(problem["type"].as_str().unwrap()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(problem["title"].as_str().unwrap()));
    assert_eq!(app.get("/problems/").await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn a_request_id_is_taken_from_the_client_or_made(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let own = app.request(Method::GET, "/healthz").insert_header(("x-request-id", "trace-7"));
    assert_eq!(app.send(own).await.header("x-request-id"), Some("trace-7"));
    let bad = app.request(Method::GET, "/healthz").insert_header(("x-request-id", "a b"));
    let made = app.send(bad).await;
    assert_eq!(made.header("x-request-id").unwrap().len(), 36);
}

#[rstest]
#[actix_web::test]
async fn a_full_queue_is_a_503_that_says_when_to_come_back(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app =
        TestApp::on(database).store(|store| StoreOptions { queue_events_max: 2, ..store }).await;
    let answer = app.post(&json!([event(), event(), event()])).await;
    answer.is_problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
    let metrics = app.get("/metrics").await.body;
    assert!(metrics.contains("conn_log_events_received_total 3"), "{metrics}");
    let rejected = r#"conn_log_events_rejected_total{reason="overloaded"} 3"#;
    assert!(metrics.contains(rejected), "{metrics}");
}

/// Common senders drop a chunk that got a 500, and a database that stops fails in unclear ways.
#[rstest]
#[actix_web::test]
async fn a_token_that_cannot_be_looked_up_is_a_503_that_says_when_to_come_back(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.database.execute("ALTER TABLE tokens RENAME TO gone");
    let answer = app.post(&event()).await;
    answer.is_problem(503, "store-unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    app.database.execute("ALTER TABLE gone RENAME TO tokens");
    assert_eq!(app.post(&event()).await.status, 201);
}

/// A small request must not make an answer of many times its size, and not such a kept answer
/// either.
#[actix_web::test]
async fn a_batch_of_faults_only_lists_them_as_far_as_a_mebibyte_goes() {
    let app = TestApp::on(Database::Sqlite).await;
    let answer = app.post_as("application/json", format!("[{}{{}}]", "{},".repeat(9_999))).await;
    answer.is_problem(400, "invalid-body");
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 10_000);
    assert!(results[0]["problem"]["errors"].as_array().is_some_and(|errors| errors.len() == 5));
    assert_eq!(results[9_999]["problem"]["errors"], Value::Null);
    assert!(results[9_999]["problem"]["detail"].as_str().unwrap().starts_with("5 faults"));
    assert!(answer.body.len() < 5 << 20, "{}", answer.body.len());
}

/// If bad bytes were repaired, two different names could become equal.
#[actix_web::test]
async fn text_that_is_not_utf8_is_refused_in_a_form_and_in_a_query() {
    let app = TestApp::on(Database::Sqlite).await;
    let form = "application/x-www-form-urlencoded";
    let event = r#"data={"device_id":"%ff","application_id":"a"}"#;
    for body in [event.as_bytes(), b"data=\xff", b"data=%zz", b"data=5%"] {
        let answer = app.post_as(form, body).await;
        answer.is_problem(400, "invalid-body");
        assert_eq!(answer.faults(), [(String::new(), "not_a_form".to_owned())]);
    }
    for query in ["device_id=%ff", "device_id=%zz", "device_id=5%"] {
        app.get(&format!("{EVENTS}?{query}")).await.is_problem(400, "invalid-query");
    }
}

#[actix_web::test]
async fn every_kind_of_problem_has_its_page() {
    let app = TestApp::on(Database::Sqlite).await;
    let index = app.get("/problems/").await.body;
    let pages: Vec<&str> = index.split("/problems/").skip(1).collect();
    assert!(pages.len() >= 20, "{index}");
    for page in pages {
        let slug = page.split(['"', '>', '<']).next().unwrap();
        let page = app.get(&format!("/problems/{slug}")).await;
        assert!(
            page.status == 200 && page.body.contains(&format!("id=\"{slug}\"")),
            "{slug}: {}",
            page.body
        );
    }
}
