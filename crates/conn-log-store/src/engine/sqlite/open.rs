//! Opening SQLite's files.

use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::engine::connection::Role;
use crate::engine::fault::is_busy;
use crate::engine::url::DatabaseUrl;

/// How long to wait for a lock that another process holds on a file. Writers of this process take turns
/// and never wait here.
const BUSY_MS: u32 = 5_000;

/// Connects to the log and to the file of derived data, and sets the session up.
pub(crate) fn open(url: &DatabaseUrl, role: Role) -> ConnectionResult<SqliteConnection> {
    let (log, derived) = (path_of(Some(url))?, path_of(url.derived().as_ref())?);
    let (main, set_up) = match role {
        Role::Appender | Role::Writer => {
            // Commits of the store's own writer make no checkpoints: a thread does, beside them. A command
            // that writes without a server makes one once the write-ahead log has 16 MiB.
            let checkpoint_pages = if matches!(role, Role::Appender) { 0 } else { 4096 };
            let set_up = format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;
                 PRAGMA cache_size = -16384;
                 PRAGMA wal_autocheckpoint = {checkpoint_pages};
                 PRAGMA journal_size_limit = 67108864;"
            );
            (log, set_up)
        }
        // A crash of the machine may cut its end off, which is derived again.
        Role::Deriver => (
            derived,
            format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 PRAGMA cache_size = -16384;
                 PRAGMA wal_autocheckpoint = 4096;
                 PRAGMA journal_size_limit = 67108864;
                 ATTACH DATABASE {} AS log;",
                quoted(&log)
            ),
        ),
        Role::Reader { .. } => (
            log,
            format!(
                "PRAGMA cache_size = -4096;
                 ATTACH DATABASE {} AS derived;
                 PRAGMA derived.cache_size = -4096;
                 PRAGMA query_only = ON;",
                quoted(&derived)
            ),
        ),
    };
    let mut connection = SqliteConnection::establish(&main)?;
    let set_up = format!("PRAGMA busy_timeout = {BUSY_MS}; {set_up}");
    // Two that open a new file at once both turn it to WAL. SQLite tells one of them that it is locked, and
    // does not wait.
    let begun = Instant::now();
    while let Err(error) = connection.batch_execute(&set_up) {
        if !is_busy(&error) || begun.elapsed() > Duration::from_millis(BUSY_MS.into()) {
            return Err(ConnectionError::CouldntSetupConfiguration(error));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(connection)
}

/// The path of a file as SQLite takes it.
fn path_of(url: Option<&DatabaseUrl>) -> ConnectionResult<String> {
    let path = url.and_then(DatabaseUrl::file).and_then(Path::to_str).ok_or_else(|| {
        ConnectionError::BadConnection("the path of the file is not UTF-8".to_owned())
    })?;
    // A path that begins with `file:` would be read as a URI.
    Ok(if path.starts_with("file:") { format!("./{path}") } else { path.to_owned() })
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
