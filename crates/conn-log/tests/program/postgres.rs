//! The program on a PostgreSQL of its own: encrypted, with a password, killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use conn_log_test_support::Cluster;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use serde_json::json;

use crate::crashes::{holds_all, wait_for};
use crate::running::{Running, program, wait_until};

const PASSWORD: &str = "hunter2";

fn migrate(url: &str, environment: (&str, &Path)) -> Output {
    program()
        .args(["migrate", "--database-url", url])
        .env_remove("PGPASSWORD")
        .env("PGPASSFILE", "/nonexistent")
        .env(environment.0, environment.1)
        .output()
        .unwrap()
}

#[test]
fn a_password_comes_from_the_environment_or_a_pgpass_file_over_tls() {
    let Some(cluster) = Cluster::start_new() else { return };
    let url = cluster.url();
    let certificate = cluster.require_tls_and_password(PASSWORD);
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={}", certificate.display());

    let none = migrate(&verified, ("LANG", Path::new("C")));
    assert!(!none.status.success(), "{none:?}");
    let disabled = migrate(&format!("{url}?sslmode=disable"), ("PGPASSWORD", Path::new(PASSWORD)));
    assert!(!disabled.status.success(), "{disabled:?}");

    let by_variable = migrate(&verified, ("PGPASSWORD", Path::new(PASSWORD)));
    assert!(by_variable.status.success(), "{by_variable:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgpass");
    std::fs::write(&file, format!("127.0.0.1:*:*:postgres:{PASSWORD}\n")).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, private).unwrap();
    let by_file = migrate(&verified, ("PGPASSFILE", &file));
    assert!(by_file.status.success(), "{by_file:?}");

    for output in [none, disabled, by_variable, by_file] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

