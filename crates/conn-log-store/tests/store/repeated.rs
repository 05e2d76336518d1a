//! Texts that events repeat: SQLite stores them once, and each record comes back byte by byte.

use conn_log_core::{Event, EventFilter, EventQuery, MetadataFilter, MetadataPath, Record};
use conn_log_store::{AppendError, Store, StoreError};
use conn_log_test_support::*;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};

/// An event with that metadata, of a session and a user agent.
fn of_metadata(metadata: &str) -> Event {
    let mut parts = parts("dev");
    parts.metadata = metadata.to_owned();
    parts.session_id = Some("sess_1".to_owned());
    parts.user_agent = Some("ConnApp/2.1 (Linux; arm64)".to_owned());
    Event::from_store(parts)
}

/// Metadata of one shape, with the session id and with another number each.
fn numbered(number: usize) -> String {
    format!(r#"{{"deep":{{"a":[1,"}}"]}},"number":{number},"session_id":"sess_1"}}"#)
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

fn number(db: &TestDatabase, sql: &str) -> i64 {
    let sql = format!("SELECT ({sql}) AS number");
    diesel::sql_query(sql).get_result::<Number>(&mut db.sqlite()).unwrap().number
}

/// Events whose metadata is packed.
fn packed(db: &TestDatabase) -> i64 {
    number(db, "SELECT count(*) FROM events WHERE metadata NOT LIKE '{%'")
}

fn metadata(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.event.fields().metadata.as_str()).collect()
}

/// The log, read as a list and event by event.
fn read(store: &Store) -> Vec<Record> {
    let log = whole_log(store, DEFAULT);
    let each: Vec<Record> =
        log.iter().filter_map(|record| store.event_get(DEFAULT, record.id).unwrap()).collect();
    assert_eq!(each, log);
    log
}

on_both_databases! {
    async fn what_was_acknowledged_is_what_is_read(db) {
        let store = db.open();
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            let texts = [numbered(round), "{}".to_owned(), r#"{"a":"\t\"","b":1.2}"#.to_owned()];
            let many = (0..30).map(|name| format!(r#"{{"name_{name}":{round}}}"#));
            let texts = texts.into_iter().chain(many);
            let events = texts.map(|text| of_metadata(&text)).chain(events("other", 1));
            acknowledged.extend(append(&store, events.collect()).await.unwrap());
        }
        let acknowledged: Vec<Record> =
            acknowledged.iter().map(|event| event.record().unwrap().clone()).collect();
        assert_eq!(read(&store), acknowledged);
        drop(store);
        assert_eq!(read(&db.open()), acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_of_many_shapes_in_turn_are_packed_by_their_own() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    let text = |n: usize| format!(r#"{{"name_{:02}":{n}}}"#, n * n % 23);
    let texts: Vec<String> = (0..200).map(text).collect();
    append(&store, texts.iter().map(|text| of_metadata(text)).collect()).await.unwrap();
    assert_eq!(metadata(&read(&store)), texts);
    let shapes = number(&db, "SELECT count(*) FROM texts WHERE kind = 1");
    assert_eq!(shapes, 12, "the squares modulo 23");
    assert!(packed(&db) > 180);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_is_restored_under_a_running_store_is_read_by_its_own_numbers() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    let texts = [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"b":3}"#, r#"{"b":4}"#];
    append(&store, texts.map(of_metadata).to_vec()).await.unwrap();
    let log = read(&store);
    assert_eq!(metadata(&log), texts);
    // As `.restore` does: other content in the same file.
    db.execute(
        "BEGIN;
         UPDATE texts SET number = -number WHERE kind = 1;
         UPDATE texts SET number = 3 + number WHERE kind = 1;
         UPDATE events SET metadata = (3 - substr(metadata, 1, 1)) || substr(metadata, 2)
             WHERE metadata NOT LIKE '{%' AND metadata NOT LIKE '0%';
         COMMIT;",
    );
    assert_eq!(number(&db, "SELECT number FROM texts WHERE text = '\"a\"'"), 2);
    assert_eq!(read(&store), log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_text_gets_a_number_when_it_comes_again() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    let texts = || number(&db, "SELECT count(*) FROM texts");
    append(&store, vec![of_metadata(&numbered(1))]).await.unwrap();
    assert_eq!((packed(&db), texts()), (0, 0));
    append(&store, vec![of_metadata(&numbered(2)), of_metadata(&numbered(3))]).await.unwrap();
    assert_eq!((packed(&db), texts()), (2, 2));
    assert_eq!(number(&db, "SELECT max(length(metadata)) FROM events WHERE id > 1"), 20);
    assert_eq!(number(&db, "SELECT count(user_agent) FROM events"), 1);
    // The names are known again after a start.
    drop(store);
    append(&db.open(), vec![of_metadata(&numbered(4))]).await.unwrap();
    assert_eq!((packed(&db), texts()), (3, 2));
}

#[derive(QueryableByName)]
struct Leaf {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Binary)]
    leaf_hash: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_packed_event_has_the_hash_of_its_record() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, (0..9).map(|n| of_metadata(&numbered(n))).collect()).await.unwrap();
    let leaves: Vec<Leaf> = diesel::sql_query("SELECT id, leaf_hash FROM events ORDER BY id")
        .load(&mut db.sqlite())
        .unwrap();
    assert!(packed(&db) >= 8);
    for (record, leaf) in whole_log(&store, DEFAULT).iter().zip(leaves) {
        assert_eq!((record.id, record.leaf_hash().to_vec()), (leaf.id, leaf.leaf_hash));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_that_fails_leaves_no_number_behind() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, vec![of_metadata(&numbered(0))]).await.unwrap();
    db.execute(
        "CREATE TRIGGER refuses BEFORE INSERT ON events WHEN NEW.device_id = 'bad'
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    let refused = vec![of_metadata(&numbered(1)), event("bad")];
    assert_eq!(append(&store, refused).await, Err(AppendError::Internal));
    assert_eq!(number(&db, "SELECT count(*) FROM texts"), 0);
    db.execute("DROP TRIGGER refuses");
    let others: Vec<Event> = (0..4).map(|n| of_metadata(&format!(r#"{{"x":{n}}}"#))).collect();
    append(&store, others).await.unwrap();
    append(&store, (2..4).map(|n| of_metadata(&numbered(n))).collect()).await.unwrap();
    let log = whole_log(&store, DEFAULT);
    let (old, others) = (numbered(0), (0..4).map(|n| format!(r#"{{"x":{n}}}"#)));
    let all: Vec<String> = std::iter::once(old).chain(others).chain((2..4).map(numbered)).collect();
    assert_eq!(metadata(&log), all);
    assert!(packed(&db) >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_file_give_different_numbers() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let (one, other) = (db.open(), db.open());
    let mut expected = Vec::new();
    for round in 0..6 {
        for (store, name) in [(&one, "of_one"), (&other, "of_other")] {
            // A new name each second time.
            let text = format!(r#"{{"{name}{}":{round}}}"#, round / 2);
            append(store, vec![of_metadata(&text), of_metadata(&text)]).await.unwrap();
            expected.extend([text.clone(), text]);
        }
    }
    for store in [&one, &other] {
        assert_eq!(metadata(&whole_log(store, DEFAULT)), expected);
    }
    assert_eq!(number(&db, "SELECT count(DISTINCT text) FROM texts WHERE kind = 1"), 6);
    assert!(packed(&db) > 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn names_without_an_end_stand_in_their_rows() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    let text = |n: usize| format!(r#"{{"name_{n:05}":1}}"#);
    let events: Vec<Event> =
        (0..1_200).flat_map(|n| [of_metadata(&text(n)), of_metadata(&text(n))]).collect();
    append(&store, events).await.unwrap();
    let long = format!(r#"{{"{}":1}}"#, "n".repeat(3_000));
    append(&store, vec![of_metadata(&long), of_metadata(&long)]).await.unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM texts WHERE kind = 1"), 1_000);
    let log = whole_log(&store, DEFAULT);
    let expected = (0..1_200).flat_map(|n| [text(n), text(n)]).chain([long.clone(), long]);
    assert_eq!(metadata(&log), expected.collect::<Vec<_>>());
}

/// The ids of the events with that metadata, newest first.
fn found(store: &Store, path: &[&str], value: &str) -> Vec<i64> {
    let names = path.iter().map(|name| (*name).to_owned()).collect();
    let path = MetadataPath::new(names).unwrap();
    let metadata = vec![MetadataFilter { path, value: value.to_owned() }];
    let filter = EventFilter { metadata, ..EventFilter::default() };
    let query = EventQuery { filter, limit: 100, ..EventQuery::default() };
    store.event_list(DEFAULT, &query).unwrap().records.iter().map(|record| record.id).collect()
}

on_both_databases! {
    async fn metadata_is_found_in_packed_and_in_plain_rows(db) {
        let store = db.open();
        let texts: Vec<String> = (0..4).map(numbered).collect();
        append(&store, texts.iter().map(|text| of_metadata(text)).collect()).await.unwrap();
        assert_eq!(found(&store, &["number"], "2"), [3]);
        assert_eq!(found(&store, &["session_id"], "sess_1"), [4, 3, 2, 1]);
        assert_eq!(found(&store, &["number"], "sess_1"), [0; 0]);
        assert_eq!(found(&store, &["session_id"], "2"), [0; 0]);
        assert_eq!(found(&store, &["deep", "a"], "1"), [0; 0]);
    }
}

#[derive(Debug, QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    metadata: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_without_its_text_is_an_error_and_not_another_event() {
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    append(&store, (0..4).map(|n| of_metadata(&numbered(n))).collect()).await.unwrap();
    let row: Row = diesel::sql_query("SELECT metadata FROM events WHERE id = 4")
        .get_result(&mut db.sqlite())
        .unwrap();
    assert_eq!(row.metadata, "1.1\t{\"a\":[1,\"}\"]}\t3\t");
    db.execute("DELETE FROM texts WHERE kind = 1");
    let error = store.event_get(DEFAULT, 4).unwrap_err();
    assert!(matches!(error, StoreError::Internal(_)), "{error}");
    assert!(error.to_string().contains("event 4"), "{error}");
    assert!(store.event_get(DEFAULT, 1).unwrap().is_some());
}
