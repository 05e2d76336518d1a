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
    /// Appends, migrations and other writes.
    Writer,
    /// Reads only, each at most this long.
    Reader {
        /// PostgreSQL ends a statement that takes longer.
        read_time_max: Duration,
    },
}

/// How long to wait for a lock that another process holds on a SQLite file. Writers of this process
/// take turns and never wait here.
const SQLITE_BUSY_MS: u32 = 5_000;

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
            DatabaseUrl::Sqlite(path) => open_sqlite(path, role).map(AnyConnection::Sqlite),
            DatabaseUrl::Postgres(url) => open_postgres(url, role).map(AnyConnection::Postgres),
        }
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once, since one
    /// that begins by reading can fail to get it later, however long it waits.
    pub(crate) fn begin(&mut self) -> QueryResult<()> {
        match self {
            AnyConnection::Sqlite(sqlite) => sqlite.batch_execute("BEGIN IMMEDIATE"),
            AnyConnection::Postgres(postgres) => postgres.batch_execute("BEGIN"),
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

fn open_sqlite(path: &Path, role: Role) -> ConnectionResult<SqliteConnection> {
    let path = path.to_str().ok_or_else(|| {
        ConnectionError::BadConnection("the path of the file is not UTF-8".to_owned())
    })?;
    // A path that begins with `file:` would be read as a URI.
    let path = if path.starts_with("file:") { format!("./{path}") } else { path.to_owned() };
    let mut connection = SqliteConnection::establish(&path)?;
    let set_up = match role {
        // 64 MiB of cache; a checkpoint each 16 MiB of log, so that it is rare beside the commits
        // and still small.
        Role::Writer => format!(
            "PRAGMA busy_timeout = {SQLITE_BUSY_MS};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -65536;
             PRAGMA wal_autocheckpoint = 4096;
             PRAGMA journal_size_limit = 67108864;"
        ),
        Role::Reader { .. } => format!(
            "PRAGMA busy_timeout = {SQLITE_BUSY_MS};
             PRAGMA query_only = ON;
             PRAGMA cache_size = -16384;
             PRAGMA mmap_size = 268435456;"
        ),
    };
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

fn open_postgres(url: &PostgresUrl, role: Role) -> ConnectionResult<PgConnection> {
    let mut connection = PgConnection::establish(&url.with_defaults(POSTGRES_DEFAULTS))?;
    let set_up = match role {
        Role::Writer => "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';"
            .to_owned(),
        Role::Reader { read_time_max } => format!(
            "SET default_transaction_read_only = on; SET TimeZone = 'UTC';
             SET statement_timeout = {};",
            read_time_max.as_millis()
        ),
    };
    connection.batch_execute(&set_up).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}
