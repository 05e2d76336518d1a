//! Appending: ids, durability, order, bounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use conn_log_core::{Event, Record, Timestamp};
use conn_log_store::{
    AppendError, Appended, GroupCommitted, Observer, Store, StoreOptions, Submission, TenantId,
};
use conn_log_test_support::*;
use proptest::prelude::*;

on_both_databases! {
    async fn an_event_is_read_back_as_it_was_answered(db) {
        let store = db.open();
        let appended = append(&store, events("dev_1", 3)).await.unwrap();
        assert_eq!(ids(&appended), [1, 2, 3]);
        for answer in &appended {
            let record = answer.record().unwrap();
            assert_eq!(store.event_get(DEFAULT, record.id).unwrap().as_ref(), Some(record));
        }
        assert_eq!(store.event_get(DEFAULT, 4).unwrap(), None);
        assert_eq!(store.log_size(DEFAULT).unwrap(), 3);
    }

    async fn an_event_that_was_answered_is_there_after_reopening(db) {
        let store = db.open();
        let appended = append(&store, events("dev_1", 20)).await.unwrap();
        store.close();
        let store = db.open();
        let stored: Vec<Record> = appended.iter().map(|a| a.record().unwrap().clone()).collect();
        assert_eq!(whole_log(&store, DEFAULT), stored);
        assert_eq!(ids(&append(&store, events("dev_1", 1)).await.unwrap()), [21]);
    }

    async fn time_does_not_run_backwards_after_a_clock_that_was_ahead(db) {
        let store = db.open();
        append(&store, events("dev_1", 1)).await.unwrap();
        db.execute(match db.backend() {
            Backend::Sqlite => "UPDATE heads SET created_at_last = created_at_last + 86400000000",
            Backend::Postgres => {
                "UPDATE heads SET created_at_last =
                     (created_at_last AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'"
            }
        });
        for _ in 0..3 {
            append(&store, events("dev_1", 1)).await.unwrap();
        }
        let times: Vec<Timestamp> =
            whole_log(&store, DEFAULT).iter().map(|record| record.created_at).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(times[1].micros() - times[0].micros() >= 86_400_000_000, "{times:?}");
    }

    async fn ids_have_no_gap_and_follow_time_under_concurrent_appends(db) {
        // On PostgreSQL there are two stores, like two server processes.
        let first = db.open();
        let second = if db.backend() == Backend::Postgres { db.open() } else { first.clone() };
        let mut tasks = Vec::new();
        for task in 0..8_usize {
            let store = if task % 2 == 0 { first.clone() } else { second.clone() };
            tasks.push(tokio::spawn(async move {
                let mut all = Vec::new();
                for round in 0..25 {
                    let count = if round % 5 == 0 { 40 } else { 1 + task % 3 };
                    let given = ids(&append(&store, events("dev", count)).await.unwrap());
                    let consecutive: Vec<i64> = (given[0]..).take(count).collect();
                    assert_eq!(given, consecutive, "a submission is never split");
                    all.extend(given);
                }
                all
            }));
        }
        let mut given = Vec::new();
        for task in tasks {
            given.extend(task.await.unwrap());
        }
        given.sort_unstable();
        let size = i64::try_from(given.len()).unwrap();
        assert_eq!(given, (1..=size).collect::<Vec<_>>());
        let log = whole_log(&first, DEFAULT);
        assert_eq!(log.iter().map(|r| r.id).collect::<Vec<_>>(), given);
        assert!(log.is_sorted_by_key(|record| record.created_at));
    }

    async fn a_woken_reader_sees_every_earlier_commit(db) {
        let store = db.open();
        let writing = if db.backend() == Backend::Postgres { db.open() } else { store.clone() };
        let mut commits = store.commits();
        let writer = tokio::spawn(async move {
            for _ in 0..100 {
                append(&writing, events("dev", 2)).await.unwrap();
            }
        });
        let mut seen = 0;
        let deadline = std::time::Duration::from_secs(30);
        while seen < 200 {
            tokio::time::timeout(deadline, commits.changed()).await.expect("a wake-up").unwrap();
            for record in whole_log(&store, DEFAULT).iter().skip(seen) {
                seen += 1;
                assert_eq!(record.id, i64::try_from(seen).unwrap());
            }
        }
        writer.await.unwrap();
    }

    async fn a_tenant_sees_its_own_log_only(db) {
        let store = db.open();
        let other = store.tenant_create("other").unwrap().id;
        append(&store, events("mine", 2)).await.unwrap();
        assert_eq!(ids(&append_to(&store, other, events("theirs", 1)).await.unwrap()), [1]);
        assert_eq!(whole_log(&store, DEFAULT).len(), 2);
        assert_eq!(whole_log(&store, other).len(), 1);
        assert_eq!(store.event_get(other, 2).unwrap(), None);
        assert_eq!(store.event_get(other, 1).unwrap().unwrap().event, event("theirs"));
    }

    async fn a_log_that_has_all_its_ids_takes_nothing_more(db) {
        let store = db.open();
        append(&store, events("dev", 1)).await.unwrap();
        let last = (1_i64 << 44) - 2;
        db.execute(&format!("UPDATE heads SET size = {}", last - 1));
        assert_eq!(append(&store, events("dev", 2)).await, Err(AppendError::Internal));
        assert_eq!(store.log_size(DEFAULT).unwrap(), last - 1);
        assert_eq!(ids(&append(&store, events("last", 1)).await.unwrap()), [last]);
        assert_eq!(append(&store, events("dev", 1)).await, Err(AppendError::Internal));
        assert_eq!(store.event_get(DEFAULT, last).unwrap().unwrap().event, event("last"));
        assert_eq!(store.event_get(DEFAULT, last + 1).unwrap(), None);
    }

    async fn a_tenant_that_does_not_exist_has_no_log(db) {
        let store = db.open();
        let nowhere = TenantId(99);
        assert_eq!(append_to(&store, nowhere, events("dev", 1)).await, Err(AppendError::Internal));
        assert!(store.log_size(nowhere).is_err());
        // Other submissions are not affected.
        let (good, bad) = tokio::join!(
            append(&store, events("dev", 1)),
            append_to(&store, nowhere, events("dev", 1)),
        );
        assert_eq!(ids(&good.unwrap()), [1]);
        assert_eq!(bad, Err(AppendError::Internal));
    }

    async fn a_full_queue_refuses_at_once_and_stores_nothing(db) {
        let mut options = db.options();
        options.queue_events_max = 50;
        let store = Store::open(options).unwrap();
        assert_eq!(append(&store, events("big", 51)).await, Err(AppendError::Overloaded));
        let mut tasks = Vec::new();
        for _ in 0..200 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { append(&store, events("dev", 10)).await }));
        }
        let mut stored = 0;
        let mut refused = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(appended) => stored += appended.len(),
                Err(error) => {
                    assert_eq!(error, AppendError::Overloaded);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "200 submissions do not fit into a queue of 5");
        assert_eq!(whole_log(&store, DEFAULT).len(), stored);
        assert_eq!(store.stats().queue_events, 0);
        assert_eq!(store.stats().queue_bytes, 0);
    }

    async fn a_queue_full_of_bytes_refuses(db) {
        let mut options = db.options();
        options.queue_bytes_max = 1_000;
        let store = Store::open(options).unwrap();
        let mut big = parts("dev");
        big.metadata = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000));
        let big = vec![Event::from_store(big)];
        // With an empty queue it is accepted: it would never fit.
        assert_eq!(ids(&append(&store, big.clone()).await.unwrap()), [1]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (store, big) = (store.clone(), big.clone());
            tasks.spawn(async move { append(&store, big).await });
        }
        let all = tasks.join_all().await;
        let (stored, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
        assert!(!stored.is_empty() && !refused.is_empty());
        assert!(refused.into_iter().all(|refused| refused == Err(AppendError::Overloaded)));
        assert_eq!(whole_log(&store, DEFAULT).len(), 1 + stored.len());
        assert_eq!(store.stats().queue_bytes, 0);
    }

    async fn a_closed_store_finishes_accepted_events_and_refuses_the_rest(db) {
        let store = db.open();
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { append(&store, events("dev", 1)).await }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let kept = store.clone();
        store.close();
        assert_eq!(append(&kept, events("dev", 1)).await, Err(AppendError::Closed));
        let mut stored = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(appended) => stored.extend(ids(&appended)),
                Err(error) => assert_eq!(error, AppendError::Closed),
            }
        }
        stored.sort_unstable();
        let log = whole_log(&db.open(), DEFAULT);
        assert_eq!(log.iter().map(|record| record.id).collect::<Vec<_>>(), stored);
    }

    async fn events_that_arrive_together_are_committed_together(db) {
        #[derive(Default)]
        struct Groups(Mutex<Vec<GroupCommitted>>);
        impl Observer for Groups {
            fn group_committed(&self, group: GroupCommitted) {
                self.0.lock().unwrap().push(group);
            }
        }
        let groups = Arc::new(Groups::default());
        let mut options = db.options();
        options.observer = Some(groups.clone());
        let store = Store::open(options).unwrap();
        let tasks: Vec<_> = (0..300)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { append(&store, events("dev", 1)).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let groups = groups.0.lock().unwrap();
        assert_eq!(groups.iter().map(|group| group.events_stored).sum::<usize>(), 300);
        assert!(groups.len() < 200, "{} commits for 300 submissions", groups.len());
    }

    async fn records_read_back_equal_whatever_is_in_them(db) {
        let store = db.open();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runner.run(&proptest::collection::vec(any_event(), 1..20), |events| {
                let appended = handle.block_on(append(&store, events.clone())).unwrap();
                for (appended, event) in appended.iter().zip(events) {
                    let Appended::Stored(record) = appended else { panic!("{appended:?}") };
                    prop_assert_eq!(&record.event, &event);
                    let read = store.event_get(DEFAULT, record.id).unwrap().unwrap();
                    prop_assert_eq!(&read, record);
                    prop_assert_eq!(read.leaf_hash(), record.leaf_hash());
                }
                Ok(())
            })
        })
        .unwrap();
    }

    async fn an_empty_submission_is_answered(db) {
        let store = db.open();
        assert_eq!(append(&store, Vec::new()).await, Ok(Vec::new()));
        let claimed = Submission { tenant: DEFAULT, events: Vec::new(), atomic: false, claim: Some(claim("k", 1)), rejects: None };
        store.append(claimed).await.unwrap();
    }
}

