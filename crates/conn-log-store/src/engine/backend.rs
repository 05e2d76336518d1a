//! The engine: the database interface for the layers above.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::r2d2::PoolError;

use super::again::read_again;
use super::connection::{AnyConnection, Role};
use super::fault::Fault;
use super::identity::Identity;
use super::lanes::{Lanes, Share, Shares};
use super::migrations;
use super::pool::{self, Connections, Pooled, TenantReader};
use super::position::Home;
use super::postgres::{self, Postgres, citus, durability};
use super::signals::Signals;
use super::snapshot::{Plans, ReadError, in_snapshot};
use super::sqlite::{self, Files, Sqlite};
use super::turn::Turns;
use super::url::DatabaseUrl;
use crate::error::{OpenError, StoreError};
use crate::options::StoreOptions;
use crate::tenant_id::TenantId;

/// The operations that differ between the two databases, apart from connections. [`Engine`]
/// documents each.
pub(super) trait Backend {
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError>;

    fn derive<T: Send + 'static>(
        &self,
        home: Home,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError>;

    fn start(&self, signals: &Signals) -> Result<JoinHandle<()>, StoreError>;

    fn has_fsync(&self) -> bool;

    fn derived_is_apart(&self) -> bool;

    fn reclaim(&self, table: &str) -> Result<(), StoreError>;

    fn close(&self) -> Result<(), StoreError>;
}

/// One of the two databases.
enum Either {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Calls the operation of the database in use.
macro_rules! ask {
    ($engine:expr, $backend:ident => $answer:expr) => {
        match &$engine.backend {
            Either::Sqlite($backend) => $answer,
            Either::Postgres($backend) => $answer,
        }
    };
}

/// A database, its pools, and its way to write.
pub(crate) struct Engine {
    url: DatabaseUrl,
    read_time_max: Duration,
    readers: Connections,
    watchers: Connections,
    /// The files of an embedded database.
    files: Option<Arc<Files>>,
    lanes: Arc<Lanes>,
    /// The connections for reads that each lane may hold.
    read_shares: Shares,
    /// The connections for clients' writes that each lane may hold.
    write_shares: Shares,
    identity: Arc<Identity>,
    backend: Either,
}

impl Engine {
    /// The engine of a migrated database. `turns` run at the connection of the log's writer.
    /// Connects as [`StoreOptions::connect_at_start`] says.
    pub(crate) fn new(
        options: &StoreOptions,
        lanes: Arc<Lanes>,
        turns: Arc<dyn Turns>,
    ) -> Result<Self, StoreError> {
        let url = &options.url;
        let identity = Arc::new(Identity::default());
        let (backend, files) = match url {
            DatabaseUrl::Sqlite(_) => {
                let role = Role::Reader { read_time_max: options.read_time_max };
                let files = Arc::new(Files::keep(url, role)?);
                let sqlite = Sqlite::new(url.clone(), turns, Arc::clone(&files));
                (Either::Sqlite(sqlite), Some(files))
            }
            DatabaseUrl::Postgres(url) => {
                let writers = pool::writers(options, lanes.count(), Arc::clone(&identity))?;
                let lanes = Arc::clone(&lanes);
                let postgres = Postgres::new(url.clone(), writers, lanes, Arc::clone(&identity));
                (Either::Postgres(postgres), None)
            }
        };
        Ok(Engine {
            url: options.url.clone(),
            read_time_max: options.read_time_max,
            readers: pool::readers(options, files.clone(), Arc::clone(&identity))?,
            watchers: pool::watchers(options, files.clone(), Arc::clone(&identity))?,
            files,
            lanes,
            read_shares: Shares::new((options.readers_max / 2).max(1)),
            write_shares: Shares::new(pool::WRITES_OF_LANE),
            identity,
            backend,
        })
    }

    /// Creates the file of an embedded log, and applies the missing migrations. Returns their
    /// names.
    pub(crate) fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        let mut applied = migrations::run(&mut open_for_migrations(url)?)?;
        if let Some(derived) = url.derived() {
            let beside = migrations::run_derived(&mut open_for_migrations(&derived)?)?;
            applied.extend(beside.iter().map(|name| format!("{name} (of derived data)")));
        }
        Ok(applied)
    }

    /// Puts the tables of a migrated log where they belong on Citus. Returns what was done.
    pub(crate) fn distribute(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        match open_for_migrations(url)? {
            AnyConnection::Postgres(mut postgres) => citus::distribute(&mut postgres),
            AnyConnection::Sqlite(_) => {
                Err(OpenError::Citus("a SQLite file is on one machine; Citus is PostgreSQL"))
            }
        }
    }

