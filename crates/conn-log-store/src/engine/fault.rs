//! The kinds of faults that database errors belong to.
//!
//! Diesel reports only a few kinds and hides the SQLSTATE; PostgreSQL's texts are in the language
//! of the server. So no text of PostgreSQL is read: other errors are [`Fault::Unclear`], and the
//! writer finds the cause by a trial (`log::sequencer::trial`). SQLite's texts are the names of its
//! result codes, compiled in and never translated (`sqlite3_errstr`).

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::StoreError;

/// The kind of a failed transaction's error, by what a retry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A retry may work: a conflict with another transaction, a lost connection.
    Passing,
    /// The database cannot write anything at present: a full disk, a read-only replica.
    Outage,
    /// The error does not tell whether a retry may work.
    Unclear,
    /// A retry fails in the same way.
    Lasting,
}

/// `sqlite3_errstr` of the codes that do not depend on the written data.
const SQLITE_OUTAGES: &[&str] = &[
    // SQLITE_FULL
    "database or disk is full",
    // SQLITE_IOERR and all its kinds
    "disk I/O error",
    // SQLITE_READONLY
    "attempt to write a readonly database",
    // SQLITE_CANTOPEN
    "unable to open database file",
    // SQLITE_NOMEM
    "out of memory",
    SQLITE_BUSY,
];

/// `sqlite3_errstr(SQLITE_BUSY)`.
const SQLITE_BUSY: &str = "database is locked";

impl Fault {
    /// The kind of an error from SQLite or PostgreSQL.
    pub(crate) fn of(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                // PostgreSQL's tables have no CHECK constraint: the row has no partition, although
                // the partition existed at the writer's last check.
                | DatabaseErrorKind::CheckViolation => Fault::Passing,
                DatabaseErrorKind::ReadOnlyTransaction => Fault::Outage,
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::ExclusionViolation => Fault::Lasting,
                _ if SQLITE_OUTAGES.contains(&information.message()) => Fault::Outage,
                _ => Fault::Unclear,
            },
            DieselError::BrokenTransactionManager => Fault::Passing,
            _ => Fault::Lasting,
        }
    }
}

impl Fault {
    /// The kind of fault behind an error of the store.
    pub(crate) fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::NoConnection(_) | StoreError::QueryTimeout => {
                Fault::Passing
            }
            StoreError::Internal(cause) => {
                cause.as_error().downcast_ref().map_or(Fault::Lasting, Fault::of)
            }
            StoreError::NotFound(_) | StoreError::NameTaken(_) | StoreError::Full(_) => {
                Fault::Lasting
            }
        }
    }
}

/// Whether another process holds SQLite's lock.
pub(super) fn is_busy(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, information) if information.message() == SQLITE_BUSY)
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match Fault::of(&error) {
            Fault::Passing | Fault::Outage => StoreError::unavailable(error),
            Fault::Unclear | Fault::Lasting => StoreError::internal(error),
        }
    }
}

impl From<diesel::r2d2::PoolError> for StoreError {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        StoreError::unavailable(error)
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        StoreError::unavailable(error)
    }
}
