//! The thread that checkpoints SQLite's write-ahead log: it copies committed pages into the file
//! while commits go on. The writer takes part only when the write-ahead log must restart: while
//! events keep coming, another thread finds no moment at which all pages are copied. Then the
//! writer has only a few pages to copy and to sync.
//!
//! See "Write-Ahead Logging", section 2.1, of SQLite's documentation.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::files::Files;
use crate::engine::connection::{AnyConnection, Role};
use crate::engine::signals::Signals;
use crate::engine::turn::{self, Turns};
use crate::engine::url::DatabaseUrl;
use crate::error::StoreError;

/// Pause between two checks of the log's length.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Pause after a failure, such as a full disk: commits report the same fault themselves.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// Smallest number of pages in the log that is worth a copy: 4 MiB. A page is copied once, even if
/// it was committed many times meanwhile.
const PAGES_MIN: i32 = 1_000;

/// Number of pages in the log at which it must restart: 16 MiB.
const PAGES_MAX: i32 = 4_000;

/// Limit of copies in a row, so that the last one has almost no pages.
const PASSES_MAX: u32 = 10;

/// Limit of pages that are left to the writer, to copy between two commits: less than a
/// millisecond. There are more pages if a reader began before they were committed.
const TURN_PAGES_MAX: i32 = 256;

/// Keeps the write-ahead log of one file short.
pub(super) struct Checkpointer {
    pub(super) url: DatabaseUrl,
    pub(super) turns: Arc<dyn Turns>,
    pub(super) signals: Signals,
    pub(super) files: Arc<Files>,
}

/// Starts the thread. It ends soon after a signal to stop, once it is unparked.
pub(super) fn spawn(checkpointer: Checkpointer) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("conn-log-checkpoints".to_owned()).spawn(move || {
        while !checkpointer.signals.is_stopped() {
            if let Err(error) = checkpointer.run()
                && !checkpointer.signals.is_stopped()
            {
                log::warn!("copying the write-ahead log failed, and will be tried again: {error}");
                std::thread::park_timeout(FAILURE_PAUSE);
            }
        }
    })
}

/// The result of `PRAGMA wal_checkpoint`.
#[derive(QueryableByName)]
struct Pages {
    /// Pages in the log; -1 if not known.
    #[diesel(sql_type = Integer)]
    log: i32,
    /// Pages of these that are copied.
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

impl Pages {
    /// Pages that are not copied.
    fn left(&self) -> i32 {
        self.log - self.checkpointed
    }
}

impl Checkpointer {
    fn run(&self) -> Result<(), StoreError> {
        self.files.check_log()?;
        let mut connection = AnyConnection::open(&self.url, Role::Writer)?;
        loop {
            std::thread::park_timeout(LOOK_PAUSE);
            if self.signals.is_stopped() {
                return Ok(());
            }
            // Reports a lost file even if no event comes.
            self.files.check_log()?;
            let pages = look(&mut connection)?;
            if pages.log >= PAGES_MAX && pages.left() > 0 {
                self.restart(&mut connection)?;
            } else if pages.left() >= PAGES_MIN {
                copy(&mut connection)?;
            }
        }
    }

    /// Restarts the log. The next commit does this if all pages are copied and nobody reads the
    /// log.
    fn restart(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        // Each pass copies the pages that came during the pass before. A pass during which no page
        // came also syncs the file, which takes much longer than to copy.
        let mut left = PAGES_MAX;
        for _ in 0..PASSES_MAX {
            copy(connection)?;
            left = look(connection)?.left();
            if left == 0 {
                break;
            }
        }
        if left > TURN_PAGES_MAX {
            // The next check tries again.
            return Ok(());
        }
        // No page can come before the next commit. The turn is refused while the database is not
        // available or closes.
        turn::take(&*self.turns, |connection| Ok(copy(connection)?))
    }
}

/// The length of the log, from its index in shared memory.
fn look(connection: &mut AnyConnection) -> QueryResult<Pages> {
    diesel::sql_query("PRAGMA wal_checkpoint(NOOP)").get_result(connection)
}

/// Copies the pages that no reader needs in the log; it blocks nobody, and waits for nobody.
fn copy(connection: &mut AnyConnection) -> QueryResult<()> {
    diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection)?;
    Ok(())
}

/// Copies all pages and empties the log. Waits for readers as long as for a lock.
pub(super) fn empty(connection: &mut AnyConnection) -> QueryResult<()> {
    diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;

    use super::*;

    #[test]
    fn no_commit_of_the_writer_copies_the_log_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        crate::engine::sqlite::create(url.file().unwrap()).unwrap();
        let mut writer = AnyConnection::open(&url, Role::Appender).unwrap();
        writer.batch_execute("CREATE TABLE filling (bytes BLOB)").unwrap();
        let mut log = 0;
        while log < 2 * PAGES_MAX {
            writer.batch_execute("INSERT INTO filling VALUES (zeroblob(4000000))").unwrap();
            let pages = look(&mut writer).unwrap();
            assert_eq!(pages.checkpointed, 0, "of {}", pages.log);
            assert!(pages.log > log, "{}", pages.log);
            log = pages.log;
        }
        copy(&mut writer).unwrap();
        assert_eq!(look(&mut writer).unwrap().left(), 0);
    }
}
