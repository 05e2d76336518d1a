//! A log whose first events were removed, as retention will do: every reader starts at the first
//! id, and every follower of the log moves on over ids without an event.

use std::time::{Duration, Instant};

use conn_log_core::{EventFilter, EventQuery, Order, Position, Start, Timestamp};
use conn_log_store::{
    DeviceFilter, LogBounds, PageQuery, PageStart, StatisticsQuery, Store, StoreOptions,
};

use conn_log_test_support::*;

fn options(db: &TestDatabase) -> StoreOptions {
    StoreOptions { index_run_events: 20, projections: false, indexing: false, ..db.options() }
}

/// Removes every event below an id, and sets the log's first id.
fn begin_at(db: &TestDatabase, first_id: i64) {
    db.execute(&format!("DELETE FROM events WHERE tenant_id = 1 AND id < {first_id}"));
    db.execute(&format!("UPDATE heads SET first_id = {first_id} WHERE tenant_id = 1"));
}

fn ids_of(store: &Store, query: &EventQuery) -> Vec<i64> {
    store.event_list(DEFAULT, query).unwrap().records.iter().map(|record| record.id).collect()
}

fn device_count(store: &Store) -> Vec<(String, i64)> {
    let page = PageQuery { start: PageStart::First, limit: 100 };
    let devices = store.device_list(DEFAULT, &DeviceFilter::default(), &page).unwrap().items;
    devices.into_iter().map(|device| (device.device_id, device.events)).collect()
}

fn event_count(store: &Store) -> u64 {
    let answer = store.statistics(DEFAULT, &StatisticsQuery::default()).unwrap();
    answer.rows(0..10).map(|row| row.figures.events).sum()
}

fn step_to_the_end(store: &Store) {
    let mut steps = 0;
    while store.projections_behind(DEFAULT).unwrap() > 0 {
        store.projections_step(DEFAULT, 7).unwrap();
        steps += 1;
        assert!(steps < 1_000, "the followers do not move on");
    }
}

