//! Alerts, however often the server is killed: none is lost, and none is raised twice.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use conn_log_store::TenantId;
use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;
use serde_json::{Value, json};

use crate::receiver::{distinct, receiver};
use crate::running::{Running, run};

/// Kills with SIGKILL on each database, unless `CONN_LOG_TEST_KILLS` asks for another number.
const KILLS: i64 = 12;

/// Devices whose failures are sent between two kills.
const DEVICES: i64 = 8;

/// A time limit that only a broken server exceeds.
const PATIENCE: Duration = Duration::from_mins(1);

fn kills() -> i64 {
    std::env::var("CONN_LOG_TEST_KILLS").map_or(KILLS, |count| count.parse().unwrap())
}

fn start(database: &TestDatabase) -> Running {
    Running::start_with(database, &["--webhook-allow", "127.0.0.0/8"])
}

fn post(server: &Running, token: &str, path: &str, json: &Value) -> Option<Value> {
    let url = format!("{}/api/v1/{path}", server.base);
    let answer = ureq::post(url).header("authorization", format!("Bearer {token}")).send_json(json);
    answer.ok()?.body_mut().read_json().ok()
}

fn get(url: &str, token: &str) -> Value {
    let answer = ureq::get(url).header("authorization", format!("Bearer {token}")).call();
    answer.unwrap().body_mut().read_json().unwrap()
}

fn failure(device: i64, second: i64) -> Value {
    json!({
        "device_id": format!("d{device}"), "application_id": "app",
        "connection_type": "attempted", "status": "denied", "event_id": format!("{device}-{second}"),
        "timestamp": format!("2024-01-15T10:30:{second:02}Z"),
    })
}

/// Deletes the file of rebuildable data, and the files beside it.
fn delete_derived(database: &TestDatabase) {
    let url = database.url();
    let file = url.strip_prefix("sqlite://").unwrap();
    for suffix in ["-derived", "-derived-wal", "-derived-shm"] {
        std::fs::remove_file(format!("{file}{suffix}")).ok();
    }
}

/// Rules that open, extend and withdraw alerts with nearly every event.
fn rules() -> [Value; 3] {
    [
        json!({"name": "failures", "kind": "failure_burst", "group_by": ["device_id"],
            "params": {"threshold": 3, "window_seconds": 60}}),
        json!({"name": "any", "kind": "match", "group_by": ["device_id"], "params": {}}),
        json!({"name": "silent", "kind": "silence", "group_by": ["device_id"],
            "lateness_seconds": 0, "params": {"after_seconds": 3_600}}),
    ]
}

