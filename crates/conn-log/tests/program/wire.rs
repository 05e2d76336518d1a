//! HTTP on the wire: clients of HTTP/1.0, and clients that wait for `100 Continue`.

use std::io::{ErrorKind, Read as _};

use conn_log_test_support::{Backend, TestDatabase};
use serde_json::json;

use crate::hostile_clients::Client;
use crate::memory::store_large_events;
use crate::running::{Running, run, wait_until};

const EVENTS: &str = "/api/v1/device_app_connection_log/";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const JSON: &str = "content-type: application/json\r\n";

fn event() -> String {
    json!({"device_id": "d", "application_id": "a", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success"})
    .to_string()
}

/// The head of a POST that waits for `100 Continue`.
fn waiting(token: &str, length: usize, headers: &str) -> String {
    format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: log.test\r\nauthorization: Bearer {token}\r\n\
         expect: 100-continue\r\ncontent-length: {length}\r\n{headers}\r\n"
    )
}

/// Everything until the server closes the connection.
fn all(mut client: Client) -> String {
    let mut bytes = Vec::new();
    client.0.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Has the server's token pay for a batch for two minutes.
fn spend(server: &Running) {
    let batch = format!("[{}]", vec![event(); 120].join(","));
    let posted = ureq::post(server.events())
        .header("authorization", format!("Bearer {}", server.token))
        .header("content-type", "application/json");
    assert_eq!(posted.send(&batch).unwrap().status(), 201);
}

#[test]
fn a_request_that_is_refused_for_its_head_is_answered_before_its_body_is_asked_for() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(
        &database,
        &["--auth-failures-per-minute", "1", "--rate", "1", "--burst", "1"],
    );
    let created = run(&database, &["token", "create", "--name", "reader", "--scope", "read"]);
    let reader = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    for (token, length, headers, status) in [
        ("clog_wrong", 100, JSON, 401),
        ("clog_wrong", 100, JSON, 429),
        (reader.as_str(), 100, JSON, 403),
        (&server.token, 100, "content-type: text/plain\r\n", 415),
        (&server.token, 100, "content-type: application/json\r\ncontent-encoding: br\r\n", 415),
        (&server.token, 100, JSON, 429),
    ] {
        if status == 429 && token == server.token {
            spend(&server);
        }
        let mut client = Client::of(&server);
        client.send(waiting(token, length, headers).as_bytes());
        let answer = client.answer();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        // What the client sends on may be the body or the next request: it cannot be told.
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_asked_for() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let mut client = Client::of(&server);
    client.send(waiting(&server.token, 17 << 20, JSON).as_bytes());
    let answer = client.answer();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn a_client_that_waits_is_told_to_go_on_once() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let body = event();
    let head = waiting(&server.token, body.len(), JSON);
    let mut client = Client::of(&server);
    for _ in 0..2 {
        client.send(head.as_bytes());
        assert_eq!(client.answer(), CONTINUE);
        client.send(body.as_bytes());
        let answer = client.reads_until("\"metadata\":{}}");
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(!answer.contains(CONTINUE), "{answer}");
    }
    // A client may send its body without waiting.
    client.send(format!("{head}{body}").as_bytes());
    let answer = client.reads_until("\"metadata\":{}}");
    assert!(answer.trim_start_matches(CONTINUE).starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(server.feed().len(), 3);
}

#[test]
fn to_go_on_is_told_behind_the_answers_of_earlier_requests() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let body = event();
    let plain = format!(
        "GET {EVENTS} HTTP/1.1\r\nhost: log.test\r\nauthorization: Bearer {}\r\n\r\n",
        server.token
    );
    let head = waiting(&server.token, body.len(), JSON);
    let mut client = Client::of(&server);
    client.send(format!("{plain}{plain}{head}").as_bytes());
    let answers = client.reads_until(CONTINUE);
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.ends_with(CONTINUE), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
    client.send(format!("{body}{plain}").as_bytes());
    let answers = client.reads_until("\"previous\":null}");
    assert!(answers.starts_with("HTTP/1.1 201 "), "{answers}");
    assert!(!answers.contains(CONTINUE), "{answers}");
}

/// HTTP/1.0 knows neither `100 Continue` nor chunks (RFC 9110, section 10.1.1; RFC 9112, section
/// 6.1).
#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_is_not_told_to_go_on() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let body = event();
    let mut client = Client::of(&server);
    let head = waiting(&server.token, body.len(), JSON).replace("HTTP/1.1", "HTTP/1.0");
    client.send(format!("{head}{body}").as_bytes());
    let answer = all(client);
    assert!(answer.starts_with("HTTP/1.0 201 "), "{answer}");

    let ask = |path: &str, headers: &str| {
        let mut client = Client::of(&server);
        let authorization = format!("authorization: Bearer {}\r\n", server.token);
        let head = format!("GET {path} HTTP/1.0\r\n{authorization}{headers}\r\n");
        client.send(head.as_bytes());
        client
    };
    for keep_alive in ["", "connection: keep-alive\r\n"] {
        for (path, start) in [
            (format!("{EVENTS}export/?format=ndjson"), "{\"id\":1,"),
            (format!("{EVENTS}export/?format=csv"), "id,"),
            ("/openapi.json".to_owned(), ""),
        ] {
            let zipped = if start.is_empty() { "accept-encoding: gzip\r\n" } else { "" };
            let answer = all(ask(&path, &format!("{keep_alive}{zipped}")));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
            assert!(!head.contains("transfer-encoding"), "{path}: {head}");
            assert!(!head.contains("connection: keep-alive"), "{path}: {head}");
            assert!(body.starts_with(start), "{path}: {body}");
            assert!(start.is_empty() || body.ends_with('\n'), "{path}: {body}");
        }
    }
    let mut stream = ask(&format!("{EVENTS}stream/?after=0"), "");
    let answer = stream.reads_until("id: 1\n");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
    // An answer with a length can be followed by another one.
    let mut kept = ask("/healthz", "connection: keep-alive\r\n");
    assert!(kept.answer().contains("connection: keep-alive\r\n"));
}

/// The end of the connection is all that tells such a client that it has everything.
#[test]
fn an_answer_that_breaks_off_does_not_seem_whole_to_a_client_of_http_1_0() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--answer-pause-max", "100ms"]);
    store_large_events(&server);
    let mut client = Client::of(&server);
    let head = format!(
        "GET {EVENTS}export/?format=ndjson HTTP/1.0\r\nauthorization: Bearer {}\r\n\r\n",
        server.token
    );
    client.send(head.as_bytes());
    // It takes nothing, so the server gives it up.
    wait_until("the connection is reset", || {
        let error = client.0.take_error().unwrap();
        error.is_some_and(|error| error.kind() == ErrorKind::ConnectionReset)
    });
}
