//! SQLite's second file: data that is derived from the log, and can be derived again.
//!
//! SQLite lets one at a time write to a file. Derived data is as much to write as the log itself. In a file
//! of its own it never keeps an append waiting, and waits for no disk (decision 011). Readers see both
//! files. A read that takes both in one snapshot reads derived data first, so that the log is never behind it.
//!
//! Architecture invariant: nothing here is needed to find or to prove an event. A log without its second
//! file, or with that of another log, answers as before once its data is derived anew.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection;

use super::files::Files;
use crate::engine::connection::{AnyConnection, Role};
use crate::engine::fault::is_busy;
use crate::engine::url::DatabaseUrl;
use crate::error::StoreError;

/// Takes the second file's lock, and not the log's, as `BEGIN IMMEDIATE` would.
const LOCK: &str = "UPDATE positions SET watermark = watermark WHERE FALSE";

/// The one connection of this process that writes to the second file.
pub(super) struct DerivedFile {
    url: DatabaseUrl,
    files: Arc<Files>,
    connection: Mutex<Option<AnyConnection>>,
}

impl DerivedFile {
    /// Beside the log of that URL. Connects when it is first used.
    pub(super) fn new(url: DatabaseUrl, files: Arc<Files>) -> Self {
        DerivedFile { url, files, connection: Mutex::default() }
    }

    /// Runs `work` in a transaction that may write derived data, and reads the log. One caller at a time
    /// does. `None` where another process holds the file's lock for longer than SQLite waits.
    pub(super) fn try_in_txn<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.files.check()?;
        // Taken out, so that a panic does not leave one there that has a transaction open.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => AnyConnection::open(&self.url, Role::Deriver)?,
        };
        let locked =
            connection.batch_execute("BEGIN").and_then(|()| connection.batch_execute(LOCK));
        let result = match locked {
            Ok(()) => connection.finish(work).map(Some),
            Err(error) => {
                connection.rollback().ok();
                if is_busy(&error) { Ok(None) } else { Err(error.into()) }
            }
        };
        // After an error it may have a transaction open.
        if result.is_ok() {
            *slot = Some(connection);
        }
        result
    }
}
