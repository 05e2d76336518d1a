//! Servers side by side and alone: two on one PostgreSQL, streams that end, expired keys deleted.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use conn_log_test_support::{Backend, TestDatabase};
use serde_json::{Value, json};

use crate::running::{Running, wait_until};

/// An event stream that is being read.
pub(crate) struct Stream(BufReader<ureq::BodyReader<'static>>);

impl Stream {
    /// Opens a stream and waits for the server's first comment.
    pub(crate) fn open(server: &Running) -> Self {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_recv_body(Some(Duration::from_mins(1)))
            .build()
            .into();
        let answer = agent
            .get(format!("{}stream/", server.events()))
            .header("authorization", format!("Bearer {}", server.token))
            .call()
            .unwrap();
        let mut stream = Stream(BufReader::new(answer.into_body().into_reader()));
        assert_eq!(stream.line().unwrap(), ": conn-log\n");
        stream
    }

    /// The next line; `None` at the end of the stream.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    pub(crate) fn record(&mut self) -> Value {
        loop {
            let line = self.line().expect("the stream has ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

pub(crate) fn post(server: &Running, events: &Value) {
    let answer = ureq::post(server.events())
        .header("authorization", format!("Bearer {}", server.token))
        .send_json(events)
        .unwrap();
    assert_eq!(answer.status(), 201);
}

pub(crate) fn get(server: &Running, path: &str) -> Value {
    let url = format!("{}/api/v1/{path}", server.base);
    let answer = ureq::get(url).header("authorization", format!("Bearer {}", server.token)).call();
    answer.unwrap().body_mut().read_json().unwrap()
}

/// Connections of some devices. Each `round` ends the connections that the round before started.
fn events(round: usize) -> Value {
    let kind = if round.is_multiple_of(2) { "established" } else { "terminated" };
    let event = |n: usize| {
        json!({
            "device_id": format!("device_{}", n % 7), "application_id": format!("app_{}", n % 3),
            "connection_type": kind, "status": if n.is_multiple_of(5) { "failure" } else { "success" },
            "timestamp": format!("2024-01-15T1{}:{:02}:00Z", round % 10, n),
            "session_id": format!("session_{}_{n}", round / 2), "duration": n
        })
    };
    (0..21).map(event).collect()
}

#[test]
fn two_servers_on_one_postgres_give_one_answer_and_one_stream() {
    let Some(database) = TestDatabase::new(Backend::Postgres) else { return };
    let (one, other) = (Running::start(&database), Running::start(&database));
    let (mut at_one, mut at_other) = (Stream::open(&one), Stream::open(&other));
    let questions = [
        "devices/",
        "devices/device_3/",
        "applications/",
        "sessions/",
        "sessions/?open=true",
        "device_app_connection_log/stats/?interval=1h&group_by=application_id",
    ];
    for round in 0..6_usize {
        // The servers get the events in turn. Both must answer at once, whichever server runs the
        // projections.
        post(if round.is_multiple_of(3) { &one } else { &other }, &events(round));
        for path in questions {
            assert_eq!(get(&one, path), get(&other, path), "{path} after round {round}");
        }
    }
    assert_eq!(get(&one, "devices/")["results"].as_array().unwrap().len(), 7);
    assert_eq!(get(&other, "sessions/?limit=1000")["results"].as_array().unwrap().len(), 63);
    let (told, told_too): (Vec<Value>, Vec<Value>) =
        (0..126).map(|_| (at_one.record(), at_other.record())).unzip();
    assert_eq!(told, told_too);
    assert_eq!(told, one.feed());
}

#[test]
fn a_stream_ends_whole_when_its_server_stops() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(database) = TestDatabase::new(backend) else { continue };
        let server = Running::start(&database);
        let mut stream = Stream::open(&server);
        post(&server, &events(0));
        for id in 1..=21 {
            assert_eq!(stream.record()["id"], id);
        }
        server.signal("-TERM");
        // The stream ends without an error: the last chunk of the body has arrived.
        while let Some(line) = stream.line() {
            assert!(!line.starts_with("data"), "{line}");
        }
        assert_eq!(server.wait().0, Some(0));
    }
}

#[test]
fn keys_whose_window_has_passed_are_forgotten_by_the_server_itself() {
    use diesel::prelude::*;
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let arguments = ["--idempotency-window", "1s", "--event-id-window", "1s"];
    let server = Running::start_with(&database, &arguments);
    let mut event = events(0)[0].clone();
    event["event_id"] = "e".into();
    let answer = ureq::post(server.events())
        .header("authorization", format!("Bearer {}", server.token))
        .header("idempotency-key", "k")
        .send_json(&event);
    assert_eq!(answer.unwrap().status(), 201);
    let count = || -> i64 {
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("count(*) FROM idempotency_keys");
        diesel::select(count).get_result(&mut database.sqlite()).unwrap()
    };
    assert_eq!(count(), 2);
    drop(server);
    let stored = Instant::now();
    wait_until("their window has passed", || stored.elapsed() > Duration::from_secs(1));
    // The server deletes expired keys when it starts, and each minute.
    let _server = Running::start_with(&database, &arguments);
    wait_until("both are forgotten", || count() == 0);
}
