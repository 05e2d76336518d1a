//! Pools of connections, apart from the writer's connection.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use diesel::ConnectionError;
use diesel::r2d2::{self, Builder, ManageConnection, Pool, PooledConnection};

use super::connection::{AnyConnection, Role};
use super::identity::Identity;
use super::lanes::Share;
use super::sqlite::Files;
use super::url::DatabaseUrl;
use crate::error::StoreError;
use crate::options::StoreOptions;

pub(crate) type Connections = Pool<Manager>;
pub(crate) type Pooled = PooledConnection<Manager>;

/// A pooled connection for one tenant's reads.
pub(crate) struct TenantReader {
    pub(super) connection: Pooled,
    /// On a distributed database.
    pub(super) _share: Option<Share>,
}

impl Deref for TenantReader {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for TenantReader {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// Opens connections for r2d2 and checks which of them still work.
pub(crate) struct Manager {
    url: DatabaseUrl,
    role: Role,
    /// The files of an embedded database.
    files: Option<Arc<Files>>,
    identity: Arc<Identity>,
}

/// A pool of connections that only read.
pub(super) fn readers(
    options: &StoreOptions,
    files: Option<Arc<Files>>,
    identity: Arc<Identity>,
) -> Result<Connections, StoreError> {
    const READERS_KEPT: u32 = 1;
    let role = Role::Reader { read_time_max: options.read_time_max };
    let manager = Manager { url: options.url.clone(), role, files, identity };
    let pool = builder(options, READERS_KEPT, options.readers_max.max(1));
    build(options, pool, manager)
}

/// A pool for short reads that other work waits for: tokens, readiness, the end of the log. Long
/// reads cannot use up its connections.
pub(super) fn watchers(
    options: &StoreOptions,
    files: Option<Arc<Files>>,
    identity: Arc<Identity>,
) -> Result<Connections, StoreError> {
    const WATCHERS: u32 = 2;
    let role = Role::Reader { read_time_max: options.read_time_max };
    let manager = Manager { url: options.url.clone(), role, files, identity };
    build(options, for_ever(builder(options, WATCHERS, WATCHERS)), manager)
}

/// Connections for clients' writes, and for what becomes of deliveries, that a lane may hold if
/// there are several.
pub(super) const WRITES_OF_LANE: u32 = 2;

/// The same for the lane's threads: two that derive data, one that evaluates rules.
const THREADS_OF_LANE: u32 = 3;

/// A pool of connections that write other rows than events, for PostgreSQL: there writers need not
/// take turns. A few for each lane are enough for background work and a token now and then: a lane
/// whose node hangs leaves the others theirs.
pub(super) fn writers(
    options: &StoreOptions,
    lanes: usize,
    identity: Arc<Identity>,
) -> Result<Connections, StoreError> {
    let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
    let writers_max = match lanes {
        1 => 4,
        // Two for what every node has, such as tokens, and for tasks.
        lanes => lanes.saturating_mul(THREADS_OF_LANE + WRITES_OF_LANE).saturating_add(2),
    };
    // One for each thread that computes derived data.
    let writers_kept = lanes.saturating_mul(2);
    let url = options.url.clone();
    let manager = Manager { url, role: Role::Writer, files: None, identity };
    build(options, for_ever(builder(options, writers_kept, writers_max)), manager)
}

/// A pool that keeps that many connections, as the options ask, and opens the others when they are
/// needed.
fn builder(options: &StoreOptions, kept: u32, size_max: u32) -> Builder<Manager> {
    let kept = if connects_at_start(options) { kept } else { 0 };
    Pool::builder()
        .max_size(size_max)
        .min_idle(Some(kept))
        .connection_timeout(options.reader_wait_max)
        // This check, and not the query, finds out that a server was restarted.
        .test_on_check_out(true)
}

/// A pool that closes no connection for its age: a reader could take its place.
fn for_ever(builder: Builder<Manager>) -> Builder<Manager> {
    builder.idle_timeout(None).max_lifetime(None)
}

/// Opens the connections that the pool keeps.
fn build(
    options: &StoreOptions,
    builder: Builder<Manager>,
    manager: Manager,
) -> Result<Connections, StoreError> {
    if connects_at_start(options) {
        Ok(builder.build(manager)?)
    } else {
        Ok(builder.build_unchecked(manager))
    }
}

/// An embedded database has any number of connections.
fn connects_at_start(options: &StoreOptions) -> bool {
    options.connect_at_start && matches!(options.url, DatabaseUrl::Postgres(_))
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, r2d2::Error> {
        let mut connection =
            AnyConnection::open(&self.url, self.role).map_err(r2d2::Error::ConnectionError)?;
        self.identity.look_at_new(&mut connection).map_err(r2d2::Error::QueryError)?;
        // The file may be one that was put there after the engine's check.
        let checked = self.files.as_ref().map_or(Ok(()), |files| files.check_log());
        checked.map_err(|error| {
            r2d2::Error::ConnectionError(ConnectionError::BadConnection(error.to_string()))
        })?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), r2d2::Error> {
        // Also finds out whether the session is alive. A connection to a database without a log is
        // good: the engine refuses to use it.
        self.identity.look_at(connection).map_err(r2d2::Error::QueryError)
    }

    fn has_broken(&self, _: &mut AnyConnection) -> bool {
        // A panic may have left a transaction open.
        std::thread::panicking()
    }
}
