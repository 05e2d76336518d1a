//! Which database the connections reach, so that nothing in memory outlives it.
//!
//! A database can be dropped and made anew, or restored, while the server runs. What the server
//! remembers of the former one is wrong then. An [`Identity`] counts such changes. The cache of
//! names and the evaluation of rules keep the count, the *epoch*, with what they remember. Open
//! streams do not (docs/operations.md, "Restoring under a running server").
//!
//! | seen by | tells that |
//! | --- | --- |
//! | the server's start and the database's number, when a connection is opened | the server was restarted, or another one took over; the database was dropped and made anew |
//! | the files of two tables, whenever a connection is taken from a pool | the tables were dropped, restored or emptied |
//!
//! On SQLite nothing is looked at here. A file that is replaced has its own check
//! ([`Files`](super::sqlite::Files)); `.restore` into the file of a running server is not noticed.
//!
//! A change of the epoch proves nothing: a restarted server has lost nothing as a rule. It only
//! costs that caches are filled again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Oid, Text};

use super::connection::AnyConnection;
use crate::error::StoreError;

diesel::define_sql_function! {
    /// The table of that name in the search path. `NULL` if there is none.
    fn to_regclass(name: Text) -> Nullable<Oid>;
}

diesel::define_sql_function! {
    /// The number of a table's file: a new one once the table is made anew or emptied.
    fn pg_relation_filenode(table: Nullable<Oid>) -> Nullable<Oid>;
}

/// Error: the connections reach a database without a log.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database has no log any more: it was dropped, or is being restored, while the server \
     runs. If it is to begin anew, run `conn-log migrate`"
)]
struct LogGone;

/// The database that connections reach.
#[derive(Default)]
pub(crate) struct Identity {
    /// The number of times that the database has changed.
    epoch: AtomicU64,
    /// Whether the last look found no log.
    is_gone: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Default)]
struct Seen {
    session: Option<String>,
    tables: Option<Tables>,
}

/// The numbers of two tables' files.
type Tables = (u32, u32);

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Text)]
    session: String,
}

impl Identity {
    /// The number of times that the database has changed. What was read at another epoch may be of
    /// another database.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Looks at a connection that was just opened.
    pub(super) fn look_at_new(&self, connection: &mut AnyConnection) -> QueryResult<()> {
        let AnyConnection::Postgres(postgres) = connection else { return Ok(()) };
        let query = "SELECT concat_ws(' ', pg_postmaster_start_time(), oid) AS session
                       FROM pg_database WHERE datname = current_database()";
        let Session { session } = diesel::sql_query(query).get_result(postgres)?;
        let mut seen = self.seen();
        let before = seen.session.replace(session);
        if before.is_some() && before != seen.session {
            self.change();
        }
        Ok(())
    }

    /// Fails if the last look found no log.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.is_gone.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable(LogGone));
        }
        Ok(())
    }

    /// Looks at a connection that reads or writes, and returns the epoch. One round trip.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is no log, and those of the connection.
    pub(crate) fn look(&self, connection: &mut AnyConnection) -> Result<u64, StoreError> {
        self.look_at(connection)?;
        self.check()?;
        Ok(self.epoch())
    }

    /// The same, but a log that is gone is only noted.
    pub(super) fn look_at(&self, connection: &mut AnyConnection) -> QueryResult<()> {
        let AnyConnection::Postgres(postgres) = connection else { return Ok(()) };
        let file = |table| pg_relation_filenode(to_regclass(table));
        let query = diesel::select((file("heads"), file("dictionary")));
        let tables = match query.get_result::<(Option<u32>, Option<u32>)>(postgres)? {
            (Some(heads), Some(dictionary)) => (heads, dictionary),
            _ => {
                self.is_gone.store(true, Ordering::SeqCst);
                return Ok(());
            }
        };
        self.is_gone.store(false, Ordering::SeqCst);
        let mut seen = self.seen();
        let before = seen.tables.replace(tables);
        if before.is_some_and(|before| before != tables) {
            self.change();
        }
        Ok(())
    }

    /// Called with the lock on what was seen.
    fn change(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        log::warn!(
            "the database was restarted, restored or made anew: what was remembered of it is read \
             again"
        );
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
