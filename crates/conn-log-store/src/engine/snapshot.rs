//! Several reads of one state of the database.

use diesel::connection::SimpleConnection;

use super::connection::AnyConnection;
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

/// Runs `read` in a read-only transaction that sees one state of the database.
pub(crate) fn in_snapshot<T, E: From<StoreError>>(
    connection: &mut AnyConnection,
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
    let begun = connection.batch_execute(begin).map_err(StoreError::from);
    let result = begun.map_err(E::from).and_then(|()| read(connection));
    // There is nothing to commit. If ROLLBACK fails the connection is broken, and its pool finds
    // that out.
    let ended = connection.batch_execute("ROLLBACK").map_err(StoreError::from);
    let answer = result?;
    ended?;
    Ok(answer)
}
