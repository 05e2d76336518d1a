//! A log that has lost events is not opened unless that is accepted; as far as the lost ids are
//! known, they are not given again.

use conn_log_store::{
    DeviceFilter, LogBounds, OpenError, PageQuery, PageStart, Store, StoreOptions,
};
use conn_log_test_support::*;

use crate::derived::{close, settle};

fn options(db: &TestDatabase) -> StoreOptions {
    StoreOptions { index_run_events: 20, ..db.options() }
}

fn accepting(db: &TestDatabase) -> StoreOptions {
    StoreOptions { accept_lost_events: true, ..options(db) }
}

fn device_counts(store: &Store) -> Vec<(String, i64)> {
    let page = PageQuery { start: PageStart::First, limit: 100 };
    let devices = store.device_list(DEFAULT, &DeviceFilter::default(), &page).unwrap().items;
    devices.into_iter().map(|device| (device.device_id, device.events)).collect()
}

/// A log of 130 events whose write-ahead log was deleted with all of them.
async fn without_write_ahead_log() -> Option<TestDatabase> {
    let db = TestDatabase::new(Backend::Sqlite)?;
    let kept = db.file().with_extension("kept");
    let store = Store::open(options(&db)).unwrap();
    // A copy without the write-ahead log's content.
    std::fs::copy(db.file(), &kept).unwrap();
    append(&store, events("dev_1", 130)).await.unwrap();
    settle(&store);
    close(store, &db);
    std::fs::rename(&kept, db.file()).unwrap();
    Some(db)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_lost_events_is_refused_each_time() {
    let Some(db) = without_write_ahead_log().await else { return };
    for _ in 0..2 {
        let refused = Store::open(options(&db)).unwrap_err();
        assert!(matches!(refused, OpenError::EventsLost { .. }), "{refused}");
        let refused = refused.to_string();
        assert!(refused.contains("the events 1 to 130 of tenant 1"), "{refused}");
        assert!(refused.contains("--accept-lost-events"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_loss_is_accepted_goes_on_after_the_last_id_that_is_known() {
    let Some(db) = without_write_ahead_log().await else { return };
    let store = Store::open(accepting(&db)).unwrap();
    assert_eq!(store.log_bounds(DEFAULT).unwrap(), LogBounds { first_id: 1, size: 130 });
    assert_eq!(device_counts(&store), []);
    assert_eq!(ids(&append(&store, events("dev_2", 2)).await.unwrap()), [131, 132]);
    assert_eq!(device_counts(&store), [("dev_2".to_owned(), 2)]);
    settle(&store);
    close(store, &db);

    // Accepting it once is enough.
    let store = Store::open(options(&db)).unwrap();
    assert_eq!(device_counts(&store), [("dev_2".to_owned(), 2)]);
    assert_eq!(ids(&append(&store, events("dev_2", 1)).await.unwrap()), [133]);
}

/// A crash between the two files leaves derived data of events that the log has skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn derived_data_of_lost_events_is_rebuilt_also_after_a_crash() {
    let Some(db) = without_write_ahead_log().await else { return };
    assert!(Store::open(options(&db)).is_err());
    db.execute("UPDATE heads SET size = 130 WHERE tenant_id = 1");
    let store = Store::open(options(&db)).unwrap();
    assert_eq!(device_counts(&store), []);
}
