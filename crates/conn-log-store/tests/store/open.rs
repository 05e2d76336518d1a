//! Opening a store: migrations, both databases, newer programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use conn_log_store::{OpenError, PartitionSize, Store, StoreError, StoreOptions};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
}

/// Each file of a SQLite log has its own version table.
fn without_repeats(mut columns: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    columns.retain(|column| seen.insert(column.clone()));
    columns
}

fn by_table(columns: Vec<Column>) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in columns {
        tables.entry(column.table_name).or_default().push(column.column_name);
    }
    tables.remove("__diesel_schema_migrations");
    if let Some(version) = tables.remove("schema_version") {
        tables.insert("schema_version".to_owned(), without_repeats(version));
    }
    // On SQLite the table has a column for the row's position in the file.
    if let Some(blocks) = tables.get_mut("index_blocks") {
        blocks.retain(|column| column != "block");
    }
    // On SQLite the key is a number made of two columns, which come last there.
    if let Some(events) = tables.get_mut("events") {
        events.retain(|column| column != "row_id");
        events.sort_unstable();
    }
    tables
}

#[test]
fn both_databases_have_the_same_tables_and_columns() {
    let (Some(sqlite), Some(postgres)) =
        (TestDatabase::new(Backend::Sqlite), TestDatabase::new(Backend::Postgres))
    else {
        return;
    };
    Store::migrate(&sqlite.database_url()).unwrap();
    Store::migrate(&postgres.database_url()).unwrap();
    let of_sqlite: Vec<Column> = diesel::sql_query(
        "SELECT m.name AS table_name, c.name AS column_name
           FROM (SELECT type, name, 'main' AS file FROM main.sqlite_schema
                  UNION ALL SELECT type, name, 'derived' FROM derived.sqlite_schema) m,
                pragma_table_xinfo(m.name, m.file) c
          WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'
            AND m.name <> '__diesel_schema_migrations' ORDER BY 1, c.cid",
    )
    .load(&mut sqlite.sqlite())
    .unwrap();
    let of_postgres: Vec<Column> = diesel::sql_query(
        "SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c
           JOIN pg_class ON pg_class.oid = format('%I', c.table_name)::regclass
          WHERE c.table_schema = 'public' AND NOT relispartition ORDER BY 1, ordinal_position",
    )
    .load(&mut postgres.postgres())
    .unwrap();
    let mut of_sqlite = by_table(of_sqlite);
    // PostgreSQL's rows hold their texts themselves (decision 036).
    assert!(of_sqlite.remove("texts").is_some());
    assert!(of_sqlite.contains_key("events"));
    assert_eq!(of_sqlite, by_table(of_postgres));
}

/// The names of the migrations of a new log, from the folders.
fn migrations(backend: Backend) -> Vec<String> {
    let of = |folder: &str| {
        let folders = std::fs::read_dir(format!("../../migrations/{folder}")).unwrap();
        let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
        let mut numbers: Vec<String> =
            names.map(|name| name.split('_').next().unwrap().to_owned()).collect();
        numbers.sort_unstable();
        numbers
    };
    match backend {
        Backend::Postgres => of("postgres"),
        Backend::Sqlite => {
            let beside = of("sqlite-derived");
            let beside = beside.iter().map(|number| format!("{number} (of derived data)"));
            of("sqlite").into_iter().chain(beside).collect()
        }
    }
}

