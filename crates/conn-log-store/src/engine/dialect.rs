//! The SQL dialect of a connection, for the few files that need it.

use super::connection::AnyConnection;

/// The SQL of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl From<&mut AnyConnection> for Dialect {
    fn from(connection: &mut AnyConnection) -> Self {
        match connection {
            AnyConnection::Sqlite(_) => Dialect::Sqlite,
            AnyConnection::Postgres(_) => Dialect::Postgres,
        }
    }
}

/// Runs the same statement on either connection, for kinds of statements that diesel's
/// `MultiConnection` lacks.
macro_rules! on_either {
    ($connection:expr, $inner:ident => $run:expr) => {
        match $connection {
            $crate::engine::AnyConnection::Sqlite($inner) => $run,
            $crate::engine::AnyConnection::Postgres($inner) => $run,
        }
    };
}
pub(crate) use on_either;
