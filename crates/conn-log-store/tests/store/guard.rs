//! The guard of statements: that it sees the store's, and that each of its rules can fail.

use std::time::Duration;

use conn_log_core::{EventFilter, EventQuery, Order};
use conn_log_store::{Store, StoreOptions};
use conn_log_test_support::guard::{EXCEPTIONS, exception, faults};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use rstest::rstest;

/// The faults of a message with that many commands.
fn faults_of(sql: &str, commands: usize) -> Vec<String> {
    faults(&[Statement { sql: sql.to_owned(), commands }])
}

#[rstest]
#[case::a_query("SELECT \"events\".\"id\" FROM \"events\" WHERE (\"events\".\"id\" = $1)", 1)]
#[case::a_list_of_no_table("SELECT heads.size FROM heads WHERE (heads.size > $1) LIMIT $2", 1)]
#[case::a_join_with_one_bound(
    "SELECT 1 FROM events JOIN heads ON true WHERE events.tenant_id = $1",
    1
)]
#[case::a_join_of_all_tenants(
    "SELECT 1 FROM events JOIN heads ON events.tenant_id = heads.tenant_id WHERE heads.tenant_id = \
     events.tenant_id",
    1
)]
#[case::a_tenant_of_another_table(
    "SELECT events.tenant_id FROM events, tokens WHERE events.id = $1",
    1
)]
#[case::a_change("UPDATE \"alerts\" SET \"state\" = $1 WHERE (\"alerts\".\"alert_id\" = $2)", 1)]
#[case::a_removal("DELETE FROM deliveries WHERE created_at < $1", 1)]
#[case::an_insert("INSERT INTO dictionary (name, number) VALUES ($1, $2)", 1)]
#[case::a_tenant_past_the_columns(
    "INSERT INTO dictionary (name, number) SELECT name, number FROM dictionary WHERE tenant_id = $1",
    1
)]
#[case::a_copy("COPY \"events\"(\"id\", \"device_id\") FROM STDIN WITH (FORMAT binary)", 1)]
#[case::two_commands("CREATE TABLE a (id integer); CREATE TABLE b (id integer)", 2)]
#[case::a_setting_and_a_change(
    "SET lock_timeout = 0; UPDATE heads SET size = 1 WHERE tenant_id = $1",
    2
)]
#[case::forced_plans("SET LOCAL plan_cache_mode = force_generic_plan", 1)]
#[case::a_row_locked_by_a_read(
    "SELECT size FROM heads WHERE (heads.tenant_id = $1) LIMIT $2 FOR UPDATE",
    1
)]
#[case::plans_forced_for_a_session("SET plan_cache_mode = 'force_generic_plan'", 1)]
fn what_breaks_a_rule_is_found(#[case] sql: &str, #[case] commands: usize) {
    assert_eq!(faults_of(sql, commands).len(), 1, "{sql}");
}

#[rstest]
#[case::a_bound_tenant(
    "SELECT * FROM events WHERE ((\"events\".\"tenant_id\" = $1) AND id = $2)",
    1
)]
#[case::a_change("UPDATE heads SET size = $1 WHERE tenant_id = $2", 1)]
#[case::an_insert(
    "INSERT INTO dictionary (tenant_id, name, number) SELECT * FROM unnest($1, $2, $3)",
    1
)]
#[case::an_inner_query_of_the_same_tenant(
    "SELECT * FROM devices WHERE (devices.tenant_id = $1) AND EXISTS (SELECT 1 FROM sessions WHERE \
     sessions.tenant_id = devices.tenant_id)",
    1
)]
#[case::a_lease(
    "SELECT watermark FROM positions WHERE (positions.tenant_id = $1) FOR UPDATE SKIP LOCKED",
    1
)]
#[case::a_reference_table(
    "SELECT \"tokens\".\"id\" FROM \"tokens\" WHERE (\"tokens\".\"secret_hash\" = $1)",
    1
)]
#[case::settings("SET lock_timeout = 0; SET statement_timeout = 0;", 2)]
#[case::a_table_of_the_schema("CREATE INDEX events_device ON events (tenant_id, device_id)", 1)]
fn what_keeps_the_rules_is_let_through(#[case] sql: &str, #[case] commands: usize) {
    assert_eq!(faults_of(sql, commands), [""; 0]);
}

/// What the server has done counts, and not where a text has semicolons.
#[test]
fn the_commands_of_a_message_are_counted() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let (host, name) = db.host_and_name();
    let recorder = Recorder::to(host);
    let url = format!("postgres://postgres@{}/{name}?sslmode=disable", recorder.address());
    let mut postgres = PgConnection::establish(&url).unwrap();
    let two = "CREATE TABLE a (id integer); INSERT INTO a VALUES (1);";
    postgres.batch_execute(two).unwrap();
    postgres.batch_execute("SELECT 'one; or two'").unwrap();
    let bound = "SELECT $1; -- and no more";
    diesel::sql_query(bound)
        .bind::<diesel::sql_types::Integer, _>(1)
        .execute(&mut postgres)
        .unwrap();
    let recorded = recorder.statements();
    let commands = |sql: &str| recorded.iter().find(|found| found.sql == sql).unwrap().commands;
    assert_eq!((commands(two), commands("SELECT 'one; or two'"), commands(bound)), (2, 1, 1));
    assert_eq!(faults(&recorded).len(), 1, "{:?}", faults(&recorded));
}

/// A walk on one database, so that a recorder that sees nothing is noticed. All other tests are
/// guarded, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_s_statements_are_seen_and_each_exception_is_needed() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let options = StoreOptions {
        idempotency_window: Duration::ZERO,
        event_id_window: Duration::ZERO,
        ..db.options()
    };
    let store = Store::open(options).unwrap();
    append(&store, events("dev", 3)).await.unwrap();
    // More than one INSERT takes.
    append(&store, events("other", 40)).await.unwrap();
    let filter = EventFilter { device_ids: vec!["dev".to_owned()], ..EventFilter::default() };
    for order in [Order::IdAscending, Order::TimestampDescending] {
        let query =
            EventQuery { filter: filter.clone(), order, limit: 10, ..EventQuery::default() };
        assert_eq!(store.event_list(DEFAULT, &query).unwrap().records.len(), 3);
    }
    store.lag().unwrap();
    store.idempotency_expire(10).unwrap();
    store.rejects_expire(10).unwrap();
    store.deliveries_expire(conn_log_core::Timestamp::EPOCH).unwrap();
    store.delivery_lag().unwrap();
    store.webhooks_enabled(0).unwrap();
    assert!(store.close());

    let seen = db.statements();
    for begin in [
        "INSERT INTO \"events\"",
        "COPY \"events\"",
        "UPDATE heads",
        "CREATE TABLE heads",
        "BEGIN",
        "COMMIT",
    ] {
        assert!(seen.iter().any(|found| found.sql.contains(begin)), "{begin}");
    }
    let unneeded: Vec<&str> = EXCEPTIONS
        .iter()
        .filter(|known| {
            !seen.iter().any(|found| {
                exception(&found.sql).is_some_and(|exception| exception.from == known.from)
            })
        })
        .map(|known| known.from)
        .collect();
    assert_eq!(unneeded, [""; 0], "these exceptions are not needed any more");
}
