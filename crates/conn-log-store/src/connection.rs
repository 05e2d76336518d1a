//! One connection to either database, set up for what it is to do.
//!
//! Knows how to connect and how a transaction begins and ends; knows no table.

use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::url::{DatabaseUrl, PostgresUrl};

/// A connection to whichever database the URL names.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    /// An embedded file.
    Sqlite(SqliteConnection),
    /// A server.
    Postgres(PgConnection),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Appends: a server that hangs, or a lock that is never let go, must not hold them up for ever.
    Appender,
    /// Migrations and background work, which may take long.
    Writer,
    /// What is derived from the log, on SQLite in a file of its own; of the log it only reads.
    Deriver,
    /// Reads only, each at most this long.
    Reader {
        /// PostgreSQL ends a statement that takes longer.
        read_time_max: Duration,
    },
}

/// How long to wait for a lock that another process holds on a SQLite file. Writers of this process
/// take turns and never wait here.
const SQLITE_BUSY_MS: u32 = 5_000;

/// Longest wait of an append for a lock, the head row's above all, which others hold for
/// milliseconds. Then it is tried again.
const APPEND_LOCK_MS: u32 = 5_000;

/// Longest statement of an append: the largest batch takes a second or two.
const APPEND_STATEMENT_MS: u32 = 30_000;