on_both_databases! {
    async fn migrating_twice_changes_nothing(db) {
        if db.is_distributed() {
            return;
        }
        assert_eq!(Store::migrate(&db.database_url()).unwrap(), migrations(db.backend()));
        assert_eq!(Store::migrate(&db.database_url()).unwrap(), [""; 0]);
        assert!(db.open().ready().is_ok());
    }

    async fn stores_that_open_at_once_migrate_once(db) {
        if db.is_distributed() {
            return;
        }
        let threads: Vec<_> = (0..6)
            .map(|_| {
                let url = db.database_url();
                std::thread::spawn(move || Store::migrate(&url).unwrap().len())
            })
            .collect();
        let applied: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(applied, migrations(db.backend()).len());
        let tenants = db.open().tenant_list().unwrap();
        assert_eq!(tenants.len(), 1);
    }

    async fn a_database_newer_than_the_program_is_refused(db) {
        let store = db.open();
        db.execute("UPDATE schema_version SET version = 9001, compatible_from = 9000");
        assert!(store.ready().is_err());
        let refused = Store::open(db.options()).unwrap_err();
        let newer = OpenError::NewerDatabase { version: 9001, compatible_from: 9000 };
        assert_eq!(refused.to_string(), newer.to_string());
        assert!(refused.to_string().contains("newer"));
    }

    async fn a_newer_database_that_older_programs_can_work_on_is_taken(db) {
        let store = db.open();
        db.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9001')");
        db.execute("UPDATE schema_version SET version = 9001, compatible_from = 1");
        assert!(store.ready().is_ok());
        append(&store, events("dev", 1)).await.unwrap();
        assert_eq!(Store::migrate(&db.database_url()).unwrap(), [""; 0]);
        let another = db.open();
        assert!(another.ready().is_ok());
        append(&another, events("dev", 1)).await.unwrap();
        assert_eq!(store.log_size(DEFAULT).unwrap(), 2);
    }

    async fn partitions_are_made_ahead_and_of_any_size(db) {
        for partition in [PartitionSize::Month, PartitionSize::Day, PartitionSize::Week] {
            let options = StoreOptions { partition, ..db.options() };
            let store = Store::open(options).unwrap();
            store.partitions_ensure(3).unwrap();
            store.partitions_ensure(3).unwrap();
            append(&store, events("dev", 2)).await.unwrap();
            if db.backend() == Backend::Postgres {
                let ahead = count(&db, "SELECT count(*) AS count FROM pg_class
                    WHERE relispartition AND relkind = 'r'");
                assert!(ahead >= 4, "{ahead} partitions of a {partition:?}");
            }
        }
        assert_eq!(db.open().log_size(DEFAULT).unwrap(), 6);
    }
}

/// Databases from before the first release are refused: the error says what to do, and nothing is
/// changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_from_before_the_first_release_is_refused() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(db) = TestDatabase::new(backend) else { continue };
        drop(db.open());
        // Such databases have migrations, but no version of their schema.
        db.execute("DROP TABLE schema_version");
        let refused = Store::open(db.options()).unwrap_err();
        assert!(matches!(refused, OpenError::BeforeFirstRelease), "{refused}");
        assert!(refused.to_string().contains("--database-url"), "{refused}");
    }
}

/// A missing partition: another process has dropped it, or a failover has lost it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_creates_a_missing_partition_again() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    append(&store, events("dev", 1)).await.unwrap();
    db.execute(
        "DO $$ DECLARE name text; BEGIN
             FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
                 WHERE inhparent = 'events'::regclass
             LOOP EXECUTE 'DROP TABLE ' || name; END LOOP;
         END $$",
    );
    assert_eq!(ids(&append(&store, events("dev", 1)).await.unwrap()), [2]);
}

