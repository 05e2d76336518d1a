//! What can go wrong, in the store's own words. Nothing here knows HTTP.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why a read, or a write of something other than events, did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or has no connection to spare; it may come back by itself.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// What was named is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The name is taken.
    #[error("there is a {0} of that name already")]
    NameTaken(&'static str),
    /// There are as many as there can be.
    #[error("there is no room for another {0}")]
    Full(&'static str),
    /// A read took longer than it may: it asks for more than the index leads to.
    #[error("the query takes longer than it may")]
    QueryTimeout,
    /// The database refused, or gave something that makes no sense: a fault to look into.
    #[error("the database failed: {0}")]
    Internal(String),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file could not be made.
    #[error("cannot create the folder {folder}")]
    Folder {
        /// Which one.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The database could not be connected to.
    #[error("cannot open {url}: {reason}")]
    Connect {
        /// Which one, without its password.
        url: String,
        /// What the database said.
        reason: String,
    },
    /// A newer program has changed the database.
    #[error(
        "the database is newer than this program: it has migrations that this one does not know \
         ({0}); start the newer program"
    )]
    NewerDatabase(String),
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migration(String),
    /// Anything else that the database says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why events were not stored. None of them was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// More is waiting than the store takes in.
    #[error("too many events are waiting to be stored")]
    Overloaded,
    /// The database cannot be reached or cannot write; it may come back by itself. Where the
    /// connection was lost during COMMIT, and the database stayed away for as long as the writer
    /// tries, the events may yet be there when it is back: an idempotency key or `event_id` makes
    /// the retry safe.
    #[error("the database cannot be written to")]
    Unavailable,
    /// The store is closing.
    #[error("the store is closed")]
    Closed,
    /// This submission failed where others do not: a fault to look into.
    #[error("the store failed on these events")]
    Internal,
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        if error.to_string().contains(STATEMENT_TIMEOUT) {
            return StoreError::QueryTimeout;
        }
        match Fault::of(&error) {
            Fault::Passing | Fault::Outage => StoreError::Unavailable(error.to_string()),
            Fault::Lasting => StoreError::Internal(error.to_string()),
        }
    }
}

impl From<diesel::r2d2::PoolError> for StoreError {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        StoreError::Unavailable(error.to_string())
    }
}

/// What to do about a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The same again may work: a conflict with another transaction, a lost connection.
    Passing,
    /// The database cannot write at present, whatever the events: a full disk, a read-only replica.
    Outage,
    /// The same again fails the same way.
    Lasting,
}

/// SQLite and PostgreSQL at their default language say these; diesel gives no code for them.
const PASSING: &[&str] = &[
    "deadlock detected",
    "could not serialize access",
    "terminating connection",
    "server closed the connection",
    "connection to server",
    "the database system is",
    "no connection to the server",
    "could not receive data from server",
    "could not send data to server",
    "SSL connection has been closed",
    "SSL SYSCALL error",
    "lost synchronization with server",
    "canceling statement due to",
    // It was there when the writer last looked: it looks again.
    "no partition of relation",
];
/// What PostgreSQL says of a statement that took longer than the session's limit.
const STATEMENT_TIMEOUT: &str = "canceling statement due to statement timeout";

const OUTAGE: &[&str] = &[
    "database or disk is full",
    "disk I/O error",
    "readonly database",
    "database is locked",
    "unable to open database file",
    "No space left on device",
    "could not extend file",
    "could not write",
    "could not fsync",
    "read-only transaction",
    "remaining connection slots",
    "too many clients",
    "out of memory",
    // Of locks: too many partitions for max_locks_per_transaction.
    "out of shared memory",
];

impl Fault {
    pub(crate) fn of(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand => Fault::Passing,
                DatabaseErrorKind::ReadOnlyTransaction => Fault::Outage,
                _ => Fault::told_by(information.message()),
            },
            DieselError::BrokenTransactionManager => Fault::Passing,
            _ => Fault::Lasting,
        }
    }

    fn told_by(message: &str) -> Self {
        if PASSING.iter().any(|sign| message.contains(sign)) {
            Fault::Passing
        } else if OUTAGE.iter().any(|sign| message.contains(sign)) {
            Fault::Outage
        } else {
            Fault::Lasting
        }
    }
}
