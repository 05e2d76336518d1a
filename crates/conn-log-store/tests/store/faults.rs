//! A database that fails under load: nothing acknowledged is lost, nothing is stored twice.

use std::collections::HashMap;
use std::time::Duration;

use conn_log_core::{Event, EventQuery, Order};
use conn_log_store::{AppendError, Store, StoreOptions};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::support::*;

on_both_databases! {
    async fn sessions_that_are_ended_under_load_lose_and_double_nothing(db) {
        let store = db.open();
        let tasks = load(&store);
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            db.end_sessions();
        }
        hold_against_log(&store, tasks).await;
    }

    async fn an_event_that_the_database_refuses_fails_alone(db) {
        let store = db.open();
        let mut poison = parts("dev");
        poison.user_agent = Some("nul \0 here".to_owned());
        let (good, bad, fine) = tokio::join!(
            append(&store, events("dev", 1)),
            append(&store, vec![Event::from_store(poison)]),
            append(&store, events("dev", 30)),
        );
        assert!(good.is_ok() && fine.is_ok());
        if db.backend == Backend::Postgres {
            assert_eq!(bad, Err(AppendError::Internal));
            assert_eq!(store.log_size(DEFAULT).unwrap(), 31);
        }
        assert!(store.ready().is_ok());
    }

    async fn a_fault_of_the_tables_is_told_and_gone_when_it_is_mended(db) {
        let store = db.open();
        append(&store, events("dev", 1)).await.unwrap();
        let (break_it, mend_it) =
            ("ALTER TABLE heads RENAME TO gone", "ALTER TABLE gone RENAME TO heads");
        db.execute(break_it);
        assert_eq!(append(&store, events("dev", 1)).await, Err(AppendError::Internal));
        db.execute(mend_it);
        assert_eq!(ids(&append(&store, events("dev", 1)).await.unwrap()), [2]);
    }
}

/// The commit worked and its answer was lost: the writer finds that out, and stores nothing again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_is_lost_is_neither_lost_nor_doubled() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else {
        return;
    };
    let (host, name) = db.host_and_name();
    let proxy = Proxy::to(host);
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}", proxy.port);
    let store = Store::open(StoreOptions::new(url.parse().unwrap())).unwrap();
    for n in 0..5 {
        proxy.arm();
        assert_eq!(ids(&append(&store, events("dev", 2)).await.unwrap()), [2 * n + 1, 2 * n + 2]);
        assert!(proxy.has_struck());
    }
    assert_eq!(store.log_size(DEFAULT).unwrap(), 10);
}

/// The server crashes under load and comes back: the store does by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_under_load_loses_and_doubles_nothing() {
    let Some(cluster) = Cluster::start_new() else {
        return;
    };
    let store = Store::open(StoreOptions::new(cluster.url())).unwrap();
    let tasks = load(&store);
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.crash();
    // Longer than the writer retries: it gives up, says so, and looks for the server.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(append(&store, vec![event("away")]).await, Err(AppendError::Unavailable));
    assert!(store.ready().is_err());
    cluster.start();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while append(&store, vec![event("back")]).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    hold_against_log(&store, tasks).await;
    store.close();
}

/// What was acknowledged to one client: devices, each named by one event only, and ids.
type Acknowledged = Vec<(String, i64)>;

/// Clients that append one event after the other, and go on to the next when one is refused.
fn load(store: &Store) -> Vec<JoinHandle<Acknowledged>> {
    (0..6)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0..150 {
                    let device = format!("dev_{task}_{n}");
                    match append(&store, vec![event(&device)]).await {
                        Ok(appended) => acknowledged.push((device, ids(&appended)[0])),
                        Err(error) => {
                            assert_eq!(error, AppendError::Unavailable);
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                acknowledged
            })
        })
        .collect()
}

/// Everything acknowledged is in the log under its id, once, and the log has no gap.
async fn hold_against_log(store: &Store, tasks: Vec<JoinHandle<Acknowledged>>) {
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    let query = EventQuery { order: Order::IdAscending, limit: 10_000, ..EventQuery::default() };
    let log = store.event_list(DEFAULT, &query).unwrap().records;
    let gap_free: Vec<i64> = (1..).take(log.len()).collect();
    assert_eq!(log.iter().map(|record| record.id).collect::<Vec<_>>(), gap_free);
    let mut by_device: HashMap<&str, i64> = HashMap::new();
    for record in &log {
        let device = record.event.fields().device_id.as_str();
        let before = by_device.insert(device, record.id);
        assert!(before.is_none() || device == "back", "{device} is stored twice");
    }
    for (device, id) in &acknowledged {
        assert_eq!(by_device.get(device.as_str()), Some(id), "{device}");
    }
    assert!(acknowledged.len() > 100, "{} were acknowledged", acknowledged.len());
    assert!(store.ready().is_ok());
}
