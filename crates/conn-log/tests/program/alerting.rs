//! Alerts, however often the server is killed: none is lost, and none is raised twice.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use conn_log_store::{AlertQuery, PageQuery, PageStart, TenantId};
use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;
use serde_json::{Value, json};

use crate::running::{Running, run};

/// Kills with SIGKILL on each database.
const KILLS: i64 = 12;

/// Devices whose failures are sent between two kills.
const DEVICES: i64 = 40;

/// A time limit that only a broken server exceeds.
const PATIENCE: Duration = Duration::from_mins(1);

fn post(server: &Running, token: &str, path: &str, json: &Value) -> Option<Value> {
    let url = format!("{}/api/v1/{path}", server.base);
    let answer = ureq::post(url).header("authorization", format!("Bearer {token}")).send_json(json);
    answer.ok()?.body_mut().read_json().ok()
}

fn get(server: &Running, token: &str, path: &str) -> Value {
    let url = format!("{}/api/v1/{path}", server.base);
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

#[rstest]
fn no_alert_is_lost_or_doubled_by_kills(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let mut server = Running::start(&database);
    let token = server.token.clone();
    let rule = json!({"name": "failures", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 3, "window_seconds": 60}});
    post(&server, &token, "alert_rules/", &rule).unwrap();
    for kill in 0..KILLS {
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
        thread::sleep(Duration::from_millis(20 + 13 * kill.unsigned_abs()));
        server.signal("-KILL");
        sender.join().unwrap();
        if kill % 4 == 3 && backend == Backend::Sqlite {
            delete_derived(&database);
        }
        server = Running::start(&database);
    }
    // What the kills have kept back is sent again; an event_id counts once.
    for device in 0..KILLS * DEVICES {
        let events: Vec<Value> = (1..=4).map(|second| failure(device, second)).collect();
        post(&server, &token, "device_app_connection_log/", &json!(events)).unwrap();
    }
    let expected = usize::try_from(KILLS * DEVICES).unwrap();
    let begun = Instant::now();
    loop {
        let url = "alerts/?limit=1000";
        let alerts = get(&server, &token, url)["results"].as_array().unwrap().clone();
        let is_done = alerts.len() >= expected && alerts.iter().all(|alert| alert["count"] == 4);
        if is_done {
            let groups: BTreeSet<String> = alerts.iter().map(|a| a["group"].to_string()).collect();
            assert_eq!((alerts.len(), groups.len()), (expected, expected));
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{} alerts", alerts.len());
        thread::sleep(Duration::from_millis(20));
    }
    drop(server);
    let store = database.open();
    let changes = store.alert_changes_after(TenantId::DEFAULT, 0, 100_000).unwrap();
    let ids: Vec<i64> = changes.iter().map(|change| change.id).collect();
    assert_eq!(ids, (1..=i64::try_from(ids.len()).unwrap()).collect::<Vec<i64>>());
    let opened = changes.iter().filter(|change| change.kind.name() == "opened");
    assert_eq!(opened.count(), expected, "each alert is opened once");
    let page = PageQuery { start: PageStart::First, limit: 1_000 };
    let alerts = store.alert_list(TenantId::DEFAULT, &AlertQuery::default(), &page).unwrap();
    assert_eq!(alerts.items.len(), expected);
    store.close();
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