#[test]
fn every_table_and_column_of_postgres_has_a_comment() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    // Citus makes some tables anew, without their comments.
    if db.is_distributed() {
        return;
    }
    Store::migrate(&db.database_url()).unwrap();
    let silent: Vec<Column> = diesel::sql_query(
        "SELECT relname::text AS table_name, coalesce(attname::text, '') AS column_name
           FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
               AND NOT attisdropped
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND NOT relispartition AND relname <> '__diesel_schema_migrations'
            AND (col_description(pg_class.oid, attnum) IS NULL
                 OR obj_description(pg_class.oid, 'pg_class') IS NULL)",
    )
    .load(&mut db.postgres())
    .unwrap();
    let silent = by_table(silent);
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| {
        let folders = std::fs::read_dir(format!("../../migrations/{database}")).unwrap();
        let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

/// The test uses an empty log and a full one: without the planner hints of a migration, each of
/// these queries would read all of a tenant's rows.
#[test]
fn sqlite_looks_things_up_by_their_indexes() {
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    Store::migrate(&db.database_url()).unwrap();
    for (query, index) in [
        (
            "sessions WHERE tenant_id = ? AND session_hash IN (?, ?) AND session_id IN (?, ?)",
            "sessions_session",
        ),
        ("sessions WHERE tenant_id = ? AND device IN (?) ORDER BY at DESC", "sessions_device"),
        (
            "sessions WHERE tenant_id = ? AND device = ? AND application = ?
                AND session_id IS NULL AND at < ? ORDER BY at DESC LIMIT ?",
            "sessions_pair",
        ),
        (
            "sessions WHERE tenant_id = ? AND device = ? AND application = ? AND session_hash = ?
                AND session_id = ? AND at >= ? ORDER BY at, event LIMIT ?",
            "sessions_session",
        ),
        (
            "sessions WHERE tenant_id = ? AND at > ? AND length = ? AND at < ? AND at > ?
                AND (at >= ? OR end_at > ? OR length = 32) ORDER BY at DESC, event DESC LIMIT ?",
            "sessions_length",
        ),
        (
            "sessions WHERE tenant_id = ? AND at > ? AND length = ? AND length < 32
                ORDER BY at DESC, event DESC LIMIT ?",
            "sessions_length",
        ),
        ("sessions WHERE tenant_id = ? AND device IN (?, ?) AND length = 32", "sessions_open"),
        (
            "sessions WHERE tenant_id = ? AND application = ? AND length = 32",
            "sessions_open_application",
        ),
        (
            "rollups WHERE tenant_id = ? AND start < ? AND start >= ? AND (start > ? OR lead > ?)
                AND level = ? AND start IN (?, ?, ?) AND lead IN (?) ORDER BY start, lead LIMIT ?",
            "rollups",
        ),
        ("rollups WHERE tenant_id = ? AND level = ? ORDER BY start DESC LIMIT ?", "rollups"),
        (
            "rollups WHERE tenant_id = ? AND start < ? AND start >= ? AND (start > ? OR lead > ?)
                AND level = ? AND lead IN (?) ORDER BY start, lead LIMIT ?",
            "rollups",
        ),
        (
            "application_hours WHERE tenant_id = ? AND start >= ? AND start < ?
                ORDER BY start, application",
            "application_hours",
        ),
        ("events WHERE row_id BETWEEN ? AND ? ORDER BY row_id DESC LIMIT ?", "events"),
        ("events WHERE row_id IN (?, ?) ORDER BY row_id", "events"),
        (
            "deliveries WHERE tenant_id = ? AND webhook_id = ? AND next_attempt_at <= ?
                AND (claimed_until IS NULL OR claimed_until <= ?) ORDER BY next_attempt_at LIMIT ?",
            "deliveries_due",
        ),
        (
            "deliveries WHERE tenant_id = ? AND webhook_id = ? AND alert_id = ? AND state = ?
                ORDER BY change_id LIMIT ?",
            "deliveries_alert",
        ),
        (
            "deliveries WHERE tenant_id = ? AND webhook_id = ? AND change_id = ?",
            "deliveries_change",
        ),
        (
            "deliveries WHERE tenant_id = ? AND created_at < ? AND waiting_since IS NULL
                AND next_attempt_at IS NULL ORDER BY created_at LIMIT ?",
            "deliveries_age",
        ),
        (
            "deliveries WHERE waiting_since IS NOT NULL ORDER BY waiting_since LIMIT ?",
            "deliveries_waiting",
        ),
        (
            "alert_changes WHERE tenant_id = ? AND change_id > ? ORDER BY change_id LIMIT ?",
            "alert_changes",
        ),
        ("idempotency_keys WHERE kind = ? AND created_at <= ? LIMIT ?", "idempotency_keys_age"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT * FROM {query}");
        let steps: Vec<Step> = diesel::sql_query(sql).load(&mut db.sqlite()).unwrap();
        let found = steps.iter().any(|step| {
            let key = ["PRIMARY KEY", "INTEGER PRIMARY KEY"]
                .map(|key| format!("SEARCH {index} USING {key} "));
            [format!("INDEX {index} ")]
                .iter()
                .chain(&key)
                .any(|wanted| step.detail.contains(wanted))
        });
        assert!(found, "{query}: {:?}", steps[0].detail);
        // A search for each of a column's values that the query does not name.
        let skips = steps.iter().any(|step| step.detail.contains("ANY("));
        assert!(!skips, "{query}: {:?}", steps[0].detail);
    }
}

/// SQLite has no index on tenant and id, although any query can compare them.
#[test]
fn only_one_module_says_how_events_are_found() {
    let sources = std::process::Command::new("grep")
        .args(["--recursive", "--files-with-matches", "events::tenant_id", "src"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(sources.stdout).unwrap().trim(), "src/log/key.rs");
}

/// A user who may read the folder's disk may read its backups; only its owner may read the log
/// itself.
#[test]
fn no_other_user_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(db) = TestDatabase::new(Backend::Sqlite) else { return };
    let store = db.open();
    // There is a second file beside the first as long as it is in use.
    store.tenant_list().unwrap();
    let file = db.file();
    let folder = file.parent().unwrap();
    assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o077, 0);
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
    }
    assert!(store.close());
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

fn count(db: &TestDatabase, sql: &str) -> i64 {
    diesel::sql_query(sql).get_result::<Count>(&mut db.postgres()).unwrap().count
}

#[test]
fn a_database_that_is_not_there_says_which() {
    let url = "postgres://nobody:s3cret@127.0.0.1:1/none".parse().unwrap();
    let refused = Store::open(StoreOptions::new(url)).unwrap_err().to_string();
    assert!(refused.contains("postgres://nobody@127.0.0.1:1/none"), "{refused}");
    assert!(!refused.contains("s3cret"), "{refused}");

    let url = "sqlite:///dev/null/folder/log.db".parse().unwrap();
    let refused = Store::open(StoreOptions::new(url)).unwrap_err().to_string();
    assert!(refused.contains("/dev/null/folder"), "{refused}");
}

#[test]
fn a_store_to_which_postgres_gives_no_connection_for_reads_is_not_ready() {
    let Some(cluster) = Cluster::start_small(10) else { return };
    let store = Store::open(StoreOptions {
        projections: false,
        indexing: false,
        connect_at_start: false,
        reader_wait_max: Duration::from_millis(200),
        ..cluster.options()
    })
    .unwrap();
    // The server ends the store's sessions, and others take their places and all that are left.
    let mut others = vec![PgConnection::establish(&cluster.url()).unwrap()];
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    others[0].batch_execute(end).unwrap();
    others.extend(std::iter::from_fn(|| PgConnection::establish(&cluster.url()).ok()));
    assert!(matches!(store.ready(), Err(StoreError::Unavailable(_))));
    // They give up places one by one, until there are some for all but reads.
    let mut given_up = Instant::now();
    while !matches!(store.ready(), Err(StoreError::NoConnection(_))) {
        if given_up.elapsed() > Duration::from_secs(3) {
            others.pop().unwrap();
            given_up = Instant::now();
        }
    }
    assert!(matches!(store.event_get(DEFAULT, 1), Err(StoreError::NoConnection(_))));
    drop(others);
    // The server ends a session a moment after its client.
    let until = Instant::now() + Duration::from_secs(30);
    while store.ready().is_err() {
        assert!(Instant::now() < until, "{:?}", store.ready());
    }
    assert_eq!(store.event_get(DEFAULT, 1).unwrap(), None);
    assert!(store.close());
}
