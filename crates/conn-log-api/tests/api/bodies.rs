//! Bodies at their limits: sizes and codings.

use std::io::Write as _;

use actix_web::http::Method;
use conn_log_api::ApiOptions;
use rstest::rstest;
use serde_json::json;

use crate::test_app::{Database, EVENTS, TestApp, event};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post_encoded(app: &TestApp, coding: &str, body: Vec<u8>) -> crate::test_app::Answer {
    let request = app
        .request(Method::POST, EVENTS)
        .insert_header(("content-type", "application/json"))
        .insert_header(("content-encoding", coding));
    app.send(request.set_payload(body)).await
}

#[rstest]
#[actix_web::test]
async fn compressed_bodies_are_taken(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let body = event().to_string().into_bytes();
    let zstd = zstd::encode_all(body.as_slice(), 3).unwrap();
    assert_eq!(post_encoded(&app, "gzip", gzip(&body)).await.status, 201);
    assert_eq!(post_encoded(&app, "zstd", zstd).await.status, 201);
    assert_eq!(post_encoded(&app, "identity", body.clone()).await.status, 201);
    let unknown = post_encoded(&app, "br", body.clone()).await;
    unknown.is_problem(415, "unsupported-media-type");
    assert!(unknown.header("accept-encoding").is_some());
    let torn = gzip(&body)[..20].to_vec();
    post_encoded(&app, "gzip", torn).await.is_problem(400, "invalid-body");
    post_encoded(&app, "zstd", body).await.is_problem(400, "invalid-body");
}

#[rstest]
#[actix_web::test]
async fn a_body_beyond_a_limit_is_refused_before_or_after_decompression(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let options =
        ApiOptions { body_bytes_max: 10_000, decoded_bytes_max: 100_000, ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    let large = " ".repeat(10_001);
    app.post_as("application/json", large).await.is_problem(413, "too-large");
    let bomb = gzip(&vec![b' '; 1_000_000]);
    assert!(bomb.len() < 10_000);
    post_encoded(&app, "gzip", bomb.clone()).await.is_problem(413, "too-large");
    // A body whose last gzip member declares a false small size.
    let mut lying = bomb;
    lying.extend(gzip(b" "));
    post_encoded(&app, "gzip", lying).await.is_problem(413, "too-large");
    let zeros = zstd::encode_all(&vec![b' '; 1_000_000][..], 3).unwrap();
    post_encoded(&app, "zstd", zeros).await.is_problem(413, "too-large");
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
}

#[rstest]
#[actix_web::test]
async fn without_room_for_another_large_body_the_answer_is_503(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let options = ApiOptions { bodies_bytes_max: 64 << 10, ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    let answer = app.post_as("application/json", " ".repeat(1 << 20)).await;
    answer.is_problem(503, "overloaded");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(app.post(&event()).await.status, 201);
}