fn any_text() -> impl Strategy<Value = String> {
    // Any characters but U+0000, with quotes and backslashes of each layer among them.
    prop_oneof![
        "[^\\x00]{1,40}",
        Just("\\N".to_owned()),
        Just("tab\tline\r\nquote\"'\\end".to_owned()),
        Just("𝄞 é e\u{301} \u{202e}rtl \u{ffff}".to_owned()),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let number = prop_oneof![
        proptest::num::f64::NORMAL,
        Just(0.1 + 0.2),
        Just(5e-324),
        Just(1e300),
        Just(9_007_199_254_740_991.0),
    ];
    let metadata = proptest::collection::btree_map(any_text(), (any_text(), number), 0..5)
        .prop_map(|members| {
            let object: serde_json::Map<String, serde_json::Value> = members
                .into_iter()
                .map(|(name, (text, number))| (name, serde_json::json!([text, number, null, true])))
                .collect();
            serde_json_canonicalizer::to_string(&object).unwrap()
        });
    let times = (0..=Timestamp::MAX.micros()).prop_map(Timestamp::from_micros);
    let duration = proptest::option::of(prop_oneof![0.0..1e9, Just(f64::MIN_POSITIVE), Just(0.1)]);
    (
        (any_text(), any_text(), times, proptest::option::of(any::<std::net::IpAddr>())),
        (proptest::option::of(any_text()), proptest::option::of(any_text())),
        (duration, metadata),
    )
        .prop_map(
            |((device, application, timestamp, ip), (agent, session), (duration, metadata))| {
                let mut parts = parts(&device);
                parts.application_id = application;
                parts.timestamp = timestamp;
                parts.ip_address = ip;
                parts.user_agent = agent;
                parts.session_id = session;
                parts.duration = duration;
                parts.metadata = metadata;
                Event::from_store(parts)
            },
        )
}

#[derive(diesel::QueryableByName)]
struct Pages {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    log: i32,
    #[diesel(sql_type = diesel::sql_types::Integer)]
    checkpointed: i32,
}

/// A store with only its writer and its checkpointer, and a function for the length of its
/// write-ahead log.
fn store_and_its_log() -> (TestDatabase, Store, impl FnMut() -> Pages) {
    use diesel::prelude::*;
    let database = TestDatabase::new(Backend::Sqlite).unwrap();
    let still = StoreOptions { projections: false, indexing: false, ..database.options() };
    let store = Store::open(still).unwrap();
    let mut sqlite = database.sqlite();
    let pages =
        move || diesel::sql_query("PRAGMA wal_checkpoint(NOOP)").get_result(&mut sqlite).unwrap();
    (database, store, pages)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_is_copied_beside_the_commits() {
    let (_database, store, mut pages) = store_and_its_log();
    let mut log = 0;
    while log < 3_000 {
        append(&store, events("device", 1_000)).await.unwrap();
        let pages = pages();
        log = pages.log;
        if pages.checkpointed > 0 {
            store.close();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{log} pages and none copied");
}

/// About the number of pages at which the log must restart, and many times that number.
const LONG_ENOUGH: i32 = 3_500;
const LONG: i32 = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_restarts_under_load() {
    let (_database, store, mut pages) = store_and_its_log();
    let is_over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (store, is_over) = (store.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    append(&store, events("device", 100)).await.unwrap();
                }
            })
        })
        .collect();
    // The log also restarts by chance, if no commit comes between the end of a copy and the next
    // commit: sooner or much later.
    let (mut before, mut times) = (0, 0);
    while times < 5 && before < LONG {
        let log = pages().log;
        if log < before && before >= LONG_ENOUGH {
            times += 1;
        }
        before = log;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(times, 5, "then it had {before} pages");
    store.close();
}
