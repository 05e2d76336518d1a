//! SQLite's second file: derived data, which can be derived again from the log.
//!
//! SQLite allows one writer at a time for each file. Derived data needs as much writing as the log
//! itself. In a separate file it never makes an append wait, and does not wait for the disk
//! (decision 011). Readers see both files. A read that needs both in one snapshot reads derived
//! data first, so that the log is never behind derived data.
//!
//! Architecture invariant: nothing here is needed to find or to prove an event. A log whose second
//! file is missing, or belongs to another log, answers as before once its data is derived again.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection;

use super::files::Files;
use crate::engine::connection::{AnyConnection, Role};
use crate::engine::fault::is_busy;
use crate::engine::url::DatabaseUrl;
use crate::error::StoreError;

/// Locks the second file, and not the log's file, which `BEGIN IMMEDIATE` would lock too.
const LOCK: &str = "UPDATE positions SET watermark = watermark WHERE FALSE";

/// Pages of the write-ahead log at which a commit copies it into the file: 16 to 128 MiB.
const CHECKPOINT_PAGES_MIN: u64 = 4_096;
const CHECKPOINT_PAGES_MAX: u64 = 32_768;

/// The size of a page: SQLite's default.
const PAGE_BYTES: u64 = 4_096;

/// The one connection of this process that writes to the second file.
pub(super) struct DerivedFile {
    url: DatabaseUrl,
    files: Arc<Files>,
    connection: Mutex<Option<AnyConnection>>,
}

impl DerivedFile {
    /// The second file beside the log with that URL. Connects at the first use.
    pub(super) fn new(url: DatabaseUrl, files: Arc<Files>) -> Self {
        DerivedFile { url, files, connection: Mutex::default() }
    }

    /// Runs `work` in a transaction that may write derived data, and reads the log. Callers run one
    /// at a time. `None` if another process holds the file's lock for longer than SQLite waits.
    pub(super) fn try_in_txn<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.files.check()?;
        // Taken out of the slot, so that a panic does not leave a connection with an open
        // transaction there.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => AnyConnection::open(&self.url, Role::Deriver)?,
        };
        let locked =
            connection.batch_execute("BEGIN").and_then(|()| connection.batch_execute(LOCK));
        let result = match locked {
            Ok(()) => {
                let done = connection.finish(work).map(Some);
                if done.is_ok() {
                    self.set_checkpoints(&mut connection)?;
                }
                done
            }
            Err(error) => {
                connection.rollback().ok();
                if is_busy(&error) { Ok(None) } else { Err(error.into()) }
            }
        };
        // After an error the connection may have an open transaction.
        if result.is_ok() {
            *slot = Some(connection);
        }
        result
    }

    /// Has commits copy the write-ahead log into the file once it is as long as the file. Until
    /// then a page that many steps change is written once for each step, and not twice.
    fn set_checkpoints(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let derived = self.url.derived();
        let file = derived.as_ref().and_then(DatabaseUrl::file);
        let length =
            file.and_then(|file| std::fs::metadata(file).ok()).map_or(0, |file| file.len());
        let pages = (length / PAGE_BYTES).clamp(CHECKPOINT_PAGES_MIN, CHECKPOINT_PAGES_MAX);
        connection.batch_execute(&format!("PRAGMA wal_autocheckpoint = {pages}"))?;
        Ok(())
    }
}
