//! Reads that are tried again.
//!
//! Some errors that pass have no kind: on Citus a node that shuts down, or a deadlock between nodes,
//! is an error of a session that goes on ([`Fault::Unclear`]). A read changes nothing, so that
//! trying once more tells: either it works, or the node is known to be away by then.

use std::time::{Duration, Instant};

use super::fault::Fault;
use super::snapshot::ReadError;
use crate::error::StoreError;

/// Runs a read, and once more if it failed by an error that does not tell its cause. `time_max` is
/// the `statement_timeout` of the read's connection.
///
/// # Errors
/// Those of the read. [`StoreError::QueryTimeout`] if it took longer than `time_max` and the error
/// does not tell its cause: then PostgreSQL has canceled a statement.
pub(super) fn read_again<T, E: ReadError>(
    time_max: Duration,
    read: impl Fn() -> Result<T, E>,
) -> Result<T, E> {
    let begun = Instant::now();
    match read() {
        Err(error) if error.store_error().map(Fault::of_store) == Some(Fault::Unclear) => {
            if begun.elapsed() >= time_max {
                return Err(StoreError::QueryTimeout.into());
            }
            log::warn!("a read failed, and is tried again: {}", in_words(&error));
            read()
        }
        done => done,
    }
}

fn in_words(error: &impl ReadError) -> String {
    error.store_error().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use diesel::result::{DatabaseErrorKind, Error as DieselError};

    use super::*;

    fn failing(kind: DatabaseErrorKind) -> StoreError {
        DieselError::DatabaseError(kind, Box::new("no reason".to_owned())).into()
    }

    /// The number of tries, and the outcome, of a read that fails that often.
    fn read_failing(times: u32, kind: fn() -> DatabaseErrorKind) -> (u32, Result<(), StoreError>) {
        let tries = Cell::new(0);
        let result = read_again(Duration::from_mins(1), || {
            tries.set(tries.get() + 1);
            if tries.get() <= times { Err(failing(kind())) } else { Ok(()) }
        });
        (tries.get(), result)
    }

    #[test]
    fn only_an_unclear_error_is_tried_again_and_only_once() {
        let unclear = || DatabaseErrorKind::Unknown;
        assert!(matches!(read_failing(1, unclear), (2, Ok(()))));
        assert!(matches!(read_failing(2, unclear), (2, Err(StoreError::Internal(_)))));
        let closed = || DatabaseErrorKind::ClosedConnection;
        assert!(matches!(read_failing(1, closed), (1, Err(StoreError::Unavailable(_)))));
    }

    #[test]
    fn a_read_that_took_all_its_time_is_not_tried_again() {
        let result: Result<(), _> =
            read_again(Duration::ZERO, || Err(failing(DatabaseErrorKind::Unknown)));
        assert!(matches!(result, Err(StoreError::QueryTimeout)));
    }
}