    /// Finds the lanes of a migrated database.
    ///
    /// # Errors
    /// If Citus distributes only a part of the log, or a worker would answer before its fsync.
    pub(crate) fn find_lanes(url: &DatabaseUrl) -> Result<Lanes, OpenError> {
        let DatabaseUrl::Postgres(url) = url else { return Ok(Lanes::default()) };
        let mut postgres = postgres::open(url, Role::Writer).map_err(StoreError::from)?;
        citus::check(&mut postgres)?;
        let lanes = citus::lanes(&mut postgres).map_err(StoreError::from)?;
        durability::check(&mut postgres, &lanes)?;
        Ok(lanes)
    }

    /// The lanes of the database's tenants.
    pub(crate) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// How to plan reads that find every row by a key. Citus cannot route most statements before it
    /// knows the tenant, which a generic plan leaves open.
    pub(crate) fn plans_by_key(&self) -> Plans {
        if self.lanes.is_distributed() { Plans::Free } else { Plans::ByKey }
    }

    /// Fails if this program cannot work on the database as it is.
    pub(crate) fn check_schema(&self) -> Result<(), StoreError> {
        migrations::check(&mut *self.watcher()?)
    }

    /// Opens a connection that the caller owns.
    pub(crate) fn connect(&self, role: Role) -> Result<AnyConnection, StoreError> {
        self.check_log()?;
        let mut connection = AnyConnection::open(&self.url, role)?;
        self.identity.look_at_new(&mut connection)?;
        if matches!(connection, AnyConnection::Postgres(_)) {
            self.identity.look(&mut connection)?;
        }
        // The connection may be to a file that was put there in the meantime.
        self.check_log()?;
        Ok(connection)
    }

    /// A pooled connection that reads.
    pub(crate) fn reader(&self) -> Result<Pooled, StoreError> {
        self.check_files()?;
        let reader = self.readers.get().map_err(|error| self.no_reader(error))?;
        self.identity.check()?;
        Ok(reader)
    }

    /// A pooled connection for reads of one tenant. On a distributed database the tenants of one
    /// node get half of the connections, so that a node that hangs leaves the others theirs.
    pub(crate) fn reader_of(&self, tenant: TenantId) -> Result<TenantReader, StoreError> {
        self.reader_in(self.lanes.of(tenant))
    }

    /// The same for the tenants of a lane.
    pub(super) fn reader_in(&self, lane: usize) -> Result<TenantReader, StoreError> {
        let share = self.share(&self.read_shares, lane)?;
        Ok(TenantReader { connection: self.reader()?, _share: share })
    }

    /// A lane's share of connections. `None` if there is one lane, which needs none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the lane holds all that it may for as long as a caller waits.
    fn share(&self, shares: &Shares, lane: usize) -> Result<Option<Share>, StoreError> {
        if self.lanes.count() < 2 {
            return Ok(None);
        }
        let share = shares.take(lane, self.readers.connection_timeout());
        share.map(Some).ok_or_else(|| StoreError::unavailable("a node does not answer"))
    }

    /// Fails if no read could run: PostgreSQL gives this process no connection for reads. Reads
    /// that wait for others do not count.
    pub(crate) fn check_readers(&self) -> Result<(), StoreError> {
        /// A supervisor does not wait as long as a read may.
        const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
        let state = self.readers.state();
        // A connection that waits may be of a server that was restarted since.
        if state.idle_connections == state.connections {
            let reader = self.readers.get_timeout(CONNECT_TIME_MAX);
            reader.map_err(|error| self.no_reader(error))?;
        }
        Ok(())
    }

    /// The error of a reader that could not be had. If the database answers otherwise, it only has
    /// no connection to spare.
    fn no_reader(&self, error: PoolError) -> StoreError {
        match self.watchers.try_get() {
            Some(_) => StoreError::NoConnection(error.into()),
            None => error.into(),
        }
    }

    /// A pooled connection for short reads that other work waits for: tokens, readiness, the end of
    /// a log.
    pub(crate) fn watcher(&self) -> Result<Pooled, StoreError> {
        self.check_log()?;
        let watcher = self.watchers.get()?;
        self.identity.check()?;
        Ok(watcher)
    }

    /// Which database the connections reach.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Fails if the log's file is not the one that was opened. A server has no file that this
    /// program sees.
    pub(crate) fn check_log(&self) -> Result<(), StoreError> {
        self.files.as_ref().map_or(Ok(()), |files| files.check_log())
    }

