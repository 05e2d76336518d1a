//! A database that fails under load: no acknowledged event is lost, and none is stored twice.

use std::collections::HashMap;
use std::time::Duration;

use conn_log_core::{Event, EventQuery, Order};
use conn_log_store::{AppendError, Store, StoreOptions};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::proxy::Proxy;

on_both_databases! {
    async fn sessions_that_are_ended_under_load_lose_and_double_nothing(db) {
        let store = db.open();
        let load = load(&store);
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            db.end_sessions();
        }
        hold_against_log(&store, load).await;
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
        if db.backend() == Backend::Postgres {
            assert_eq!(bad, Err(AppendError::Internal));
            assert_eq!(store.log_size(DEFAULT).unwrap(), 31);
        }
        assert!(store.ready().is_ok());
    }

    async fn a_fault_of_the_tables_is_reported_until_it_is_repaired(db) {
        let store = db.open();
        append(&store, events("dev", 1)).await.unwrap();
        let (break_it, mend_it) =
            ("ALTER TABLE events RENAME TO gone", "ALTER TABLE gone RENAME TO events");
        db.execute(break_it);
        assert_eq!(append(&store, events("dev", 1)).await, Err(AppendError::Internal));
        db.execute(mend_it);
        assert_eq!(ids(&append(&store, events("dev", 1)).await.unwrap()), [2]);
    }
}

/// A server's texts are in its own language, and the store does not read them: a passing fault is
/// retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fault_that_passes_is_tried_again_whatever_the_server_calls_it() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    append(&store, events("dev", 1)).await.unwrap();
    // One deadlock, with a German text. A rollback does not reset a sequence.
    db.execute(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('tries') = 1 THEN
                 RAISE EXCEPTION 'Verklemmung entdeckt' USING ERRCODE = 'deadlock_detected';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail_once BEFORE UPDATE ON heads FOR EACH ROW EXECUTE FUNCTION fail_once()",
    );
    assert_eq!(ids(&append(&store, events("dev", 2)).await.unwrap()), [2, 3]);
}

/// Otherwise readers could take all connections of a small server, and no event could be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_writer_has_its_connection_before_anyone_asks() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    let (host, name) = db.host_and_name();
    let mut another =
        PgConnection::establish(&format!("postgres://postgres@{host}/postgres")).unwrap();
    another.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).unwrap();
    assert_eq!(ids(&append(&store, events("dev", 1)).await.unwrap()), [1]);
}

/// A full disk refuses all events, and no event is the cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_cannot_write_is_unavailable_whatever_the_server_says() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    append(&store, events("dev", 1)).await.unwrap();
    db.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'kein Platz' USING ERRCODE = 'disk_full';
         END $$;
         CREATE TRIGGER no_room BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_room();
         CREATE TRIGGER no_room BEFORE INSERT ON idempotency_keys
             FOR EACH ROW EXECUTE FUNCTION no_room()",
    );
    assert_eq!(append(&store, events("dev", 2)).await, Err(AppendError::Unavailable));
    assert!(store.ready().is_err());
    db.execute("DROP FUNCTION no_room() CASCADE");
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while append(&store, events("dev", 1)).await.is_err() {
        assert!(std::time::Instant::now() < until, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.log_size(DEFAULT).unwrap(), 2);
}

/// A session sets `synchronous_commit`, but a pooler, a trigger or a node of Citus may have another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_no_longer_waits_for_the_disk_gets_no_event_until_it_does() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    append(&store, events("dev", 1)).await.unwrap();
    db.execute(
        "CREATE FUNCTION in_haste() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM set_config('synchronous_commit', 'off', true);
             RETURN NEW;
         END $$;
         CREATE TRIGGER in_haste BEFORE UPDATE ON heads FOR EACH ROW EXECUTE FUNCTION in_haste()",
    );
    // A new session is asked at its first append, and a session again after ten seconds.
    db.end_sessions();
    assert_eq!(append(&store, events("dev", 1)).await, Err(AppendError::Unavailable));
    assert!(store.ready().is_err());
    assert!(!store.stats().available);
    db.execute("DROP FUNCTION in_haste() CASCADE");
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while append(&store, events("dev", 1)).await.is_err() {
        assert!(std::time::Instant::now() < until, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.log_size(DEFAULT).unwrap(), 2);
}

/// A disk with room for a small row, and not for a large batch: no event is the cause either.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_with_room_for_little_is_unavailable_for_much() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    db.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'kein Platz' USING ERRCODE = 'disk_full';
         END $$;
         CREATE TRIGGER no_room BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_room();
         CREATE TRIGGER no_room BEFORE INSERT ON idempotency_keys
             FOR EACH ROW WHEN (octet_length(NEW.answer) > 500000) EXECUTE FUNCTION no_room()",
    );
    assert_eq!(append(&store, events("dev", 2_000)).await, Err(AppendError::Unavailable));
}

