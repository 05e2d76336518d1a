//! Which SQL a connection speaks, for the few files of a resource that must know.

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

/// Runs the same statement on either connection, where diesel's `MultiConnection` lacks the statement's kind.
macro_rules! on_either {
    ($connection:expr, $inner:ident => $run:expr) => {
        match $connection {
            $crate::engine::AnyConnection::Sqlite($inner) => $run,
            $crate::engine::AnyConnection::Postgres($inner) => $run,
        }
    };
}
pub(crate) use on_either;
