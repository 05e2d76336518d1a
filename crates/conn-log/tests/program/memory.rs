//! The server's memory stays within its bounds, however many clients make it hold data, and it
//! still serves other clients. The bounds are in docs/operations.md, "Memory".

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use conn_log_test_support::{Backend, TestDatabase};
use serde_json::json;

use crate::hostile_clients::Client;
use crate::running::{Running, wait_until};

/// Memory of a server with few requests: the program, its threads, single events.
const QUIET_MIB: usize = 64;

/// Freed memory that the C library's allocator keeps in spite of the settings that `Running` gives it
/// (docs/operations.md, "Memory"): none in three runs. The attacks take a gigabyte and more of a
/// server without bounds. jemalloc keeps none here: `Running` has it give freed memory back at once.
const KEPT_MIB: usize = if cfg!(feature = "jemalloc") { 0 } else { 64 };

/// Bodies and the data parsed from them, `ApiOptions::bodies_bytes_max`.
const BODIES_MIB: usize = 192;

/// Heads beyond 8 KiB of each connection.
const HEADS_MIB: usize = 24;

/// Pages being made, and answers that wait for their clients.
const ANSWERS_MIB: usize = 96 + 48;

/// Rounds of streams, bytes that wait for the streams' clients, and four pages being read.
const STREAMS_MIB: usize = 24 + 24 + 24;

/// SQLite's caches of two writers and of all readers, once they are full.
const CACHES_MIB: usize = 120;

/// A connection's own 28 KiB, and what the allocator rounds up.
const CONNECTION_KIB: usize = 32;

/// The server's resident memory.
fn resident_kib(server: &Running) -> usize {
    status_kib(server, "VmRSS:")
}

/// The server's peak memory.
fn peak_mib(server: &Running) -> usize {
    status_kib(server, "VmHWM:") / 1024
}

fn status_kib(server: &Running, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn stays_within(server: &Running, mib: usize) {
    let peak = peak_mib(server);
    assert!(peak <= QUIET_MIB + KEPT_MIB + mib, "{peak} MiB, of {QUIET_MIB} + {KEPT_MIB} + {mib}");
}

/// Checks that the server still answers another client with small requests.
fn serves_others(server: &Running) {
    let authorization = format!("Bearer {}", server.token);
    let event = json!({"device_id": "d", "application_id": "a", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success"});
    let stored = ureq::post(server.events()).header("authorization", &authorization);
    let id = stored.send_json(&event).unwrap().body_mut().read_json::<serde_json::Value>();
    let id = id.unwrap()["id"].as_i64().unwrap();
    let read = ureq::get(format!("{}?order=id&after={}", server.events(), id - 1));
    let mut page = read.header("authorization", &authorization).call().unwrap();
    let page = page.body_mut().read_json::<serde_json::Value>().unwrap();
    assert_eq!(page["results"][0]["device_id"], "d");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Stores a thousand events of 16 KiB.
pub(crate) fn store_large_events(server: &Running) {
    for _ in 0..5 {
        let event = |_| {
            json!({"device_id": "large", "application_id": "a", "connection_type": "established",
                "timestamp": "2024-01-15T10:30:00Z", "status": "success",
                "metadata": {"text": "x".repeat(16_000)}})
        };
        let events: Vec<_> = (0..200).map(event).collect();
        let request = ureq::post(server.events());
        let request = request.header("authorization", format!("Bearer {}", server.token));
        assert_eq!(request.send_json(&events).unwrap().status(), 201);
    }
}

fn get(server: &Running, path: &str) -> Client {
    let mut client = Client::of(server);
    let mut head = format!("GET {path} HTTP/1.1\r\nhost: log.test\r\n");
    write!(head, "authorization: Bearer {}\r\n\r\n", server.token).unwrap();
    client.send(head.as_bytes());
    client
}

#[test]
fn a_small_body_that_is_large_within_takes_no_more_than_the_room_for_bodies() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let (json, form, lines) =
        ("application/json", "application/x-www-form-urlencoded", "application/x-ndjson");
    // As many faults as an answer lists, in as few bytes as possible.
    let faulty = format!("{{{}\"a\":0}},", "\"a\":0,".repeat(40));
    let bodies = [
        (json, "[", faulty.as_str(), "0]", 400),
        (form, "", "a&", "", 400),
        (form, "data=", "%5B", "", 400),
        (form, "", "data=&", "", 400),
        (json, "", "[", "", 400),
        (json, "", "{\"a\":", "", 400),
        (json, "[", "0,", "0]", 413),
        (json, "{", "\"a\":0,", "\"a\":0}", 400),
        (json, "{\"data\":\"", "[", "\"}", 400),
        (json, "{\"data\":\"", "\\n", "\"}", 400),
        (lines, "", "0\n", "", 413),
        (lines, "", "\n", "", 400),
        (lines, "\"\n", "[", "", 400),
    ];
    for (place, (media_type, begin, unit, end, status)) in bodies.into_iter().enumerate() {
        // The parts are compressed separately, so that 60 MiB are compressed in no time.
        let part = gzip(unit.repeat((1 << 20) / unit.len()).as_bytes());
        let parts = part.repeat(if unit == faulty { 2 } else { 60 });
        let body = [gzip(begin.as_bytes()), parts, gzip(end.as_bytes())].concat();
        let head = format!(
            "POST /api/v1/device_app_connection_log/ HTTP/1.1\r\nhost: log.test\r\n\
             authorization: Bearer {}\r\ncontent-type: {media_type}\r\ncontent-encoding: gzip\r\n\
             content-length: {}\r\n\r\n",
            server.token,
            body.len()
        );
        let post = || {
            let mut client = Client::of(&server);
            client.send(head.as_bytes());
            client.send(&body);
            client
        };
        let start = &unit[..unit.len().min(20)];
        let answer = post().status();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer} to {begin}{start}");
        stays_within(&server, BODIES_MIB);
        if place >= 3 {
            continue;
        }
        // If several are sent at once, there may be room for none of them to the end.
        let mut clients: Vec<Client> =
            (0..if unit == faulty { 20 } else { 3 }).map(|_| post()).collect();
        let answers: Vec<String> = clients.iter_mut().map(Client::status).collect();
        let is_told =
            |answer: &String| answer.contains(" 503 ") || answer.contains(&status.to_string());
        assert!(answers.iter().all(is_told), "{answers:?} to {begin}{start}");
        stays_within(&server, BODIES_MIB);
    }
    serves_others(&server);
}

#[test]
fn heads_that_never_end_take_no_more_than_their_room() {
    const CLIENTS: usize = 800;
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let long = format!("GET / HTTP/1.1\r\nx-long: {}", "a".repeat(120 << 10));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // After an answered request, so that the head is not the connection's first one.
        let mut client = Client::of(&server);
        client.send(b"GET /healthz HTTP/1.1\r\nhost: log.test\r\n\r\n");
        assert_eq!(client.status(), "HTTP/1.1 200 OK");
        client.send(long.as_bytes());
        clients.push(client);
    }
    serves_others(&server);
    stays_within(&server, HEADS_MIB + (CLIENTS * CONNECTION_KIB) / 1024);
    drop(clients);
}

#[test]
fn a_head_that_drips_is_let_go_of_though_it_is_not_the_first() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--head-time-max", "300ms"]);
    let mut client = Client::of(&server);
    for _ in 0..3 {
        client.send(b"GET /healthz HTTP/1.1\r\nhost: log.test\r\n\r\n");
        let answer = client.answer();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("keep-alive: timeout=75\r\n"), "{answer}");
    }
    client.send(b"GET /healthz HTTP/1.1\r\nhost: ");
    assert!(client.answer().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(client.status(), "", "it is closed");
}

