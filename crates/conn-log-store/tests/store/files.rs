//! SQLite's files, deleted, moved and replaced while the store has them open: no event is
//! acknowledged in a file that is not at its path, and no empty file is created instead.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conn_log_core::EventQuery;
use conn_log_store::{
    AppendError, DeviceFilter, NewToken, PageQuery, PageStart, Scope, Store, StoreOptions,
};
use conn_log_test_support::*;
use rstest::rstest;

fn beside(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

fn delete(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

fn move_away(file: &Path) {
    std::fs::rename(file, beside(file, "-moved")).unwrap();
}

fn replace(file: &Path) {
    std::fs::copy(file, beside(file, "-copy")).unwrap();
    std::fs::rename(beside(file, "-copy"), file).unwrap();
}

fn said(result: Result<impl Sized, impl std::fmt::Display>) -> String {
    result.err().map_or_else(|| "nothing is wrong".to_owned(), |error| error.to_string())
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_acknowledged_into_a_file_that_is_not_there(
    #[values("", "-wal")] suffix: &str,
    #[values(delete, move_away, replace)] take: fn(&Path),
) {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, events("dev_1", 3)).await.unwrap();
    let file = beside(&db.file(), suffix);
    take(&file);
    let is_there = file.exists();

    let gone = format!("{} was removed or replaced", file.display());
    assert!(said(store.ready()).contains(&gone), "{}", said(store.ready()));
    assert_eq!(append(&store, events("dev_1", 1)).await, Err(AppendError::Unavailable));
    assert_eq!(append(&store, events("dev_1", 1)).await, Err(AppendError::Unavailable));
    let read = said(store.event_list(DEFAULT, &EventQuery::default()));
    assert!(read.contains(&gone), "{read}");
    assert!(store.tenant_create("acme").is_err());
    assert_eq!(file.exists(), is_there, "nobody makes a new file");
    assert!(store.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_back_is_taken_again() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, events("dev_1", 3)).await.unwrap();
    move_away(&db.file());
    assert_eq!(append(&store, events("dev_1", 1)).await, Err(AppendError::Unavailable));
    std::fs::rename(beside(&db.file(), "-moved"), db.file()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while append(&store, events("dev_2", 1)).await.is_err() {
        assert!(Instant::now() < until, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.ready().is_ok());
    let ids: Vec<i64> = whole_log(&store, DEFAULT).iter().map(|record| record.id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

/// Derived data can be built again: appends do not need it, and no read of it uses a file that is
/// gone.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_derived_file_is_reported_and_appends_go_on(
    #[values("-derived", "-derived-wal")] suffix: &str,
    #[values(delete, move_away, replace)] take: fn(&Path),
) {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, events("dev_1", 3)).await.unwrap();
    let file = beside(&db.file(), suffix);
    take(&file);
    let is_there = file.exists();

    assert_eq!(ids(&append(&store, events("dev_1", 1)).await.unwrap()), [4]);
    let new = NewToken::new(DEFAULT, "late", vec![Scope::Read]);
    let (token, secret) = store.token_create(new).unwrap();
    assert_eq!(store.token_find(&secret.hash()).unwrap(), Some(token));
    let gone = format!("{} was removed or replaced", file.display());
    let devices = PageQuery { start: PageStart::First, limit: 10 };
    assert!(said(store.device_list(DEFAULT, &DeviceFilter::default(), &devices)).contains(&gone));
    assert!(said(store.ready()).contains(&gone));
    assert_eq!(file.exists(), is_there, "nobody makes a new file");
    assert!(store.close());

    for suffix in ["-derived", "-derived-wal", "-derived-shm"] {
        std::fs::remove_file(beside(&db.file(), suffix)).ok();
    }
    let store = Store::open(db.options()).unwrap();
    assert_eq!(
        store.device_list(DEFAULT, &DeviceFilter::default(), &devices).unwrap().items[0].events,
        4
    );
    assert!(store.ready().is_ok());
}

/// Idle connections of another handle would keep the write-ahead log.
#[tokio::test]
async fn a_store_that_is_closed_leaves_every_event_in_the_main_file() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, events("dev_1", 3)).await.unwrap();
    let handle = store.clone();
    assert!(store.close());

    let copy = beside(&db.file(), "-copy.db");
    std::fs::copy(db.file(), &copy).unwrap();
    let url = format!("sqlite://{}", copy.display()).parse().unwrap();
    let copied = Store::open(StoreOptions { url, ..db.options() }).unwrap();
    assert_eq!(copied.log_size(DEFAULT).unwrap(), 3);
    drop(handle);
}
