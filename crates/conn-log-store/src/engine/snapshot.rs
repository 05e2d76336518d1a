//! Several reads of one state of the database.

use diesel::connection::SimpleConnection;

use super::connection::AnyConnection;
use crate::error::StoreError;

/// How PostgreSQL plans the statements of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plans {
    /// As it sees fit.
    Free,
    /// Once for each connection, and never through a whole table: for reads that find every row by a key.
    /// Planning takes them as long as the work, and a plan made while a table is empty stays right.
    ByKey,
}

/// Runs `read` in a transaction that sees one state of the database throughout, and only reads.
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
    // There is nothing to keep. A connection that cannot end it is broken, and its pool finds that out.
    let ended = connection.batch_execute("ROLLBACK").map_err(StoreError::from);
    let answer = result?;
    ended?;
    Ok(answer)
}