/// Given where the URL does not say otherwise: a server that is gone is noticed in seconds.
const POSTGRES_DEFAULTS: &[(&str, &str)] = &[
    ("application_name", "conn-log"),
    ("connect_timeout", "5"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

impl AnyConnection {
    /// Connects and sets the session up.
    pub(crate) fn open(url: &DatabaseUrl, role: Role) -> ConnectionResult<Self> {
        match url {
            DatabaseUrl::Sqlite(_) => open_sqlite(url, role).map(AnyConnection::Sqlite),
            DatabaseUrl::Postgres(url) => open_postgres(url, role).map(AnyConnection::Postgres),
        }
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once, since one
    /// that begins by reading can fail to get it later, however long it waits.
    pub(crate) fn begin(&mut self) -> QueryResult<()> {
        match self {
            AnyConnection::Sqlite(sqlite) => sqlite.batch_execute("BEGIN IMMEDIATE"),
            AnyConnection::Postgres(postgres) => {
                postgres.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            }
        }
    }

    pub(crate) fn commit(&mut self) -> QueryResult<()> {
        self.batch_execute("COMMIT")
    }

    pub(crate) fn rollback(&mut self) -> QueryResult<()> {
        self.batch_execute("ROLLBACK")
    }

    /// Runs `work` in a transaction that may write.
    pub(crate) fn in_txn<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin()?;
        match work(self) {
            Ok(done) => {
                if let Err(error) = self.commit() {
                    // Where COMMIT failed there may be nothing to roll back any more.
                    self.rollback().ok();
                    return Err(error.into());
                }
                Ok(done)
            }
            Err(error) => {
                // The first error is the one to tell.
                self.rollback().ok();
                Err(error)
            }
        }
    }
}

fn open_sqlite(url: &DatabaseUrl, role: Role) -> ConnectionResult<SqliteConnection> {
    let (log, derived) = (path_of(Some(url))?, path_of(url.derived().as_ref())?);
    let (main, set_up) = match role {
        Role::Appender | Role::Writer => {
            // Commits of the store's own writer make no checkpoints: a thread does, beside them. Who writes
            // to a log without a server does once the write-ahead log has 16 MiB.
            let checkpoint_pages = if matches!(role, Role::Appender) { 0 } else { 4096 };
            let set_up = format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;
                 PRAGMA cache_size = -16384;
                 PRAGMA wal_autocheckpoint = {checkpoint_pages};
                 PRAGMA journal_size_limit = 67108864;"
            );
            (log, set_up)
        }
        // What a crash of the machine takes from its end is derived again.
        Role::Deriver => (
            derived,
            format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 PRAGMA cache_size = -16384;
                 PRAGMA wal_autocheckpoint = 4096;
                 PRAGMA journal_size_limit = 67108864;
                 ATTACH DATABASE {} AS log;",
                quoted(&log)
            ),
        ),
        Role::Reader { .. } => (
            log,
            format!(
                "PRAGMA cache_size = -4096;
                 ATTACH DATABASE {} AS derived;
                 PRAGMA derived.cache_size = -4096;
                 PRAGMA query_only = ON;",
                quoted(&derived)
            ),
        ),
    };
    let mut connection = SqliteConnection::establish(&main)?;
    let set_up = format!("PRAGMA busy_timeout = {SQLITE_BUSY_MS}; {set_up}");
    // A new file that two open at once is turned to WAL by one of them; SQLite tells the other that it
    // is locked without waiting for it.
    let begun = Instant::now();
    while let Err(error) = connection.batch_execute(&set_up) {
        let is_locked = error.to_string().contains("locked");
        if !is_locked || begun.elapsed() > Duration::from_millis(SQLITE_BUSY_MS.into()) {
            return Err(ConnectionError::CouldntSetupConfiguration(error));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(connection)
}

/// The path of a file as SQLite takes it.
fn path_of(url: Option<&DatabaseUrl>) -> ConnectionResult<String> {
    let path = url.and_then(DatabaseUrl::file).and_then(Path::to_str).ok_or_else(|| {
        ConnectionError::BadConnection("the path of the file is not UTF-8".to_owned())
    })?;
    // A path that begins with `file:` would be read as a URI.
    Ok(if path.starts_with("file:") { format!("./{path}") } else { path.to_owned() })
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn open_postgres(url: &PostgresUrl, role: Role) -> ConnectionResult<PgConnection> {
    let mut connection = PgConnection::establish(&url.with_defaults(POSTGRES_DEFAULTS))?;
    let set_up = match role {
        // Each is set, whatever the role or the database says.
        Role::Appender => format!(
            "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET lock_timeout = {APPEND_LOCK_MS}; SET statement_timeout = {APPEND_STATEMENT_MS};"
        ),
        Role::Writer | Role::Deriver => "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET lock_timeout = 0; SET statement_timeout = 0;"
            .to_owned(),
        // A page takes less than to start a worker or to compile its plan.
        Role::Reader { read_time_max } => format!(
            "SET default_transaction_read_only = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET max_parallel_workers_per_gather = 0; SET jit = off;
             SET statement_timeout = {};",
            read_time_max.as_millis()
        ),
    };
    connection.batch_execute(&set_up).map_err(ConnectionError::CouldntSetupConfiguration)?;
    if matches!(role, Role::Reader { .. }) {
        // A server on a system that cannot read ahead takes no such setting, and does without.
        connection.batch_execute(PAGES_AT_ONCE).ok();
    }
    Ok(connection)
}

/// How many pages a reader may ask the disk for at once: a page of a list has its rows on as many.
const PAGES_AT_ONCE: &str = "SET effective_io_concurrency = 100";

#[cfg(test)]
mod tests {
    use diesel::sql_types::Text;

    use super::*;

    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        value: String,
    }

    fn setting(connection: &mut AnyConnection, sql: &str) -> String {
        diesel::sql_query(sql).get_result::<Setting>(connection).unwrap().value
    }

    fn reader() -> Role {
        Role::Reader { read_time_max: Duration::from_secs(7) }
    }

    /// A kill of the process does not show it: only the machine's would.
    #[test]
    fn sqlite_writes_through_a_log_and_syncs_it_at_each_commit() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        for role in [Role::Appender, Role::Writer] {
            let mut connection = AnyConnection::open(&url, role).unwrap();
            let mut of = |sql| setting(&mut connection, sql);
            let synchronous = "SELECT CAST(synchronous AS TEXT) AS value FROM pragma_synchronous";
            assert_eq!(of(synchronous), "2", "FULL");
            assert_eq!(of("SELECT journal_mode AS value FROM pragma_journal_mode"), "wal");
        }
        let mut connection = AnyConnection::open(&url, reader()).unwrap();
        for file in ["main", "derived"] {
            let create = format!("CREATE TABLE {file}.none (id INTEGER)");
            assert!(connection.batch_execute(&create).is_err());
        }
    }

    #[test]
    fn sqlite_opens_files_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["it's.db", "file:a?mode=ro", "\"quoted\".db"] {
            let url = DatabaseUrl::Sqlite(folder.path().join(name));
            for role in [Role::Writer, Role::Deriver, reader()] {
                AnyConnection::open(&url, role).unwrap();
            }
            assert!(folder.path().join(format!("{name}-derived")).exists(), "{name}");
        }
    }

    /// As `.cargo/config.toml` says.
    #[test]
    fn sqlite_is_built_as_is_said_here() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        let mut connection = AnyConnection::open(&url, Role::Writer).unwrap();
        let options = "SELECT group_concat(compile_options) AS value FROM pragma_compile_options";
        let options = setting(&mut connection, options);
        assert!(options.contains("THREADSAFE=2"), "{options}");
        assert!(!options.contains("ENABLE_MEMORY_MANAGEMENT"), "{options}");
        // It would have statements prepared anew for each other parameter.
        assert!(!options.contains("ENABLE_STAT4"), "{options}");
        // And this for each other LIMIT, were it not for its guarantee of stable plans.
        assert!(options.contains("ENABLE_QPSG"), "{options}");
    }

    #[test]
    fn postgres_waits_for_the_disk_whatever_the_database_is_set_to() {
        let url = std::env::var("CONN_LOG_TEST_POSTGRES_URL").unwrap();
        if url == "skip" {
            return;
        }
        // As a role or a database may have it set.
        let url = format!(
            "{url}?options=-c%20synchronous_commit%3Doff%20-c%20statement_timeout%3D9000%20\
             -c%20default_transaction_isolation%3Dserializable"
        );
        let url: DatabaseUrl = url.parse().unwrap();
        for (role, time) in [(Role::Appender, "30s"), (Role::Writer, "0")] {
            let mut connection = AnyConnection::open(&url, role).unwrap();
            let mut of = |name| {
                setting(&mut connection, &format!("SELECT current_setting('{name}') AS value"))
            };
            assert_eq!(of("synchronous_commit"), "on");
            assert_eq!(of("statement_timeout"), time);
            connection.begin().unwrap();
            let isolation = "SELECT current_setting('transaction_isolation') AS value";
            assert_eq!(setting(&mut connection, isolation), "read committed");
        }
        let mut connection = AnyConnection::open(&url, reader()).unwrap();
        assert!(connection.batch_execute("CREATE TABLE none (id integer)").is_err());
    }
}