    /// The same check, for the file of derived data too.
    pub(crate) fn check_files(&self) -> Result<(), StoreError> {
        self.files.as_ref().map_or(Ok(()), |files| files.check())
    }

    /// The number of connections that read, and the number of idle ones.
    pub(crate) fn readers_state(&self) -> (u32, u32) {
        let state = self.readers.state();
        (state.connections, state.idle_connections)
    }

    /// Longest read.
    pub(crate) fn read_time_max(&self) -> Duration {
        self.read_time_max
    }

    /// Runs a client's `read`, which takes its own connections. It is tried again if its error does
    /// not tell its cause.
    pub(crate) fn read<T, E: ReadError>(&self, read: impl Fn() -> Result<T, E>) -> Result<T, E> {
        read_again(self.read_time_max, read)
    }

    /// Runs a tenant's `read` on one snapshot of the database.
    pub(crate) fn snapshot<T, E: ReadError>(
        &self,
        tenant: TenantId,
        plans: Plans,
        read: impl FnOnce(&mut AnyConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        in_snapshot(&mut *self.reader_of(tenant)?, self.read_time_max, plans, read)
    }

    /// Runs a write of other rows than events. On SQLite it runs on the writer's own connection,
    /// between two groups, so that no two writes compete for the lock; on PostgreSQL on a pooled
    /// connection.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask!(self, backend => backend.write(work))
    }

    /// Runs a client's write of one tenant, as [`Self::write_again`] does. On a distributed database
    /// a lane has some of the connections.
    pub(crate) fn write_of<T: Send + 'static>(
        &self,
        tenant: TenantId,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let _share = self.share(&self.write_shares, self.lanes.of(tenant))?;
        self.write_again(work)
    }

    /// Runs a client's write of tenants or tokens, as [`Self::write_again`] does. On a distributed
    /// database every node has them, and such writes have some of the connections: those that wait
    /// for a node leave the lanes theirs.
    pub(crate) fn write_everywhere<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let _share = self.share(&self.write_shares, self.lanes.count())?;
        self.write_again(work)
    }

    /// Runs a client's write, as [`Self::write`] does. On PostgreSQL a write whose error does not tell
    /// its cause is tried once more: its transaction was rolled back. The error of a COMMIT is never
    /// of that kind ([`AnyConnection::in_txn`]).
    fn write_again<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        if matches!(self.backend, Either::Sqlite(_)) {
            return self.write(work);
        }
        let again = work.clone();
        match self.write(work) {
            Err(error) if Fault::of_store(&error) == Fault::Unclear => {
                log::warn!("a write failed, and is tried again: {error}");
                self.write(again)
            }
            done => done,
        }
    }

    /// Runs a transaction that writes derived data, and reads the log. No append waits for it if
    /// the data's home is rebuildable. `None` if another process writes there.
    pub(crate) fn derive<T: Send + 'static>(
        &self,
        home: Home,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        ask!(self, backend => backend.derive(home, work))
    }

    /// Starts the thread that the database itself needs. It ends soon after a signal to stop.
    pub(crate) fn start(&self, signals: &Signals) -> Result<JoinHandle<()>, StoreError> {
        ask!(self, backend => backend.start(signals))
    }

    /// Whether the database syncs its files, as far as was seen last.
    pub(crate) fn has_fsync(&self) -> bool {
        ask!(self, backend => backend.has_fsync())
    }

    /// Whether rebuildable data has a separate file. Then that file may belong to another log, and
    /// a transaction that writes to it should read the log before: an open read prevents a restart
    /// of the log's write-ahead log.
    pub(crate) fn derived_is_apart(&self) -> bool {
        ask!(self, backend => backend.derived_is_apart())
    }

    /// Makes the space of a table's deleted rows usable again, if the database does not do it by
    /// itself.
    pub(crate) fn reclaim(&self, table: &str) -> Result<(), StoreError> {
        ask!(self, backend => backend.reclaim(table))
    }

    /// Puts every event where a copy of the database's files finds it. For when all writes have
    /// ended; connections may still be open.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        ask!(self, backend => backend.close())
    }
}

fn open_for_migrations(url: &DatabaseUrl) -> Result<AnyConnection, OpenError> {
    if let Some(file) = url.file() {
        sqlite::create(file)?;
    }
    AnyConnection::open(url, Role::Writer)
        .map_err(|source| OpenError::Connect { url: url.to_string(), source })
}