#[rstest]
fn no_alert_is_lost_or_doubled_by_kills(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let kills = kills();
    let (url, arrived) = receiver();
    let mut server = start(&database);
    let token = server.token.clone();
    for rule in rules() {
        post(&server, &token, "alert_rules/", &rule).unwrap();
    }
    post(&server, &token, "webhooks/", &json!({"url": url})).unwrap();
    for kill in 0..kills {
        let (base, token) = (server.base.clone(), token.clone());
        let sender = thread::spawn(move || {
            let url = format!("{base}/api/v1/device_app_connection_log/");
            for device in kill * DEVICES..(kill + 1) * DEVICES {
                for second in 1..=4 {
                    let bearer = format!("Bearer {token}");
                    let event = failure(device, second);
                    ureq::post(&url).header("authorization", bearer).send_json(event).ok();
                }
            }
        });
        // At another moment of the evaluation each time.
        thread::sleep(Duration::from_millis(20 + 13 * (kill.unsigned_abs() % 20)));
        server.signal("-KILL");
        sender.join().unwrap();
        if kill % 4 == 3 && backend == Backend::Sqlite {
            delete_derived(&database);
        }
        // As when the time has passed for which a server that is gone keeps others away.
        database.execute("UPDATE deliveries SET claimed_until = NULL");
        if backend == Backend::Postgres {
            database.execute("UPDATE alert_heads SET held_until = 'epoch'");
        }
        server = start(&database);
    }
    // What the kills have kept back is sent again; an event_id counts once.
    for device in 0..kills * DEVICES {
        let events: Vec<Value> = (1..=4).map(|second| failure(device, second)).collect();
        post(&server, &token, "device_app_connection_log/", &json!(events)).unwrap();
    }
    wait_for_alerts(&server, &token, usize::try_from(kills * DEVICES).unwrap());
    server.signal("-TERM");
    assert_eq!(server.wait().0, Some(0));

    let store = database.open();
    let changes = store.alert_changes_after(TenantId::DEFAULT, 0, 10_000_000).unwrap();
    store.close();
    let ids: Vec<i64> = changes.iter().map(|change| change.id).collect();
    assert_eq!(ids, (1..=i64::try_from(ids.len()).unwrap()).collect::<Vec<i64>>());
    let opened: Vec<i64> = changes
        .iter()
        .filter(|change| change.kind.name() == "opened")
        .map(|change| change.alert["id"].as_i64().unwrap())
        .collect();
    let alerts = i64::try_from(opened.len()).unwrap();
    assert_eq!(opened, (1..=alerts).collect::<Vec<i64>>(), "each alert is opened once, in order");

    let server = start(&database);
    let (mut count, mut grew) = (0, Instant::now());
    while count < changes.len() {
        assert!(grew.elapsed() < PATIENCE, "{count} of {} changes arrived", changes.len());
        thread::sleep(Duration::from_millis(50));
        let now = distinct(&arrived).len();
        if now > count {
            (count, grew) = (now, Instant::now());
        }
    }
    drop(server);
    let messages = distinct(&arrived);
    let told: BTreeSet<i64> =
        messages.values().map(|body| body["data"]["sequence"].as_i64().unwrap()).collect();
    assert_eq!(told.into_iter().collect::<Vec<i64>>(), ids, "each change has been told");
    assert_eq!(messages.len(), changes.len(), "each change has one message id");
    let repeats = arrived.lock().unwrap().len() - messages.len();
    writeln!(
        std::io::stderr(),
        "{kills} kills on {backend:?}: {alerts} alerts, {} changes, {repeats} told twice",
        ids.len()
    )
    .ok();
}

/// Waits until each device has its alerts, and no other.
fn wait_for_alerts(server: &Running, token: &str, devices: usize) {
    let begun = Instant::now();
    loop {
        let bursts = list(server, token, "alerts/?kind=failure_burst");
        let any = list(server, token, "alerts/?kind=match");
        let silences = list(server, token, "alerts/?kind=silence&state=open");
        let all = [&bursts, &any, &silences];
        let is_whole = |alerts: &&Vec<Value>| alerts.iter().all(|alert| alert["count"] == 4);
        // A silence is open from the last event on.
        let is_last = |alert: &Value| alert["started_at"] == "2024-01-15T10:30:04Z";
        if all.iter().all(|alerts| alerts.len() >= devices)
            && [&bursts, &any].iter().all(is_whole)
            && silences.iter().all(is_last)
        {
            for alerts in all {
                let groups: BTreeSet<String> =
                    alerts.iter().map(|alert| alert["group"].to_string()).collect();
                assert_eq!((alerts.len(), groups.len()), (devices, devices));
            }
            return;
        }
        let counts = all.map(Vec::len);
        assert!(begun.elapsed() < PATIENCE, "{counts:?} of {devices}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A whole list.
fn list(server: &Running, token: &str, path: &str) -> Vec<Value> {
    let mut results = Vec::new();
    let mut next = Some(format!("{}/api/v1/{path}&limit=1000", server.base));
    while let Some(url) = next {
        let page = get(&url, token);
        results.extend(page["results"].as_array().unwrap().iter().cloned());
        next = page["next"].as_str().map(str::to_owned);
    }
    results
}

#[rstest]
fn the_starter_rules_are_installed_from_the_command_line(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let first = run(&database, &["rules", "install"]);
    let names = String::from_utf8(first.stdout).unwrap();
    assert!(first.status.success());
    assert!(names.lines().any(|name| name == "Password spraying"), "{names}");
    let second = run(&database, &["rules", "install"]);
    assert!(second.status.success() && second.stdout.is_empty());
}
