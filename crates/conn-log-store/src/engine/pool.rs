//! Pools of connections beside the writer's own.

use diesel::connection::SimpleConnection;
use diesel::r2d2::{self, ManageConnection, Pool, PooledConnection};

use super::connection::{AnyConnection, Role};
use super::url::DatabaseUrl;
use crate::options::StoreOptions;

pub(crate) type Connections = Pool<Manager>;
pub(crate) type Pooled = PooledConnection<Manager>;

/// Opens connections for r2d2 and tells which of them still work.
#[derive(Debug)]
pub(crate) struct Manager {
    url: DatabaseUrl,
    role: Role,
}

/// A pool of connections that only read.
pub(crate) fn readers(options: &StoreOptions) -> Connections {
    let role = Role::Reader { read_time_max: options.read_time_max };
    pool(options, role, options.readers_max)
}

/// A pool for short reads that everything else waits for: tokens, readiness, the end of the log. Long reads do
/// not keep these from a connection.
pub(crate) fn watchers(options: &StoreOptions) -> Connections {
    const WATCHERS_MAX: u32 = 2;
    pool(options, Role::Reader { read_time_max: options.read_time_max }, WATCHERS_MAX)
}

/// A pool of connections that write other things than events, for PostgreSQL: its writers need not take
/// turns. A few are enough for background work and the odd token.
pub(crate) fn writers(options: &StoreOptions) -> Connections {
    const WRITERS_MAX: u32 = 4;
    pool(options, Role::Writer, WRITERS_MAX)
}

fn pool(options: &StoreOptions, role: Role, size_max: u32) -> Connections {
    Pool::builder()
        .max_size(size_max.max(1))
        .min_idle(Some(0))
        .connection_timeout(options.reader_wait_max)
        // A server that was restarted is noticed here, and not by the query.
        .test_on_check_out(true)
        .build_unchecked(Manager { url: options.url.clone(), role })
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, r2d2::Error> {
        AnyConnection::open(&self.url, self.role).map_err(r2d2::Error::ConnectionError)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), r2d2::Error> {
        match connection {
            // A file does not go away.
            AnyConnection::Sqlite(_) => Ok(()),
            AnyConnection::Postgres(postgres) => {
                postgres.batch_execute("SELECT 1").map_err(r2d2::Error::QueryError)
            }
        }
    }

    fn has_broken(&self, _: &mut AnyConnection) -> bool {
        // A panic may have left a transaction open.
        std::thread::panicking()
    }
}
