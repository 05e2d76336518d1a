//! Derived data stays correct when the process that derives it is killed.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;
use serde_json::{Value, json};

use crate::running::{Running, program};
use crate::two_servers::{get, post};

/// Connections of 40 devices, each started in one half and ended in the other.
fn batch(round: i64) -> Value {
    let event = |n: i64| {
        let kind = if n < 500 { "established" } else { "terminated" };
        json!({
            "device_id": format!("device_{}", n % 40), "application_id": format!("app_{}", n % 7),
            "connection_type": kind, "status": if n % 9 == 0 { "failure" } else { "success" },
            "timestamp": format!("2024-01-{:02}T{:02}:{:02}:00Z", 1 + round, n % 24, n % 60),
            "ip_address": format!("10.0.{}.1", n % 5), "duration": n % 100,
            "session_id": format!("session_{round}_{}", n % 500),
        })
    };
    (0..1_000).map(event).collect()
}

const QUESTIONS: &[&str] = &[
    "devices/?limit=1000",
    "applications/",
    "sessions/?limit=1000",
    "sessions/?open=true&limit=1000",
    "device_app_connection_log/stats/?interval=1h&group_by=application_id",
    "device_app_connection_log/stats/?interval=1d&group_by=device_id",
    "device_app_connection_log/?device_id=device_3&limit=1000",
    "device_app_connection_log/?application_id=app_2&status=failure&order=timestamp&limit=1000",
];

fn answers(server: &Running) -> Vec<Value> {
    QUESTIONS.iter().map(|path| get(server, path)).collect()
}

/// Only the results are compared, because the links in the answers name the server's address.
fn results(answers: &[Value]) -> Vec<&Value> {
    answers.iter().map(|answer| &answer["results"]).collect()
}

#[rstest]
fn a_rebuild_that_is_killed_at_any_moment_leaves_every_answer_as_it_was(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let server = Running::start(&database);
    (0..20).for_each(|round| post(&server, &batch(round)));
    let before = answers(&server);
    assert_eq!(before[0]["results"].as_array().unwrap().len(), 40);
    drop(server);

    let mut was_cut_short = false;
    for (pause, name) in (0_u64..).step_by(30).zip(["presence", "sessions", "statistics"].repeat(3))
    {
        let mut rebuild = program()
            .args(["rebuild", name, "--database-url", &database.url()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The process is killed at an arbitrary point of its work.
        thread::sleep(Duration::from_millis(pause));
        was_cut_short |= rebuild.try_wait().unwrap().is_none();
        rebuild.kill().unwrap();
        rebuild.wait().unwrap();
        let server = Running::start(&database);
        let after = answers(&server);
        assert_eq!(results(&after), results(&before), "{name}, killed after {pause} ms");
    }
    assert!(was_cut_short);
}
