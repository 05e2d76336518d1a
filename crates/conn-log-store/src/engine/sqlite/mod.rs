//! The embedded engine: two SQLite files, the log and its derived data (decision 011).
//!
//! The log has one writing connection, the writer's; all other writes to it take turns there. The
//! second file has its own writing connection, [`DerivedFile`], so that an append never waits for
//! derived data.

mod checkpointer;
mod derived_file;
mod files;
mod open;

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::backend::Backend;
use super::connection::{AnyConnection, Role};
use super::position::Home;
use super::signals::Signals;
use super::turn::{self, Turns};
use super::url::DatabaseUrl;
use crate::error::{OpenError, StoreError};
use checkpointer::Checkpointer;
use derived_file::DerivedFile;

pub(super) use files::Files;
pub(super) use open::open;

/// The files of one log.
pub(super) struct Sqlite {
    url: DatabaseUrl,
    derived: DerivedFile,
    turns: Arc<dyn Turns>,
    files: Arc<Files>,
}

impl Sqlite {
    pub(super) fn new(url: DatabaseUrl, turns: Arc<dyn Turns>, files: Arc<Files>) -> Self {
        let derived = DerivedFile::new(url.clone(), Arc::clone(&files));
        Sqlite { url, derived, turns, files }
    }
}

impl Backend for Sqlite {
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        turn::take(&*self.turns, work)
    }

    fn derive<T: Send + 'static>(
        &self,
        home: Home,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        match home {
            Home::Rebuildable => self.derived.try_in_txn(work),
            Home::Durable => self.write(|log| log.in_txn(work)).map(Some),
        }
    }

    fn start(&self, signals: &Signals) -> Result<JoinHandle<()>, StoreError> {
        let spawned = checkpointer::spawn(Checkpointer {
            url: self.url.clone(),
            turns: Arc::clone(&self.turns),
            signals: signals.clone(),
            files: Arc::clone(&self.files),
        });
        spawned.map_err(StoreError::internal)
    }

    /// Each connection sets it.
    fn has_fsync(&self) -> bool {
        true
    }

    fn derived_is_apart(&self) -> bool {
        true
    }

    /// SQLite reuses freed pages by itself.
    fn reclaim(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// SQLite itself does this only when the last connection closes, and the process may end
    /// before.
    fn close(&self) -> Result<(), StoreError> {
        self.files.check_log()?;
        let mut connection = AnyConnection::open(&self.url, Role::Writer)?;
        Ok(checkpointer::empty(&mut connection)?)
    }
}

/// Creates the file and its folder if they are missing. Only their owner may read them, whatever
/// the umask.
pub(super) fn create(file: &Path) -> Result<(), OpenError> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| OpenError::Folder { folder: folder.display().to_string(), source })?;
    }
    // SQLite gives the same mode to the files beside it, and reports itself if the path is wrong.
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file).ok();
    Ok(())
}
