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

/// A byte order mark in UTF-8. Programs on Windows write it at the start of a file.
const MARK: &str = "\u{feff}";

#[rstest]
#[actix_web::test]
async fn a_byte_order_mark_before_json_or_a_line_of_it_is_skipped(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let (json, lines) = ("application/json", "application/x-ndjson");
    let event = event().to_string();
    let envelope = json!({"data": format!("{MARK}{event}")}).to_string();
    for (media_type, body) in [
        (json, format!("{MARK}{event}")),
        (json, format!("{MARK} [{event}]")),
        (json, format!("{MARK}{envelope}")),
        (lines, format!("{MARK}{event}\n{event}\n")),
        // Two files, one after the other.
        (lines, format!("{MARK}{event}\r\n{MARK}{event}\r\n{MARK}\r\n")),
    ] {
        let answer = app.post_as(media_type, body.clone()).await;
        assert_eq!(answer.status, 201, "{body}: {}", answer.body);
    }
    let events = app.get(EVENTS).await.json()["results"].as_array().unwrap().len();
    assert_eq!(events, 7);
    for (media_type, body) in [(json, MARK.to_owned()), (lines, MARK.to_owned())] {
        let answer = app.post_as(media_type, body).await;
        answer.is_problem(400, "invalid-body");
        assert_eq!(answer.faults()[0].1, "empty", "{media_type}");
    }
    for body in
        [format!("{MARK}{MARK}{event}"), format!(" {MARK}{event}"), format!("{event}{MARK}")]
    {
        app.post_as(json, body).await.is_problem(400, "invalid-body");
    }
    let token = format!(r#"{MARK}{{"name": "marked", "scopes": ["read"]}}"#);
    let request = app.request(Method::POST, "/api/v1/tokens/");
    let request = request.insert_header(("content-type", json)).set_payload(token);
    assert_eq!(app.send(request).await.status, 201);
}

#[rstest]
#[actix_web::test]
async fn utf_8_is_the_charset_however_it_is_written_and_no_other_is_taken(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    for charset in ["utf8", "UTF8", "utf-8", "Utf-8", "\"utf-8\"", "\"UTF8\""] {
        for media_type in ["application/json", "application/x-ndjson"] {
            let content_type = format!("{media_type}; charset={charset}");
            let answer = app.post_as(&content_type, event().to_string()).await;
            assert_eq!(answer.status, 201, "{content_type}: {}", answer.body);
        }
    }
    for charset in ["utf-16", "latin1", "iso-8859-1", "utf", "\"\"", ""] {
        let content_type = format!("application/json; charset={charset}");
        let answer = app.post_as(&content_type, event().to_string()).await;
        answer.is_problem(415, "unsupported-media-type");
    }
}

#[rstest]
#[actix_web::test]
async fn objects_one_after_the_other_as_json_are_told_to_be_ndjson(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    let event = event().to_string();
    let pretty = serde_json::to_string_pretty(&crate::test_app::event()).unwrap();
    for body in [
        format!("{event}\n{event}\n"),
        format!("{event}{event}"),
        format!("{MARK}{event}\r\n{event}"),
        format!("{pretty}\n{pretty}"),
        format!("{event}\n{{\"device_id\": "),
    ] {
        let answer = app.post_as("application/json", body.clone()).await;
        answer.is_problem(400, "invalid-body");
        assert_eq!(answer.faults(), [(String::new(), "invalid_json".to_owned())]);
        let detail = answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("application/x-ndjson"), "{body}: {detail}");
    }
    for body in [format!("{event} true"), format!("{event}]"), format!("[{event}] {event}")] {
        let answer = app.post_as("application/json", body.clone()).await;
        answer.is_problem(400, "invalid-body");
        assert!(!answer.body.contains("ndjson"), "{body}: {}", answer.body);
    }
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));
}