/// Posts single events until it is told to stop, whatever the answers are. Returns the acknowledged
/// events, and the number of answers that the store is unavailable.
fn keep_on(
    server: &Running,
    client: usize,
    acknowledged: &Arc<AtomicUsize>,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<(BTreeMap<String, i64>, usize)> {
    let (url, token) = (server.events(), format!("Bearer {}", server.token));
    let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
    thread::spawn(move || {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let (mut stored, mut away) = (BTreeMap::new(), 0);
        for n in 0..1_000_000 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let device = format!("device_{client}_{n}");
            let event = json!({
                "device_id": device, "application_id": "app", "connection_type": "established",
                "timestamp": "2024-01-15T10:30:00Z", "status": "success", "event_id": device
            });
            let mut answer =
                agent.post(&url).header("authorization", &token).send_json(&event).unwrap();
            match answer.status().as_u16() {
                201 => {
                    let record: serde_json::Value = answer.body_mut().read_json().unwrap();
                    stored.insert(device, record["id"].as_i64().unwrap());
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                503 => {
                    assert!(answer.headers().contains_key("retry-after"));
                    away += 1;
                }
                other => panic!("{other}: {}", answer.body_mut().read_to_string().unwrap()),
            }
        }
        (stored, away)
    })
}

fn is_ready(server: &Running) -> bool {
    ureq::get(format!("{}/readyz", server.base)).call().is_ok()
}

#[test]
fn a_killed_postgres_is_waited_for_and_nothing_acknowledged_is_lost() {
    let Some(cluster) = Cluster::start_new() else { return };
    let server = Running::start_on(&cluster.url());
    let (acknowledged, stop) = (Arc::default(), Arc::default());
    let clients: Vec<_> =
        (0..4).map(|client| keep_on(&server, client, &acknowledged, &stop)).collect();
    wait_for(&acknowledged, 200);

    cluster.kill();
    wait_until("the server says that it is not ready", || !is_ready(&server));
    cluster.start();
    wait_until("the server is ready again", || is_ready(&server));
    let before = acknowledged.load(Ordering::Relaxed);
    wait_for(&acknowledged, before + 200);

    stop.store(true, Ordering::Relaxed);
    let (mut all, mut away) = (BTreeMap::new(), 0);
    for client in clients {
        let (stored, refused) = client.join().unwrap();
        all.extend(stored);
        away += refused;
    }
    assert!(away > 0, "while it was away clients were told so");
    holds_all(&server, &all);
}

#[test]
fn a_postgres_that_no_longer_syncs_its_files_is_told_of_in_the_metrics_until_it_does() {
    let Some(cluster) = Cluster::start_new() else { return };
    let server = Running::start_on(&cluster.url());
    let metrics = || ureq::get(format!("{}/metrics", server.base)).call().unwrap();
    let has = |line: &str| {
        let text = metrics().body_mut().read_to_string().unwrap();
        text.lines().any(|found| found == line)
    };
    assert!(has("conn_log_database_fsync 1"));
    let mut postgres = PgConnection::establish(&cluster.url()).unwrap();
    for (setting, value) in [("SET fsync = off", 0), ("RESET fsync", 1)] {
        postgres.batch_execute(&format!("ALTER SYSTEM {setting}")).unwrap();
        postgres.batch_execute("SELECT pg_reload_conf()").unwrap();
        wait_until(setting, || has(&format!("conn_log_database_fsync {value}")));
    }
    server.signal("-TERM");
    let (_, said) = server.wait();
    assert!(said.contains("fsync = off") && said.contains("fsync = on again"), "{said}");
}

/// Connections that a server opens at its start and keeps (docs/operations.md, "Connections").
const KEPT: usize = 9;

#[test]
fn a_server_has_connections_for_all_its_work_from_the_start() {
    const ALL: usize = 20;
    let Some(cluster) = Cluster::start_small(u32::try_from(ALL).unwrap()) else { return };
    let server = Running::start_on(&cluster.url());
    // Others take every connection that is left.
    let others: Vec<_> =
        std::iter::from_fn(|| PgConnection::establish(&cluster.url()).ok()).collect();
    assert!(others.len() <= ALL - KEPT, "{}", others.len());

    let token = format!("Bearer {}", server.token);
    let post = |path: &str, body: serde_json::Value| {
        let request = ureq::post(format!("{}/api/v1/{path}/", server.base));
        request.header("authorization", &token).send_json(body).unwrap().status().as_u16()
    };
    let event = json!({"device_id": "d", "application_id": "a", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success"});
    assert_eq!(post("device_app_connection_log", event), 201);
    assert_eq!(post("tokens", json!({"name": "t", "scopes": ["read"]})), 201);
    assert_eq!(server.feed().len(), 1);
    assert!(is_ready(&server));
    // Derived data is computed too.
    let metrics = || ureq::get(format!("{}/metrics", server.base)).call().unwrap();
    let caught_up = "conn_log_projections_behind_events 0\n";
    wait_until("derived data has caught up", || {
        metrics().body_mut().read_to_string().unwrap().contains(caught_up)
    });
}

/// Reads share the few connections that are left, and wait for one another.
#[test]
fn reads_share_what_is_left_of_few_connections() {
    let Some(cluster) = Cluster::start_small(u32::try_from(KEPT).unwrap() + 3) else { return };
    let server = Running::start_on(&cluster.url());
    let (url, token) = (server.events(), format!("Bearer {}", server.token));
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let (url, token) = (url.clone(), token.clone());
            thread::spawn(move || {
                let read = || ureq::get(&url).header("authorization", &token).call();
                (0..20).all(|_| read().unwrap().status() == 200)
            })
        })
        .collect();
    let (acknowledged, stop) = (Arc::default(), Arc::default());
    let writer = keep_on(&server, 0, &acknowledged, &stop);
    for reader in readers {
        assert!(reader.join().unwrap());
    }
    wait_for(&acknowledged, 50);
    stop.store(true, Ordering::Relaxed);
    let (stored, away) = writer.join().unwrap();
    assert_eq!(away, 0, "no event waits for a reader's connection");
    holds_all(&server, &stored);
}

#[test]
fn a_server_without_the_connections_that_it_needs_does_not_start() {
    let Some(cluster) = Cluster::start_small(4) else { return };
    let output = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--database-url", &cluster.url()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("too many clients"), "{said}");
}
