//! Several reads of one state of the database.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

use super::connection::AnyConnection;
use super::fault::Fault;
use crate::error::StoreError;

/// The way PostgreSQL plans the statements of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plans {
    /// PostgreSQL decides.
    Free,
    /// Once for each statement and connection, and never with a scan of a whole table: for reads
    /// that find every row by a key. For them planning takes as long as the read, and a plan made
    /// while a table is empty stays good.
    ByKey,
}

/// The error of a read: the store's own error, or one that can contain it.
pub(crate) trait ReadError: From<StoreError> {
    /// The store's error, if this is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl ReadError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// Runs `read` in a read-only transaction that sees one state of the database. `time_max` is the
/// `statement_timeout` of the connection.
///
/// # Errors
/// [`StoreError::QueryTimeout`] if PostgreSQL canceled a statement because of that limit. Its error
/// has no kind and a text in the server's language, so the time tells: an unclear fault once the
/// limit has passed.
pub(crate) fn in_snapshot<T, E: ReadError>(
    connection: &mut AnyConnection,
    time_max: Duration,
    plans: Plans,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, E>,
) -> Result<T, E> {
    let begin = match (&connection, plans) {
        (AnyConnection::Sqlite(_), _) => "BEGIN",
        (AnyConnection::Postgres(_), Plans::Free) => {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        }
        (AnyConnection::Postgres(_), Plans::ByKey) => {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"
        }
    };
    let start = Instant::now();
    let begun = connection.batch_execute(begin).map_err(StoreError::from);
    let result = begun.map_err(E::from).and_then(|()| read(connection));
    let is_over = matches!(connection, AnyConnection::Postgres(_)) && start.elapsed() >= time_max;
    // There is nothing to commit. If ROLLBACK fails the connection is broken, and its pool finds
    // that out.
    let ended = connection.batch_execute("ROLLBACK").map_err(StoreError::from);
    let answer = result.map_err(|error| {
        let is_unclear = error.store_error().map(Fault::of_store) == Some(Fault::Unclear);
        if is_over && is_unclear { StoreError::QueryTimeout.into() } else { error }
    })?;
    ended?;
    Ok(answer)
}
