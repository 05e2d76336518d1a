//! Every acknowledged event is stored, however the program ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;
use serde_json::{Value, json};

use crate::running::{Running, wait_until};

const CLIENTS: usize = 12;

/// Each client posts single events until an answer is not 201. Returns the acknowledged ids by
/// device; `name` distinguishes this load's devices from those of other loads.
fn load(
    name: &str,
    server: &Running,
    acknowledged: &Arc<AtomicUsize>,
) -> Vec<thread::JoinHandle<BTreeMap<String, i64>>> {
    let start = |client: usize| {
        let (url, token) = (server.events(), format!("Bearer {}", server.token));
        let name = name.to_owned();
        let acknowledged = acknowledged.clone();
        thread::spawn(move || {
            let agent = ureq::agent();
            let mut stored = BTreeMap::new();
            for n in 0..100_000 {
                let device = format!("{name}_{client}_{n}");
                let event = json!({
                    "device_id": device, "application_id": "app", "connection_type": "established",
                    "timestamp": "2024-01-15T10:30:00Z", "status": "success"
                });
                let answer = agent.post(&url).header("authorization", &token).send_json(event);
                let Ok(mut answer) = answer else { break };
                if answer.status() != 201 {
                    break;
                }
                // The head of the answer is the acknowledgement; the body may be cut off.
                let location = answer.headers()["location"].to_str().unwrap().to_owned();
                let id =
                    location.trim_end_matches('/').rsplit('/').next().unwrap().parse().unwrap();
                stored.insert(device, id);
                acknowledged.fetch_add(1, Ordering::Relaxed);
                if answer.body_mut().read_json::<Value>().is_err() {
                    break;
                }
            }
            stored
        })
    };
    (0..CLIENTS).map(start).collect()
}

pub(crate) fn wait_for(acknowledged: &AtomicUsize, count: usize) {
    wait_until("enough is acknowledged", || acknowledged.load(Ordering::Relaxed) >= count);
}

pub(crate) fn holds_all(server: &Running, acknowledged: &BTreeMap<String, i64>) {
    let feed = server.feed();
    let ids: Vec<i64> = feed.iter().map(|record| record["id"].as_i64().unwrap()).collect();
    let expected: Vec<i64> = (1..=i64::try_from(feed.len()).unwrap()).collect();
    assert_eq!(ids, expected, "the ids have no gap");
    let by_device: BTreeMap<&str, i64> = feed
        .iter()
        .map(|record| (record["device_id"].as_str().unwrap(), record["id"].as_i64().unwrap()))
        .collect();
    for (device, id) in acknowledged {
        assert_eq!(by_device.get(device.as_str()), Some(id), "{device}");
    }
}

#[rstest]
fn a_kill_in_the_middle_of_load_loses_nothing_acknowledged(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let mut all = BTreeMap::new();
    for round in ["first", "second", "third"] {
        let server = Running::start(&database);
        let acknowledged = Arc::default();
        let clients = load(round, &server, &acknowledged);
        wait_for(&acknowledged, 300);
        server.signal("-KILL");
        all.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
        holds_all(&Running::start(&database), &all);
    }
    assert!(all.len() >= 900);
}

#[rstest]
fn a_graceful_stop_under_load_exits_with_0_and_loses_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let server = Running::start(&database);
    let acknowledged = Arc::default();
    let clients = load("device", &server, &acknowledged);
    wait_for(&acknowledged, 300);
    server.signal("-TERM");
    let mut all = BTreeMap::new();
    all.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
    assert_eq!(server.wait().0, Some(0));
    let again = Running::start(&database);
    holds_all(&again, &all);
    assert_eq!(again.feed().len(), all.len(), "what was stored was acknowledged");
}

#[test]
fn two_processes_on_one_postgres_keep_one_log() {
    let Some(database) = TestDatabase::new(Backend::Postgres) else { return };
    let servers = [Running::start(&database), Running::start(&database)];
    let counters: [Arc<AtomicUsize>; 2] = Default::default();
    let clients: Vec<_> = ["one", "two"]
        .into_iter()
        .zip(&servers)
        .zip(&counters)
        .flat_map(|((name, server), counter)| load(name, server, counter))
        .collect();
    for counter in &counters {
        wait_for(counter, 500);
    }
    // Each server's feed is the whole log in order, whichever server took an event in.
    let feeds = servers.each_ref().map(Running::feed);
    for feed in &feeds {
        let ids: Vec<i64> = feed.iter().map(|record| record["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, (1..=i64::try_from(ids.len()).unwrap()).collect::<Vec<i64>>());
    }
    let both = feeds[0].len().min(feeds[1].len());
    assert!(both >= 1_000);
    assert_eq!(feeds[0][..both], feeds[1][..both]);
    for server in &servers {
        server.signal("-TERM");
    }
    let mut all = BTreeMap::new();
    all.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
    let again = Running::start(&database);
    holds_all(&again, &all);
    let ids: std::collections::BTreeSet<i64> = all.values().copied().collect();
    assert_eq!(ids.len(), all.len(), "no id was given twice");
}

/// A client cannot know whether its request in progress was stored. With an idempotency key it can
/// simply send everything again.
#[rstest]
fn requests_with_keys_that_are_sent_again_after_a_kill_are_stored_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let post = |server: &Running, name: &str| {
        let event = json!({
            "device_id": name, "application_id": "app", "connection_type": "established",
            "timestamp": "2024-01-15T10:30:00Z", "status": "success"
        });
        ureq::post(server.events())
            .header("authorization", format!("Bearer {}", server.token))
            .header("idempotency-key", name)
            .send_json(event)
            .map(|answer| answer.status().as_u16())
    };
    let server = Running::start(&database);
    let sent = thread::scope(|scope| {
        let client = |client: usize| {
            let (server, post) = (&server, &post);
            move || {
                let names = (0..100_000).map(|n| format!("{client}_{n}"));
                let mut sent = Vec::new();
                for name in names {
                    let is_stored = matches!(post(server, &name), Ok(201));
                    sent.push(name);
                    if !is_stored {
                        break;
                    }
                }
                sent
            }
        };
        let clients: Vec<_> = (0..4).map(|n| scope.spawn(client(n))).collect();
        wait_until("some hundred are stored", || server.feed().len() >= 200);
        server.signal("-KILL");
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<String>>()
    });
    drop(server);
    let server = Running::start(&database);
    for name in sent.iter().rev().take(40).chain(sent.iter().take(40)) {
        assert_eq!(post(&server, name).unwrap(), 201);
    }
    for client in 0..4 {
        let last = sent.iter().rfind(|name| name.starts_with(&format!("{client}_"))).unwrap();
        assert_eq!(post(&server, last).unwrap(), 201);
    }
    let mut devices: Vec<String> =
        server.feed().iter().map(|record| record["device_id"].as_str().unwrap().into()).collect();
    let (mut sent, count) = (sent, devices.len());
    devices.sort_unstable();
    devices.dedup();
    sent.sort_unstable();
    assert_eq!(devices.len(), count, "something is stored twice");
    assert_eq!(devices, sent);
}
