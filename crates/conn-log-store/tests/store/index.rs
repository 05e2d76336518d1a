//! Lists are the same at every state of the index: while it is built, after it is dropped, after a
//! restart. Tests within the crate compare each of its states with filtering in memory.

use std::time::{Duration, Instant};

use conn_log_core::{Event, EventFilter, EventQuery, Order, Position, Record, Start, Timestamp};
use conn_log_store::{StatisticsError, StatisticsQuery, Store, StoreError, StoreOptions};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;

const EVENTS: usize = 3_000;

/// Runs so small that a few thousand events make runs of every level.
fn options(db: &TestDatabase) -> StoreOptions {
    StoreOptions { index_run_events: 20, ..db.options() }
}

/// Events of 30 devices, every 37th of them up to an hour late.
fn varied() -> Vec<Event> {
    (0..EVENTS)
        .map(|n| {
            let number = i64::try_from(n).unwrap();
            let mut parts = parts(&format!("dev_{}", n * 7 % 30));
            let late = if n % 37 == 0 { number * 13 % 3_600 } else { 0 };
            parts.timestamp =
                Timestamp::from_micros(1_700_000_000_000_000 + (number * 10 - late) * 1_000_000);
            parts.application_id = format!("app_{}", n % 5);
            parts.status = ["success", "success", "failure"][n % 11 % 3].to_owned();
            parts.session_id = (n % 3 > 0).then(|| format!("sess_{}", n / 9));
            parts.ip_address = Some([10, 0, u8::try_from(n % 7).unwrap(), 1].into());
            Event::from_store(parts)
        })
        .collect()
}

fn filters() -> Vec<EventFilter> {
    let none = EventFilter::default;
    let at =
        |seconds: i64| Some(Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000));
    let some = |text: &str| vec![text.to_owned()];
    let window = |from, to| EventFilter { since: at(from), until: at(to), ..none() };
    vec![
        none(),
        EventFilter { device_ids: some("dev_3"), ..none() },
        EventFilter { device_ids: some("nowhere"), ..none() },
        EventFilter { session_id: Some("sess_100".into()), ..none() },
        EventFilter { application_ids: some("app_2"), statuses: some("failure"), ..none() },
        window(9_000, 9_100),
        window(5_000, 20_000),
        EventFilter { since: at(15_000), ..none() },
        EventFilter { until: at(2_000), ..none() },
        EventFilter { ip_network: Some("10.0.3.0/24".parse().unwrap()), ..window(5_000, 20_000) },
        EventFilter { ip_network: Some("10.0.0.0/8".parse().unwrap()), ..window(5_000, 20_000) },
        EventFilter { ip_network: Some("10.9.0.0/16".parse().unwrap()), ..window(5_000, 20_000) },
        EventFilter {
            application_ids: some("app_1"),
            statuses: some("failure"),
            ..window(5_000, 20_000)
        },
    ]
}

/// Compares each list, page by page, with filtering and sorting in memory.
fn check(store: &Store, all: &[Record]) {
    for filter in filters() {
        for order in [
            Order::IdAscending,
            Order::IdDescending,
            Order::TimestampAscending,
            Order::TimestampDescending,
        ] {
            let mut expected: Vec<&Record> =
                all.iter().filter(|record| filter.matches(&record.event)).collect();
            if matches!(order, Order::TimestampAscending | Order::TimestampDescending) {
                expected.sort_by_key(|record| (record.event.fields().timestamp, record.id));
            }
            if matches!(order, Order::IdDescending | Order::TimestampDescending) {
                expected.reverse();
            }
            let mut found = Vec::new();
            let mut start = Start::First;
            loop {
                let query = EventQuery { filter: filter.clone(), order, start, limit: 400 };
                let page = store.event_list(DEFAULT, &query).unwrap();
                found.extend(page.records);
                assert_eq!(page.has_more, found.len() < expected.len(), "{filter:?} {order:?}");
                if !page.has_more {
                    break;
                }
                let last = found.last().unwrap();
                let timestamp = last.event.fields().timestamp;
                start = Start::After(Position { timestamp, id: last.id });
            }
            assert!(found.iter().eq(expected), "{filter:?} {order:?}");
        }
    }
}