#[test]
fn a_connection_without_a_request_is_kept_as_long_as_was_said() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--keep-alive", "1s"]);
    let mut client = Client::of(&server);
    client.send(b"GET /healthz HTTP/1.1\r\nhost: log.test\r\n\r\n");
    assert!(client.answer().contains("keep-alive: timeout=1\r\n"));
    assert_eq!(client.status(), "", "it is closed");
}

/// A connection that waits for its next request keeps the buffers that its last one needed.
#[test]
fn idle_connections_take_no_more_than_their_share() {
    const CLIENTS: usize = 900;
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let mut clients = Vec::new();
    let document = ureq::get(format!("{}/openapi.json", server.base)).call().unwrap();
    let length: usize = document.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let before = resident_kib(&server);
    for _ in 0..CLIENTS {
        let mut client = Client::of(&server);
        client.send(b"GET /openapi.json HTTP/1.1\r\nhost: log.test\r\n\r\n");
        let head = client.answer();
        let mut rest = vec![0; length - head.split_once("\r\n\r\n").unwrap().1.len()];
        client.0.read_exact(&mut rest).unwrap();
        clients.push(client);
    }
    let each = resident_kib(&server).saturating_sub(before) / CLIENTS;
    assert!(each <= CONNECTION_KIB, "{each} KiB");
    serves_others(&server);
    drop(clients);
}

#[test]
fn unread_answers_stay_within_their_room_and_end_after_a_time() {
    const CLIENTS: usize = 60;
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--answer-pause-max", "20s"]);
    store_large_events(&server);
    let page = "/api/v1/device_app_connection_log/?limit=1000";
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| get(&server, page)).collect();
    let answers: Vec<String> = clients.iter_mut().map(Client::status).collect();
    let (held, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.as_str() == "HTTP/1.1 200 OK");
    assert!(!held.is_empty());
    assert!(refused.iter().all(|answer| answer.starts_with("HTTP/1.1 503 ")), "{answers:?}");
    serves_others(&server);
    stays_within(&server, ANSWERS_MIB + CACHES_MIB);
    // An answer that no client reads is dropped without further action.
    wait_until("there is room again", || {
        let answer = get(&server, page).status();
        assert!(answer == "HTTP/1.1 200 OK" || answer.starts_with("HTTP/1.1 503 "), "{answer}");
        answer == "HTTP/1.1 200 OK"
    });
    drop(clients);
}

#[test]
fn unread_streams_stay_within_their_room() {
    const CLIENTS: usize = 200;
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    store_large_events(&server);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = get(&server, "/api/v1/device_app_connection_log/stream/?after=0");
        assert_eq!(client.status(), "HTTP/1.1 200 OK");
        clients.push(client);
    }
    // The streams read from the table, and new events are added to it.
    store_large_events(&server);
    let mut reader = get(&server, "/api/v1/device_app_connection_log/stream/?after=1999");
    reader.0.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    reader.reads_until("id: 2000\n");
    serves_others(&server);
    reader.reads_until("id: 2001\n");
    stays_within(&server, STREAMS_MIB + CACHES_MIB + (CLIENTS * CONNECTION_KIB) / 1024);
    drop(clients);
}
