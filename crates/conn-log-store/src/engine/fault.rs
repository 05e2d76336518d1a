//! What kind of fault an error of the database is.
//!
//! Diesel tells a few kinds and keeps the SQLSTATE to itself; PostgreSQL's texts are in whatever language
//! the server speaks. So no text of PostgreSQL's is looked at: what the kinds do not tell is [`Fault::Unclear`],
//! and the writer finds out by trying (`log::sequencer::trial`). SQLite's texts are the names of its
//! result codes, compiled in and never translated (`sqlite3_errstr`).

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::StoreError;

/// What to do about a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The same again may work: a conflict with another transaction, a lost connection.
    Passing,
    /// The database cannot write at present, whatever is written: a full disk, a replica that only reads.
    Outage,
    /// The error does not tell. The same again may work or not.
    Unclear,
    /// The same again fails the same way.
    Lasting,
}

/// `sqlite3_errstr` of the codes that have nothing to do with what is written.
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
    /// The kind of an error that SQLite or PostgreSQL gave.
    pub(crate) fn of(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                // PostgreSQL's tables have no CHECK of their own: it is a row without a partition, which was
                // there when the writer last looked.
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
            StoreError::Unavailable(_) | StoreError::QueryTimeout => Fault::Passing,
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