/// Runs a store with its threads, until the index and the projections are at the end of the log.
fn derive_by_threads(db: &TestDatabase) {
    let store = StoreOptions { projections: true, indexing: true, ..options(db) };
    let store = Store::open(store).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while store.projections_behind(DEFAULT).unwrap() > 0 || store.index_lag(DEFAULT).unwrap() >= 20
    {
        assert!(Instant::now() < until, "something is never derived");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(store.close());
}

on_both_databases! {
    async fn a_log_says_where_it_begins_and_every_list_begins_there(db) {
        let store = Store::open(options(&db)).unwrap();
        assert_eq!(store.log_bounds(DEFAULT).unwrap(), LogBounds { first_id: 1, size: 0 });
        append(&store, events("dev_1", 60)).await.unwrap();
        append(&store, events("dev_2", 40)).await.unwrap();
        derive_by_threads(&db);
        begin_at(&db, 50);
        assert_eq!(store.log_bounds(DEFAULT).unwrap(), LogBounds { first_id: 50, size: 100 });
        let orders = [
            Order::IdAscending,
            Order::IdDescending,
            Order::TimestampAscending,
            Order::TimestampDescending,
        ];
        let device = EventFilter { device_ids: vec!["dev_1".into()], ..EventFilter::default() };
        for order in orders {
            for (filter, last) in [(EventFilter::default(), 100), (device.clone(), 60)] {
                let query = EventQuery { filter, order, start: Start::First, limit: 1_000 };
                let mut ids = ids_of(&store, &query);
                if matches!(order, Order::IdDescending | Order::TimestampDescending) {
                    ids.reverse();
                }
                assert_eq!(ids, (50..=last).collect::<Vec<i64>>(), "{order:?}");
            }
        }
        let start = Start::After(Position { id: 7, timestamp: Timestamp::EPOCH });
        let feed =
            EventQuery { start, order: Order::IdAscending, limit: 3, ..EventQuery::default() };
        assert_eq!(ids_of(&store, &feed), [50, 51, 52]);
        assert_eq!(store.event_get(DEFAULT, 49).unwrap(), None);
        assert_eq!(ids(&append(&store, events("dev_3", 1)).await.unwrap()), [101]);
    }

    async fn a_follower_that_restarts_begins_at_the_first_id(db) {
        let store = Store::open(options(&db)).unwrap();
        append(&store, events("dev_1", 60)).await.unwrap();
        append(&store, events("dev_2", 40)).await.unwrap();
        step_to_the_end(&store);
        begin_at(&db, 50);
        assert_eq!(device_count(&store), [("dev_1".to_owned(), 60), ("dev_2".to_owned(), 40)]);
        for name in ["presence", "sessions", "statistics", "index"] {
            store.rebuild(DEFAULT, name).unwrap().unwrap();
        }
        assert_eq!(device_count(&store), [("dev_1".to_owned(), 11), ("dev_2".to_owned(), 40)]);
        assert_eq!(event_count(&store), 51);
        step_to_the_end(&store);
        derive_by_threads(&db);
        assert_eq!(device_count(&store), [("dev_1".to_owned(), 11), ("dev_2".to_owned(), 40)]);
        assert_eq!(event_count(&store), 51);
    }

    async fn a_rebuild_moves_over_ids_that_have_no_event_any_more(db) {
        let store = Store::open(options(&db)).unwrap();
        append(&store, events("dev_1", 100)).await.unwrap();
        step_to_the_end(&store);
        // A dormant tenant whose events were all dropped; the head row does not say so.
        db.execute("DELETE FROM events");
        store.rebuild(DEFAULT, "presence").unwrap().unwrap();
        assert_eq!(device_count(&store), []);
        step_to_the_end(&store);
        assert_eq!(device_count(&store), []);
        append(&store, events("dev_2", 5)).await.unwrap();
        assert_eq!(device_count(&store), [("dev_2".to_owned(), 5)]);
    }

    async fn an_index_moves_over_ids_that_have_no_event_any_more(db) {
        let store = Store::open(options(&db)).unwrap();
        append(&store, events("dev_1", 100)).await.unwrap();
        db.execute("DELETE FROM events WHERE id > 10");
        derive_by_threads(&db);
        append(&store, events("dev_2", 45)).await.unwrap();
        derive_by_threads(&db);
        let device_ids = vec!["dev_1".to_owned(), "dev_2".to_owned()];
        let filter = EventFilter { device_ids, ..EventFilter::default() };
        let query =
            EventQuery { filter, order: Order::IdAscending, start: Start::First, limit: 100 };
        assert_eq!(ids_of(&store, &query), (1..=10).chain(101..=145).collect::<Vec<i64>>());
    }

    async fn data_of_a_lower_version_is_rebuilt(db) {
        let store = Store::open(options(&db)).unwrap();
        append(&store, events("dev_1", 30)).await.unwrap();
        step_to_the_end(&store);
        let file = if db.backend() == Backend::Sqlite { "derived." } else { "" };
        db.execute(&format!("UPDATE {file}devices SET events = 1000"));
        db.execute(&format!("UPDATE {file}positions SET version = 0 WHERE name = 'presence'"));
        assert_eq!(device_count(&store), [("dev_1".to_owned(), 30)]);
        derive_by_threads(&db);
        assert_eq!(device_count(&store), [("dev_1".to_owned(), 30)]);
    }

    async fn data_of_a_higher_version_is_left_to_the_newer_server(db) {
        let store = Store::open(options(&db)).unwrap();
        append(&store, events("dev_1", 30)).await.unwrap();
        step_to_the_end(&store);
        let file = if db.backend() == Backend::Sqlite { "derived." } else { "" };
        db.execute(&format!("UPDATE {file}positions SET version = 9 WHERE name = 'statistics'"));
        append(&store, events("dev_1", 5)).await.unwrap();
        store.projections_step(DEFAULT, 100).unwrap();
        assert_eq!(device_count(&store), [("dev_1".to_owned(), 35)]);
        let refused = store.statistics(DEFAULT, &StatisticsQuery::default()).unwrap_err();
        assert!(refused.to_string().contains("newer"), "{refused}");
    }
}
