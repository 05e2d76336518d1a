//! The files of a log at the time when the store opened it, and whether they are still at their
//! paths.
//!
//! SQLite continues to write to a file that was deleted or moved, and every commit succeeds. Nobody
//! would find these events again: so the store compares inodes, which takes a microsecond a file.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use diesel::connection::SimpleConnection as _;

use crate::engine::connection::{AnyConnection, Role};
use crate::engine::url::DatabaseUrl;
use crate::error::StoreError;

/// Error: a file is not at its path any more, or another file is there.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file {} was removed or replaced while the server runs: stop the server, put the file back, and start it",
    .0.display()
)]
struct FileGone(PathBuf);

/// The identity of the file at a path.
#[derive(Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Inode { device: metadata.dev(), number: metadata.ino() })
    }
}

/// A database and its write-ahead log.
#[derive(Debug)]
struct Pair([(PathBuf, Inode); 2]);

impl Pair {
    fn find(file: &Path) -> Result<Self, StoreError> {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let found = |path: PathBuf| match Inode::of(&path) {
            Ok(inode) => Ok((path, inode)),
            Err(_) => Err(StoreError::unavailable(FileGone(path))),
        };
        Ok(Pair([found(file.to_owned())?, found(log.into())?]))
    }

    fn check(&self) -> Result<(), StoreError> {
        for (path, inode) in &self.0 {
            if !Inode::of(path).is_ok_and(|found| found == *inode) {
                return Err(StoreError::unavailable(FileGone(path.clone())));
            }
        }
        Ok(())
    }
}

/// The files of a log that a store has open.
pub(in crate::engine) struct Files {
    log: Pair,
    derived: Pair,
    /// Keeps all of the files open for as long as the store lives. So SQLite does not delete a
    /// write-ahead log meanwhile, and the system does not give its inode to another file.
    _keeper: Mutex<AnyConnection>,
}

impl Files {
    /// Opens the files of a migrated log, and remembers them.
    pub(in crate::engine) fn keep(url: &DatabaseUrl, role: Role) -> Result<Self, StoreError> {
        let (Some(log), Some(derived)) = (url.file(), url.derived()) else {
            return Err(StoreError::internal("a database on a server has no files"));
        };
        let mut keeper = AnyConnection::open(url, role)?;
        // SQLite opens a write-ahead log only at the first read.
        keeper.batch_execute(
            "SELECT count(*) FROM main.sqlite_schema; SELECT count(*) FROM derived.sqlite_schema;",
        )?;
        Ok(Files {
            log: Pair::find(log)?,
            derived: Pair::find(derived.file().unwrap_or(log))?,
            _keeper: Mutex::new(keeper),
        })
    }

    /// Fails if the log's file or its write-ahead log is not the one that was opened.
    pub(in crate::engine) fn check_log(&self) -> Result<(), StoreError> {
        self.log.check()
    }

    /// The same check, for the file of derived data too.
    pub(in crate::engine) fn check(&self) -> Result<(), StoreError> {
        self.log.check()?;
        self.derived.check()
    }
}
