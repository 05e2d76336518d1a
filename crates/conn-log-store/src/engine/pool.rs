//! Pools of connections, apart from the writer's connection.

use std::sync::Arc;

use diesel::ConnectionError;
use diesel::connection::SimpleConnection;
use diesel::r2d2::{self, ManageConnection, Pool, PooledConnection};

use super::connection::{AnyConnection, Role};
use super::sqlite::Files;
use super::url::DatabaseUrl;
use crate::options::StoreOptions;

pub(crate) type Connections = Pool<Manager>;
pub(crate) type Pooled = PooledConnection<Manager>;

/// Opens connections for r2d2 and checks which of them still work.
pub(crate) struct Manager {
    url: DatabaseUrl,
    role: Role,
    /// The files of an embedded database.
    files: Option<Arc<Files>>,
}

/// A pool of connections that only read.
pub(super) fn readers(options: &StoreOptions, files: Option<Arc<Files>>) -> Connections {
    let role = Role::Reader { read_time_max: options.read_time_max };
    pool(options, role, options.readers_max, files)
}

/// A pool for short reads that other work waits for: tokens, readiness, the end of the log. Long
/// reads cannot use up its connections.
pub(super) fn watchers(options: &StoreOptions, files: Option<Arc<Files>>) -> Connections {
    const WATCHERS_MAX: u32 = 2;
    pool(options, Role::Reader { read_time_max: options.read_time_max }, WATCHERS_MAX, files)
}

/// A pool of connections that write other rows than events, for PostgreSQL: there writers need not
/// take turns. A few are enough for background work and a token now and then.
pub(super) fn writers(options: &StoreOptions) -> Connections {
    const WRITERS_MAX: u32 = 4;
    pool(options, Role::Writer, WRITERS_MAX, None)
}

fn pool(
    options: &StoreOptions,
    role: Role,
    size_max: u32,
    files: Option<Arc<Files>>,
) -> Connections {
    Pool::builder()
        .max_size(size_max.max(1))
        .min_idle(Some(0))
        .connection_timeout(options.reader_wait_max)
        // This check, and not the query, finds out that a server was restarted.
        .test_on_check_out(true)
        .build_unchecked(Manager { url: options.url.clone(), role, files })
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, r2d2::Error> {
        let connection =
            AnyConnection::open(&self.url, self.role).map_err(r2d2::Error::ConnectionError)?;
        // The file may be one that was put there after the engine's check.
        let checked = self.files.as_ref().map_or(Ok(()), |files| files.check_log());
        checked.map_err(|error| {
            r2d2::Error::ConnectionError(ConnectionError::BadConnection(error.to_string()))
        })?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), r2d2::Error> {
        match connection {
            // The engine has already checked that its files are there.
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
