//! The store's errors. Each error keeps its cause. Nothing here knows HTTP or a database.

use std::error::Error;
use std::fmt;

use conn_log_core::Timestamp;

/// The cause of an error: another error, or a sentence if there is none.
pub struct Cause(Box<dyn Error + Send + Sync>);

impl Cause {
    /// The error itself.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Cause {
    fn from(error: E) -> Self {
        Cause(error.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The reason why a read, or a write of other data than events, failed.
#[derive(Debug)]
pub enum StoreError {
    /// The database cannot be reached, or has no free connection. It may come back by itself.
    Unavailable(Cause),
    /// The database answers, but has no connection to spare for a read. It may have one later.
    NoConnection(Cause),
    /// The requested item does not exist.
    NotFound(&'static str),
    /// The name is taken.
    NameTaken(&'static str),
    /// The limit for such items is reached.
    Full(&'static str),
    /// A read took longer than the limit: the index does not help its filter enough.
    QueryTimeout,
    /// The database refused, or returned invalid data: a fault to look into.
    Internal(Cause),
}

impl StoreError {
    /// [`StoreError::Unavailable`] with that cause.
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        StoreError::Unavailable(cause.into())
    }

    /// [`StoreError::Internal`] with that cause.
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        StoreError::Internal(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Unavailable(cause) => write!(f, "the database cannot be reached: {cause}"),
            StoreError::NoConnection(cause) => {
                write!(f, "the database has no connection free for a read: {cause}")
            }
            StoreError::NotFound(what) => write!(f, "there is no such {what}"),
            StoreError::NameTaken(what) => write!(f, "there is a {what} of that name already"),
            StoreError::Full(what) => write!(f, "there is no room for another {what}"),
            StoreError::QueryTimeout => f.write_str("the query takes longer than it may"),
            StoreError::Internal(cause) => write!(f, "the database failed: {cause}"),
        }
    }
}

/// The text already contains the cause, so the source is the cause's own source.
impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::Unavailable(cause)
            | StoreError::NoConnection(cause)
            | StoreError::Internal(cause) => cause.0.source(),
            _ => None,
        }
    }
}

/// The reason why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file could not be created.
    #[error("cannot create the folder {folder}")]
    Folder {
        /// Its path.
        folder: String,
        /// The reason.
        source: std::io::Error,
    },
    /// The database could not be connected to.
    #[error("cannot open {url}")]
    Connect {
        /// Its URL without the password.
        url: String,
        /// The database's error.
        source: diesel::ConnectionError,
    },
    /// A newer program has changed the database so that this one cannot work on it.
    #[error(
        "the database is newer than this program: its schema is of version {version} and needs a \
         program that knows version {compatible_from}; start the newer program"
    )]
    NewerDatabase {
        /// The version of the database's schema.
        version: i32,
        /// The oldest version that a program must know in order to work on it.
        compatible_from: i32,
    },
    /// The database was made before the first release.
    #[error(
        "the database was made by a program from before the first release, and cannot be brought up \
         to date. Export it with that program, and start this one with a new database: name another \
         with --database-url, or move the file away"
    )]
    BeforeFirstRelease,
    /// Derived data was made from events that are missing in the log.
    #[error(
        "events are lost: the log no longer has {lost}, which were registered. Its write-ahead log (the file that ends \
         in -wal) was deleted, or its file was restored from a backup. Put the missing files back; or start once with \
         --accept-lost-events (CONN_LOG_ACCEPT_LOST_EVENTS=true) to go on without these events"
    )]
    EventsLost {
        /// The missing events, in words.
        lost: String,
    },
    /// The clock must be wrong.
    #[error(
        "the clock says {now}, and the log had its last event at {last}: set the clock. docs/operations.md says what \
         to do if the log is wrong"
    )]
    Clock {
        /// The clock's time.
        now: Timestamp,
        /// The time of the last event of any log, or of this program's first release.
        last: Timestamp,
    },
    /// Citus distributes a part of the log, and another part is not where it belongs.
    #[error(
        "Citus distributes the log, and these tables are not where they belong: {tables}. Stop the \
         servers of this log, and run: conn-log migrate --citus"
    )]
    NotDistributed {
        /// The tables.
        tables: String,
    },
    /// A worker would answer before an event is on its disk.
    #[error(
        "the worker {node} has {setting} = off, and the coordinator has on: it would answer before an event is on \
         its disk. Set {setting} = on there, and restart the worker"
    )]
    NotDurable {
        /// Its host and port.
        node: String,
        /// The setting.
        setting: &'static str,
    },
    /// The database cannot be distributed.
    #[error("cannot distribute the log: {0}")]
    Citus(&'static str),
    /// A migration failed.
    #[error("cannot bring the database up to date")]
    Migration(#[source] Box<dyn Error + Send + Sync>),
    /// Any other database error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why events were not stored. None of them was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// More events are waiting than the store accepts.
    #[error("too many events are waiting to be stored")]
    Overloaded,
    /// The database cannot be reached or cannot write; it may come back by itself. If the
    /// connection was lost during COMMIT, and the database was not available for as long as the
    /// writer tries, the events may still be stored: an idempotency key or `event_id` makes the
    /// retry safe.
    #[error("the database cannot be written to")]
    Unavailable,
    /// The store is closing.
    #[error("the store is closed")]
    Closed,
    /// This submission failed although others work: a fault to look into.
    #[error("the store failed on these events")]
    Internal,
}
