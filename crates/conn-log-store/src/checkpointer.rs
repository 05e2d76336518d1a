//! The thread that copies what was committed from SQLite's write-ahead log into its file, beside the
//! commits. The writer does so itself only for what is left where the log is to begin anew, which
//! nothing else can make it do while events keep coming.
//!
//! See "Write-Ahead Logging", section 2.1, of SQLite's documentation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;

use crate::connection::{AnyConnection, Role};
use crate::error::StoreError;
use crate::url::DatabaseUrl;

/// Between two looks at the log's length.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// After a failure, such as a disk that is full: commits make checkpoints meanwhile, and tell by
/// themselves what is wrong.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// Pages in the log that are worth copying: 4 MiB. The same page is copied once, however often it
/// was committed meanwhile.
const PAGES_MIN: i32 = 1_000;

/// Keeps the write-ahead log of one file short.
pub(crate) struct Checkpointer {
    pub(crate) url: DatabaseUrl,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Starts the thread. It ends soon after `stop` is set and it is unparked.
pub(crate) fn spawn(checkpointer: Checkpointer) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("conn-log-checkpoints".to_owned()).spawn(move || {
        while !checkpointer.is_stopped() {
            if let Err(error) = checkpointer.run()
                && !checkpointer.is_stopped()
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

impl Checkpointer {
    fn run(&self) -> Result<(), StoreError> {
        let mut connection = AnyConnection::open(&self.url, Role::Writer)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        loop {
            std::thread::park_timeout(LOOK_PAUSE);
            if self.is_stopped() {
                return Ok(());
            }
            // It only looks, in shared memory.
            let pages = checkpoint(&mut connection, "NOOP")?;
            if pages.log - pages.checkpointed >= PAGES_MIN {
                checkpoint(&mut connection, "PASSIVE")?;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn checkpoint(connection: &mut AnyConnection, mode: &str) -> QueryResult<Pages> {
    diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result(connection)
}
