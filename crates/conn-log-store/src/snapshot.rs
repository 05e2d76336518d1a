//! Several reads of one state of the database.

use diesel::connection::SimpleConnection;

use crate::connection::AnyConnection;
use crate::error::StoreError;

/// Runs `read` in a transaction that sees one state of the database throughout, and only reads.
pub(crate) fn in_snapshot<T, E: From<StoreError>>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, E>,
) -> Result<T, E> {
    let begin = match connection {
        AnyConnection::Sqlite(_) => "BEGIN",
        AnyConnection::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    connection.batch_execute(begin).map_err(StoreError::from)?;
    let result = read(connection);
    // There is nothing to keep. A connection that cannot end it is broken, and its pool finds that out.
    let ended = connection.batch_execute("ROLLBACK").map_err(StoreError::from);
    let answer = result?;
    ended?;
    Ok(answer)
}