fn wait_for_index(store: &Store) {
    let begun = Instant::now();
    while store.index_lag(DEFAULT).unwrap() >= 20 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the index does not catch up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn fill(store: &Store) -> Vec<Record> {
    let mut all = Vec::new();
    for some in varied().chunks(500) {
        let appended = append(store, some.to_vec()).await.unwrap();
        all.extend(appended.iter().map(|event| event.record().unwrap().clone()));
    }
    all
}

on_both_databases! {
    async fn lists_are_exact_while_the_index_is_made_and_after(db) {
        let store = Store::open(options(&db)).unwrap();
        let all = fill(&store).await;
        check(&store, &all);
        wait_for_index(&store);
        check(&store, &all);
        store.rebuild(DEFAULT, "index").unwrap().unwrap();
        check(&store, &all);
        wait_for_index(&store);
        check(&store, &all);
    }

    async fn an_index_begun_by_one_store_is_gone_on_with_by_the_next(db) {
        let store = Store::open(StoreOptions { index_run_events: 1_000_000, ..db.options() }).unwrap();
        let all = fill(&store).await;
        store.close();
        // The store is closed at once, during any work of the index.
        for pause in [0, 3, 10, 30] {
            let store = Store::open(options(&db)).unwrap();
            std::thread::sleep(Duration::from_millis(pause));
            store.close();
        }
        let store = Store::open(options(&db)).unwrap();
        check(&store, &all);
        wait_for_index(&store);
        check(&store, &all);
    }

    async fn a_log_whose_index_is_damaged_keeps_no_other_from_its_own(db) {
        let store = Store::open(options(&db)).unwrap();
        // Fifteen runs of the smallest size: with one more run they are merged.
        for _ in 0..3 {
            append(&store, events("dev_1", 100)).await.unwrap();
            wait_for_index(&store);
        }
        let damaged = match db.backend() {
            Backend::Sqlite => "x'ff'",
            Backend::Postgres => "'\\xff'",
        };
        db.execute(&format!("UPDATE index_blocks SET entries = {damaged}"));
        let other = store.tenant_create("other").unwrap().id;
        // From here on the damaged runs are due for a merge, again and again.
        append(&store, events("dev_1", 40)).await.unwrap();
        append_to(&store, other, events("dev_2", 100)).await.unwrap();
        let begun = Instant::now();
        while store.index_lag(other).unwrap() >= 20 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the other log is not indexed");
            std::thread::sleep(Duration::from_millis(10));
        }
        // A damaged index is reported, and built again.
        let nowhere = EventFilter { device_ids: vec!["nowhere".to_owned()], ..EventFilter::default() };
        let query = EventQuery { filter: nowhere, ..EventQuery::default() };
        assert!(matches!(store.event_list(DEFAULT, &query), Err(StoreError::Internal(_))));
        store.rebuild(DEFAULT, "index").unwrap().unwrap();
        assert!(store.event_list(DEFAULT, &query).unwrap().records.is_empty());
    }

    async fn a_read_ends_when_its_time_is_over(db) {
        let store = db.open();
        append(&store, varied()).await.unwrap();
        store.close();
        // PostgreSQL ends a statement itself. Its limit here is long enough for every statement
        // that does not wait for the lock.
        let read_time_max = match db.backend() {
            Backend::Sqlite => Duration::ZERO,
            Backend::Postgres => Duration::from_millis(500),
        };
        let options = StoreOptions { read_time_max, ..db.options() };
        let store = Store::open(options).unwrap();
        let query = EventQuery {
            filter: EventFilter { min_duration: Some(1e9), ..EventFilter::default() },
            limit: 1,
            ..EventQuery::default()
        };
        if db.backend() == Backend::Postgres {
            // The holder of this lock makes every read of the table wait longer than its limit.
            let mut holder = db.postgres();
            holder
                .batch_execute("BEGIN; LOCK TABLE events, rollups IN ACCESS EXCLUSIVE MODE").unwrap();
            let late = store.event_list(DEFAULT, &query);
            assert!(matches!(late, Err(StoreError::QueryTimeout)), "{late:?}");
            let late = store.statistics(DEFAULT, &StatisticsQuery::default());
            let is_late = matches!(late, Err(StatisticsError::Store(StoreError::QueryTimeout)));
            assert!(is_late, "{:?}", late.err());
        } else {
            let late = store.event_list(DEFAULT, &query);
            assert!(matches!(late, Err(StoreError::QueryTimeout)), "{late:?}");
        }
    }

    async fn a_list_up_to_an_id_ends_there(db) {
        let store = Store::open(options(&db)).unwrap();
        let all = fill(&store).await;
        for filter in filters() {
            for last in [1, 77, 700, i64::MAX] {
                let expected = all.iter().filter(|record| record.id <= last);
                let expected = expected.filter(|record| filter.matches(&record.event));
                let query = EventQuery {
                    filter: filter.clone(),
                    order: Order::IdAscending,
                    start: Start::After(Position { timestamp: Timestamp::EPOCH, id: 5 }),
                    limit: 10_000,
                };
                let page = store.event_list_to(DEFAULT, &query, last).unwrap();
                assert!(page.records.iter().eq(expected.filter(|record| record.id > 5)), "{filter:?}");
            }
        }
    }
}
