//! Reads and small writes of a database whose errors pass: on Citus a node that shuts down gives an
//! error to a session that goes on.

use std::time::{Duration, Instant};

use conn_log_core::Timestamp;
use conn_log_store::{NewSilence, NewToken, PageQuery, PageStart, Scope, StoreError};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use uuid::Uuid;

/// Makes the first use of a table fail with that SQLSTATE, in whichever session it is. An advisory
/// lock tells that it has failed: a rollback does not free it, and a read may take it.
fn fail_once(db: &TestDatabase, table: &str, code: &str) {
    db.execute(&format!(
        "CREATE FUNCTION fail_once() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77
                               AND database = (SELECT oid FROM pg_database
                                                WHERE datname = current_database())) THEN
                 PERFORM pg_advisory_lock(77);
                 RAISE EXCEPTION 'kein Grund' USING ERRCODE = '{code}';
             END IF;
             RETURN true;
         END $$;
         ALTER TABLE {table} RENAME TO {table}_behind;
         CREATE VIEW {table} AS SELECT * FROM {table}_behind WHERE (SELECT fail_once())"
    ));
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn new_silence() -> NewSilence {
    NewSilence {
        rule_id: None,
        group: None,
        severity: None,
        until: Timestamp::MAX,
        reason: "a test".to_owned(),
        created_by: Uuid::nil(),
    }
}

/// `57P01` to `57P03` come from a node that shuts down or starts, `40P01` from a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_that_fails_for_once_is_read_again() {
    for code in ["57P01", "57P02", "57P03", "40P01"] {
        let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
        let store = db.open();
        append(&store, events("dev", 3)).await.unwrap();
        fail_once(&db, "events", code);
        assert_eq!(store.event_get(DEFAULT, 2).unwrap().unwrap().id, 2, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_small_write_that_fails_for_once_is_done_again_and_once() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    fail_once(&db, "silences", "40P01");
    store.silence_create(DEFAULT, new_silence()).unwrap();
    let found =
        store.silence_list(DEFAULT, &PageQuery { start: PageStart::First, limit: 10 }).unwrap();
    assert_eq!(found.items.len(), 1);
}

/// On Citus these rows are on every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_of_tenants_and_tokens_that_fails_for_once_is_done_again_and_once() {
    for code in ["57P01", "40P01"] {
        let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
        let store = db.open();
        fail_once(&db, "tokens", code);
        let new = NewToken::new(DEFAULT, "once", vec![Scope::Read]);
        let (token, _) = store.token_create(new).unwrap();
        assert_eq!(store.token_list(None).unwrap(), [token], "{code}");

        let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
        let store = db.open();
        let new = NewToken::new(DEFAULT, "once", vec![Scope::Read]);
        let (token, _) = store.token_create(new).unwrap();
        fail_once(&db, "tokens", code);
        assert!(store.token_revoke(None, token.id).unwrap().revoked_at.is_some(), "{code}");

        let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
        let store = db.open();
        fail_once(&db, "tenants", code);
        store.tenant_create("once").unwrap();
        assert_eq!(store.tenant_list().unwrap().len(), 2, "{code}");
    }
}

/// It may have worked: nobody may do it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_whose_commit_fails_is_not_done_again() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    db.execute(
        "CREATE SEQUENCE commits;
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('commits') = 1 THEN
                 RAISE EXCEPTION 'kein Grund' USING ERRCODE = '40P01';
             END IF;
             RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER fail_once AFTER INSERT ON tenants DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION fail_once()",
    );
    let created = store.tenant_create("once");
    assert!(matches!(created, Err(StoreError::Unavailable(_))), "{created:?}");
    assert_eq!(store.tenant_list().unwrap().len(), 1);
}

/// Or else a missing table would be called a database that is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_that_fails_again_is_a_fault() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    db.execute("ALTER TABLE rejects RENAME TO gone");
    assert!(matches!(store.reject_get(DEFAULT, 1), Err(StoreError::Internal(_))));
}

/// An administrator, or a server that shuts down, ends sessions while they read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_whose_session_is_ended_finds_the_database_away() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    append(&store, events("dev", 1)).await.unwrap();
    let mut holder = db.postgres();
    holder.batch_execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").unwrap();
    let reading = {
        let store = store.clone();
        std::thread::spawn(move || store.event_get(DEFAULT, 1))
    };
    let waiting = "SELECT count(*) AS count FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'conn-log'
                      AND wait_event_type = 'Lock' AND query LIKE '%FROM \"events\"%'";
    let mut other = db.postgres();
    let until = Instant::now() + Duration::from_secs(20);
    while diesel::sql_query(waiting).get_result::<Count>(&mut other).unwrap().count == 0 {
        assert!(Instant::now() < until, "no read waits");
        std::thread::yield_now();
    }
    db.end_sessions();
    let read = reading.join().unwrap();
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    holder.batch_execute("ROLLBACK").unwrap();
    assert!(store.event_get(DEFAULT, 1).is_ok());
}
