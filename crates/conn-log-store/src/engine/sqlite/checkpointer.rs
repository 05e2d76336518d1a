//! The thread that checkpoints SQLite's write-ahead log: it copies committed pages into the file, beside the
//! commits. The writer takes part only where the write-ahead log is to begin anew: while events keep coming, no
//! other thread finds a moment at which all of it is copied. Then the writer has a few pages to copy and to sync.
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

/// Between two looks at the log's length.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// After a failure, such as a disk that is full: commits tell by themselves what is wrong.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// Pages in the log that are worth copying: 4 MiB. The same page is copied once, however often it
/// was committed meanwhile.
const PAGES_MIN: i32 = 1_000;

/// Pages in the log from which on it is to begin anew: 16 MiB.
const PAGES_MAX: i32 = 4_000;

/// Copies one after the other, so that the last is of next to nothing.
const PASSES_MAX: u32 = 10;

/// Pages that are left to the writer at most, to be copied between two commits: less than a millisecond. There
/// are more where someone reads who began before they were committed.
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

/// What `PRAGMA wal_checkpoint` answers.
#[derive(QueryableByName)]
struct Pages {
    /// In the log; -1 where it is not known.
    #[diesel(sql_type = Integer)]
    log: i32,
    /// Of these, copied.
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

impl Pages {
    /// Not copied.
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
            // Tells it also where no event comes.
            self.files.check_log()?;
            let pages = look(&mut connection)?;
            if pages.log >= PAGES_MAX && pages.left() > 0 {
                self.begin_anew(&mut connection)?;
            } else if pages.left() >= PAGES_MIN {
                copy(&mut connection)?;
            }
        }
    }

    /// Has the log begin anew, which the next commit sees to where all of it was copied and nobody reads it.
    fn begin_anew(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        // Each pass has to copy what came during the one before. One that nothing came during also syncs the
        // file, which takes far longer than to copy.
        let mut left = PAGES_MAX;
        for _ in 0..PASSES_MAX {
            copy(connection)?;
            left = look(connection)?.left();
            if left == 0 {
                break;
            }
        }
        if left > TURN_PAGES_MAX {
            // The next look tries again.
            return Ok(());
        }
        // Nothing comes before the next commit. While the database is away or closes the turn is refused.
        turn::take(&*self.turns, |connection| Ok(copy(connection)?))
    }
}

/// How long the log is, by its index in shared memory.
fn look(connection: &mut AnyConnection) -> QueryResult<Pages> {
    diesel::sql_query("PRAGMA wal_checkpoint(NOOP)").get_result(connection)
}

/// Copies what nobody reads in the log any more; waits for nobody, and nobody waits for it.
fn copy(connection: &mut AnyConnection) -> QueryResult<()> {
    diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection)?;
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
