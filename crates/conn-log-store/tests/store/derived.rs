//! SQLite's second file: it can be lost, belong to another log, or be locked; no answer is wrong
//! and no append waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conn_log_core::{EventFilter, EventQuery, Order, Start};
use conn_log_store::{DeviceFilter, PageQuery, PageStart, Store, StoreOptions};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

/// Runs so small that a few hundred events are indexed.
fn open(db: &TestDatabase) -> Store {
    Store::open(StoreOptions { index_run_events: 20, ..db.options() }).unwrap()
}

/// A log that was restored from a backup, beside newer derived data.
fn open_restored(db: &TestDatabase) -> Store {
    let options = StoreOptions { accept_lost_events: true, index_run_events: 20, ..db.options() };
    Store::open(options).unwrap()
}

fn derived(db: &TestDatabase) -> PathBuf {
    PathBuf::from(format!("{}-derived", db.file().display()))
}

/// Closes the store and waits until its last connection has copied the write-ahead logs into the
/// files.
pub(crate) fn close(store: Store, db: &TestDatabase) {
    assert!(store.close());
    let is_open = |file: &Path| PathBuf::from(format!("{}-wal", file.display())).exists();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while is_open(&db.file()) || is_open(&derived(db)) {
        assert!(std::time::Instant::now() < until, "a connection stays open");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn append_some(store: &Store, device: &str, count: usize) {
    append(store, events(device, count)).await.unwrap();
}

/// Waits until all data is derived.
pub(crate) fn settle(store: &Store) {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while store.projections_behind(DEFAULT).unwrap() > 0 || store.index_lag(DEFAULT).unwrap() >= 20
    {
        assert!(std::time::Instant::now() < until, "something is never derived");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The number of events of each device: from the projections, and from the index.
fn counts(store: &Store) -> BTreeMap<String, (i64, i64)> {
    let page = PageQuery { start: PageStart::First, limit: 100 };
    let devices = store.device_list(DEFAULT, &DeviceFilter::default(), &page).unwrap().items;
    let count = |device: conn_log_store::Device| {
        let filter =
            EventFilter { device_ids: vec![device.device_id.clone()], ..EventFilter::default() };
        let query =
            EventQuery { filter, order: Order::IdDescending, start: Start::First, limit: 9_999 };
        let listed = store.event_list(DEFAULT, &query).unwrap().records.len();
        (device.device_id, (device.events, i64::try_from(listed).unwrap()))
    };
    devices.into_iter().map(count).collect()
}

fn expected<const N: usize>(of: [(&str, i64); N]) -> BTreeMap<String, (i64, i64)> {
    of.into_iter().map(|(device, count)| (device.to_owned(), (count, count))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_second_file_answers_as_before() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = open(&db);
    append_some(&store, "dev_1", 130).await;
    append_some(&store, "dev_2", 70).await;
    settle(&store);
    let before = counts(&store);
    assert_eq!(before, expected([("dev_1", 130), ("dev_2", 70)]));
    close(store, &db);
    std::fs::remove_file(derived(&db)).unwrap();

    let store = open(&db);
    assert_eq!(counts(&store), before);
    settle(&store);
    assert_eq!(counts(&store), before);
    assert!(store.ready().is_ok());
}

/// A log with a backup. The backup has `count` events, all of one device; the log has 70 later
/// events of another device, and derived data of these.
async fn backed_up(db: &TestDatabase, count: usize) -> PathBuf {
    let (log, backup) = (db.file(), db.file().with_extension("backup"));
    let store = open(db);
    append_some(&store, "dev_1", count).await;
    close(store, db);
    std::fs::copy(log, &backup).unwrap();
    let store = open(db);
    append_some(&store, "dev_2", 70).await;
    settle(&store);
    close(store, db);
    backup
}

/// Without this, each start would build data again that is too short for a new anchor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_happens_once() {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    // Fewer events than the index needs for a run.
    let backup = backed_up(&db, 10).await;
    let anchored_beyond = || {
        let query = "SELECT count(*) AS count FROM derived.positions
            WHERE watermark > 10 AND anchor IS NOT NULL";
        diesel::sql_query(query).get_result::<Count>(&mut db.sqlite()).unwrap().count
    };
    assert_eq!(anchored_beyond(), 4);
    std::fs::copy(&backup, db.file()).unwrap();
    let store = open_restored(&db);
    assert_eq!(counts(&store), expected([("dev_1", 10)]));
    settle(&store);
    close(store, &db);
    assert_eq!(anchored_beyond(), 0);
    let store = open(&db);
    assert_eq!(counts(&store), expected([("dev_1", 10)]));
}

/// The log is restored from a backup, and its derived data was made from more events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn derived_data_past_the_end_of_the_log_is_rebuilt() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let backup = backed_up(&db, 130).await;
    std::fs::copy(&backup, db.file()).unwrap();

    let store = open_restored(&db);
    append_some(&store, "dev_3", 200).await;
    assert_eq!(counts(&store), expected([("dev_1", 130), ("dev_3", 200)]));
    settle(&store);
    assert_eq!(counts(&store), expected([("dev_1", 130), ("dev_3", 200)]));
}

/// Two copies of a log get different events, and one copy gets the other's second file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn derived_data_of_another_log_is_rebuilt() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let of_another = derived(&db).with_extension("another");
    let backup = backed_up(&db, 130).await;
    std::fs::rename(derived(&db), &of_another).unwrap();
    std::fs::copy(&backup, db.file()).unwrap();
    let store = open(&db);
    append_some(&store, "dev_3", 300).await;
    close(store, &db);
    std::fs::rename(&of_another, derived(&db)).unwrap();

    let store = open(&db);
    assert_eq!(counts(&store), expected([("dev_1", 130), ("dev_3", 300)]));
    settle(&store);
    assert_eq!(counts(&store), expected([("dev_1", 130), ("dev_3", 300)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_does_not_wait_for_derived_data() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = open(&db);
    append_some(&store, "dev_1", 30).await;
    settle(&store);
    // Like a step that never ends.
    let mut locked = db.sqlite();
    locked.batch_execute("BEGIN; UPDATE derived.positions SET watermark = watermark").unwrap();
    for _ in 0..5 {
        append_some(&store, "dev_1", 10).await;
    }
    assert_eq!(counts(&store), expected([("dev_1", 80)]));
    locked.batch_execute("ROLLBACK").unwrap();
    settle(&store);
    assert_eq!(counts(&store), expected([("dev_1", 80)]));
}
