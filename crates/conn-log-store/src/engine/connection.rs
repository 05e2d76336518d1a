//! One connection to either database, set up for its role, and its transactions.
//!
//! It knows how to connect and how a transaction begins and ends; it knows no table.

use std::time::Duration;

use conn_log_core::Timestamp;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::position::{self, Lease, Wait};
use super::postgres::{self, partitions};
use super::sqlite;
use super::url::DatabaseUrl;
use crate::error::StoreError;
use crate::options::PartitionSize;
use crate::tenant_id::TenantId;

/// A connection to the database of a URL.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    /// An embedded file.
    Sqlite(SqliteConnection),
    /// A server.
    Postgres(PgConnection),
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Appends: a server that hangs, or a lock that is never released, must not block them for
    /// ever.
    Appender,
    /// Migrations and background work, which may take long.
    Writer,
    /// Writes derived data, on SQLite in a separate file. It only reads the log.
    Deriver,
    /// Only reads, and each statement has a time limit.
    Reader {
        /// PostgreSQL ends a statement that takes longer.
        read_time_max: Duration,
    },
}

impl AnyConnection {
    /// Connects and sets up the session.
    pub(crate) fn open(url: &DatabaseUrl, role: Role) -> ConnectionResult<Self> {
        match url {
            DatabaseUrl::Sqlite(_) => sqlite::open(url, role).map(AnyConnection::Sqlite),
            DatabaseUrl::Postgres(url) => postgres::open(url, role).map(AnyConnection::Postgres),
        }
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once: a
    /// transaction that begins by reading can fail to get the lock later, however long it waits.
    pub(crate) fn begin(&mut self) -> QueryResult<()> {
        match self {
            AnyConnection::Sqlite(sqlite) => sqlite.batch_execute("BEGIN IMMEDIATE"),
            AnyConnection::Postgres(postgres) => postgres.batch_execute(postgres::BEGIN),
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
        self.finish(work)
    }

    /// Runs `work` in the open transaction, and commits it or rolls it back.
    pub(super) fn finish<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        match work(self) {
            Ok(done) => {
                if let Err(error) = self.commit() {
                    // After a failed COMMIT there may be no transaction to roll back.
                    self.rollback().ok();
                    return Err(in_doubt(error).into());
                }
                Ok(done)
            }
            Err(error) => {
                // The first error is the one to report.
                self.rollback().ok();
                Err(error)
            }
        }
    }

    /// Tells other processes, once this transaction is committed, that these tenants have new events
    /// or alerts. On SQLite other processes check for themselves.
    pub(crate) fn announce_in_txn(&mut self, tenants: &[TenantId]) -> QueryResult<()> {
        match self {
            AnyConnection::Sqlite(_) => Ok(()),
            AnyConnection::Postgres(postgres) => postgres::listener::notify(postgres, tenants),
        }
    }

    /// Fails if a COMMIT of this transaction would be answered before a tenant's rows are on the disk
    /// of their node. A setting of SQLite is the connection's own, and nobody else changes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], until the node's setting is changed.
    pub(crate) fn check_durable_in_txn(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        match self {
            AnyConnection::Sqlite(_) => Ok(()),
            AnyConnection::Postgres(postgres) => {
                postgres::durability::check_in_txn(postgres, tenant.0)
            }
        }
    }

    /// Creates the log's partition for that time if it is missing; returns it if the database has
    /// partitions.
    pub(crate) fn ensure_partition_in_txn(
        &mut self,
        time: Timestamp,
        size: PartitionSize,
    ) -> Result<Option<partitions::Span>, StoreError> {
        match self {
            AnyConnection::Sqlite(_) => Ok(None),
            AnyConnection::Postgres(postgres) => {
                partitions::ensure_in_txn(postgres, time, size).map(Some)
            }
        }
    }

    /// Takes a lease until the transaction ends; returns whether it got the lease. On SQLite a
    /// transaction that writes to the file has every lease on it.
    pub(crate) fn lease_in_txn(&mut self, lease: Lease, wait: Wait) -> QueryResult<bool> {
        match self {
            AnyConnection::Sqlite(_) => Ok(true),
            AnyConnection::Postgres(postgres) => position::lock_in_txn(postgres, lease, wait),
        }
    }

    /// Lets one transaction of all processes at a time pass: for changes of tenants and tokens,
    /// which are so rare that one lock for all of them is enough. On SQLite a transaction that may
    /// write already holds the lock.
    pub(crate) fn lock_control_in_txn(&mut self) -> QueryResult<()> {
        self.lock_in_txn(0)
    }

    /// The same for changes of one tenant's rules, alerts, webhooks and silences: a transaction
    /// that hangs holds up no other tenant.
    pub(crate) fn lock_control_of_in_txn(&mut self, tenant: TenantId) -> QueryResult<()> {
        self.lock_in_txn(tenant.0)
    }

    /// An advisory lock, and not one on a table: on Citus the latter needs every node.
    fn lock_in_txn(&mut self, number: i32) -> QueryResult<()> {
        /// An arbitrary number, the same for every conn-log.
        const LOCKS: i32 = 0x636c_6f67;
        match self {
            AnyConnection::Sqlite(_) => Ok(()),
            AnyConnection::Postgres(postgres) => {
                let lock = format!("SELECT pg_advisory_xact_lock({LOCKS}, {number})");
                postgres.batch_execute(&lock)
            }
        }
    }
}

/// The error of a COMMIT, which may have worked or not. An error without a kind is one of the
/// connection then: nobody may take it for a transaction that was rolled back, and try again.
fn in_doubt(error: diesel::result::Error) -> diesel::result::Error {
    use diesel::result::{DatabaseErrorKind, Error};
    match error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            Error::DatabaseError(DatabaseErrorKind::ClosedConnection, information)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use conn_log_test_support::{Backend, TestDatabase};
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

    /// A log's two files, empty.
    fn new_files(path: std::path::PathBuf) -> DatabaseUrl {
        let url = DatabaseUrl::Sqlite(path);
        for file in [url.file(), url.derived().as_ref().and_then(DatabaseUrl::file)] {
            sqlite::create(file.unwrap()).unwrap();
        }
        url
    }

    fn reader() -> Role {
        Role::Reader { read_time_max: Duration::from_secs(7) }
    }

    /// A kill of the process cannot show this: only a crash of the machine would.
    #[test]
    fn sqlite_writes_through_a_log_and_syncs_it_at_each_commit() {
        let folder = tempfile::tempdir().unwrap();
        let url = new_files(folder.path().join("log.db"));
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
        for name in ["it's.db", "file:a?mode=ro", "\"quoted\".db", "a#b", "%41&c", "ä /b//c.db"] {
            let url = new_files(folder.path().join(name));
            let derived = url.derived().unwrap();
            let mut connection = AnyConnection::open(&derived, Role::Writer).unwrap();
            connection.batch_execute("CREATE TABLE there (id INTEGER)").unwrap();
            for (role, table) in [(Role::Deriver, "there"), (reader(), "derived.there")] {
                let mut connection = AnyConnection::open(&url, role).unwrap();
                let query = format!("SELECT 'yes' AS value FROM (SELECT count(*) FROM {table})");
                assert_eq!(setting(&mut connection, &query), "yes", "{name}");
            }
            assert!(std::fs::metadata(derived.file().unwrap()).unwrap().len() > 0, "{name}");
        }
    }

    #[test]
    fn sqlite_makes_no_file_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        for role in [Role::Appender, Role::Writer, Role::Deriver, reader()] {
            assert!(AnyConnection::open(&url, role).is_err(), "{role:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// The options are those of `.cargo/config.toml`.
    #[test]
    fn sqlite_is_built_as_is_said_here() {
        let folder = tempfile::tempdir().unwrap();
        let url = new_files(folder.path().join("log.db"));
        let mut connection = AnyConnection::open(&url, Role::Writer).unwrap();
        let options = "SELECT group_concat(compile_options) AS value FROM pragma_compile_options";
        let options = setting(&mut connection, options);
        assert!(options.contains("THREADSAFE=2"), "{options}");
        assert!(!options.contains("ENABLE_MEMORY_MANAGEMENT"), "{options}");
        // With it SQLite would prepare statements again for each new parameter.
        assert!(!options.contains("ENABLE_STAT4"), "{options}");
        // Without its stable plans SQLite would do the same for each new LIMIT.
        assert!(options.contains("ENABLE_QPSG"), "{options}");
    }

    #[test]
    fn postgres_waits_for_the_disk_whatever_the_database_is_set_to() {
        let Some(database) = TestDatabase::new(Backend::Postgres) else { return };
        // A role or a database may have this setting.
        let url = format!(
            "{}?options=-c%20synchronous_commit%3Doff%20-c%20statement_timeout%3D9000%20\
             -c%20default_transaction_isolation%3Dserializable",
            database.url()
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