/// Memory that is short for a moment has the same lack of a kind as a fault of the events.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fault_that_passes_while_its_cause_is_looked_for_is_none_of_the_events() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    db.execute(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('tries') <= 2 THEN
                 RAISE EXCEPTION 'Speicher' USING ERRCODE = 'out_of_memory';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail_twice BEFORE INSERT ON events
             FOR EACH ROW EXECUTE FUNCTION fail_twice()",
    );
    assert_eq!(ids(&append(&store, events("dev", 1)).await.unwrap()), [1]);
}

/// The commit worked and its answer was lost: the writer finds this out, and does not store the
/// events again.
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

/// With a real server in another language, instead of simulated errors.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_speaks_german_is_understood() {
    let Some(cluster) = Cluster::start_german() else { return };
    let store = Store::open(StoreOptions::new(cluster.url().parse().unwrap())).unwrap();
    let mut admin = PgConnection::establish(&cluster.url()).unwrap();
    let load = load(&store);
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        admin
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name = 'conn-log' AND pid <> pg_backend_pid()",
            )
            .unwrap();
    }
    hold_against_log(&store, load).await;
    // A writer's statement that an administrator cancels is retried.
    let before = store.log_size(DEFAULT).unwrap();
    admin.batch_execute("BEGIN; LOCK TABLE heads").unwrap();
    let appending = tokio::spawn({
        let store = store.clone();
        async move { append(&store, events("dev_last", 1)).await }
    });
    let mut canceller = PgConnection::establish(&cluster.url()).unwrap();
    let cancel = "SELECT count(pg_cancel_backend(pid)) AS count FROM pg_stat_activity
         WHERE application_name = 'conn-log' AND wait_event_type = 'Lock'";
    while diesel::sql_query(cancel).get_result::<Count>(&mut canceller).unwrap().count == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    admin.batch_execute("ROLLBACK").unwrap();
    assert_eq!(ids(&appending.await.unwrap().unwrap()), [before + 1]);
    store.close();
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

/// The server crashes under load and comes back: the store recovers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_under_load_loses_and_doubles_nothing() {
    let Some(cluster) = Cluster::start_new() else {
        return;
    };
    let store = Store::open(cluster.options()).unwrap();
    let mut load = load(&store);
    load.acknowledged.wait_for(|count| *count >= 100).await.unwrap();
    cluster.crash();
    // Longer than the writer retries: it gives up, reports it, and tries to reach the server.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(append(&store, vec![event("away")]).await, Err(AppendError::Unavailable));
    assert!(store.ready().is_err());
    cluster.start();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while append(&store, vec![event("back")]).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    hold_against_log(&store, load).await;
    store.close();
}

/// The events acknowledged to one client: devices, each with only one event, and ids.
type Acknowledged = Vec<(String, i64)>;

/// Clients that append.
struct Load {
    clients: Vec<JoinHandle<Acknowledged>>,
    /// The number of events acknowledged to all of them.
    acknowledged: watch::Receiver<usize>,
}

const CLIENTS: usize = 6;

/// The number of acknowledged events after which a client ends.
const EVENTS_OF_EACH: usize = 150;

/// Starts clients that append events one by one, and continue with the next if one is refused.
fn load(store: &Store) -> Load {
    let (sender, acknowledged) = watch::channel(0);
    let client = |client: usize| {
        let (store, sender) = (store.clone(), sender.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let device = format!("dev_{client}_{n}");
                match append(&store, vec![event(&device)]).await {
                    Ok(appended) => {
                        acknowledged.push((device, ids(&appended)[0]));
                        sender.send_modify(|count| *count += 1);
                    }
                    Err(error) => {
                        assert_eq!(error, AppendError::Unavailable);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                if acknowledged.len() == EVENTS_OF_EACH {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            acknowledged
        })
    };
    Load { clients: (0..CLIENTS).map(client).collect(), acknowledged }
}

/// Checks that all acknowledged events are in the log under their ids, once, and that ids have no
/// gap.
async fn hold_against_log(store: &Store, load: Load) {
    let mut acknowledged = Vec::new();
    for client in load.clients {
        let of_one = tokio::time::timeout(Duration::from_mins(1), client).await;
        acknowledged.extend(of_one.expect("the clients get on").unwrap());
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
    assert_eq!(acknowledged.len(), CLIENTS * EVENTS_OF_EACH);
    assert!(store.ready().is_ok());
}
