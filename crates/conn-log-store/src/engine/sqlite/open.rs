//! Opens SQLite's files. No connection creates a missing file: it would be an empty log.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::engine::connection::Role;
use crate::engine::fault::is_busy;
use crate::engine::packed::Packed;
use crate::engine::url::DatabaseUrl;

/// Longest wait for a lock that another process holds on a file. Writers of this process take turns
/// and never wait here.
const BUSY_MS: u32 = 5_000;

/// Connects to the log and to the file of derived data, and sets up the session.
pub(crate) fn open(url: &DatabaseUrl, role: Role) -> ConnectionResult<SqliteConnection> {
    let (Some(log), Some(derived)) = (url.file(), url.derived()) else {
        return Err(ConnectionError::BadConnection("not the URL of a file".to_owned()));
    };
    let derived = derived.file().unwrap_or(log);
    let is_derived_there = derived.exists();
    let (log, derived) = (uri(log), uri(derived));
    let (main, set_up) = match role {
        Role::Appender | Role::Writer => {
            // Commits of the store's own writer run no checkpoints: another thread runs them at the
            // same time. A command that writes without a server runs one once the write-ahead log
            // has 16 MiB.
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
        // A crash of the machine may lose the last data in it; this data is derived again.
        Role::Deriver => (
            derived,
            format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 PRAGMA cache_size = -16384;
                 PRAGMA wal_autocheckpoint = 4096;
                 PRAGMA journal_size_limit = 134217728;
                 ATTACH DATABASE '{log}' AS log;"
            ),
        ),
        // Tokens can be read even if the second file was deleted.
        Role::Reader { .. } if !is_derived_there => {
            (log, "PRAGMA cache_size = -4096; PRAGMA query_only = ON;".to_owned())
        }
        Role::Reader { .. } => (
            log,
            format!(
                "PRAGMA cache_size = -4096;
                 ATTACH DATABASE '{derived}' AS derived;
                 PRAGMA derived.cache_size = -4096;
                 PRAGMA query_only = ON;"
            ),
        ),
    };
    let mut connection = SqliteConnection::establish(&main)?;
    let set_up = format!("PRAGMA busy_timeout = {BUSY_MS}; {set_up}");
    // Two processes that open a new file at once both switch it to WAL. SQLite tells one of them
    // that the file is locked, and does not wait.
    let begun = Instant::now();
    while let Err(error) = connection.batch_execute(&set_up) {
        if !is_busy(&error) || begun.elapsed() > Duration::from_millis(BUSY_MS.into()) {
            return Err(ConnectionError::CouldntSetupConfiguration(error));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    register_functions(&mut connection).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

diesel::define_sql_function! {
    /// The value at a place of packed metadata. Empty if it is the session id.
    fn packed_value(metadata: Text, place: BigInt) -> Nullable<Text>;
}

diesel::define_sql_function! {
    /// The metadata of an event that has no shape.
    fn plain_metadata(metadata: Text) -> Text;
}

/// Makes the functions known that [`crate::log::filter`] uses.
fn register_functions(connection: &mut SqliteConnection) -> QueryResult<()> {
    packed_value_utils::register_impl(connection, |metadata: String, place: i64| {
        let packed = Packed::of(&metadata, None)?;
        Some(packed.raw_value(usize::try_from(place).ok()?)?.to_owned())
    })?;
    plain_metadata_utils::register_impl(connection, |metadata: String| {
        match Packed::of(&metadata, None) {
            Some(packed) if Packed::is_packed(&metadata) => packed.plain().to_owned(),
            // A damaged text is no JSON: the operator that takes it fails.
            _ => metadata,
        }
    })
}

/// Characters that need no escape in the path of a URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// The URI of an existing file. Escapes all characters but letters, digits and `/-._`, so that it
/// can be used in SQL.
fn uri(path: &Path) -> String {
    let path = percent_encode(path.as_os_str().as_bytes(), PATH).to_string();
    // Two slashes at the beginning of a path would be read as the start of a host.
    let host = if path.starts_with('/') { "//" } else { "" };
    format!("file:{host}{path}?mode=rw")
}
