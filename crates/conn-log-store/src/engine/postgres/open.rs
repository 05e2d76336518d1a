//! Opening a session on PostgreSQL.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::engine::connection::Role;
use crate::engine::url::PostgresUrl;

/// Longest wait of an append for a lock, the head row's above all, which others hold for
/// milliseconds. Then it is tried again.
const APPEND_LOCK_MS: u32 = 5_000;

/// Longest statement of an append: the largest batch takes a second or two.
const APPEND_STATEMENT_MS: u32 = 30_000;

/// Given where the URL does not say otherwise: a server that is gone is noticed in seconds.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", "conn-log"),
    ("connect_timeout", "5"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// Connects and sets the session up.
pub(crate) fn open(url: &PostgresUrl, role: Role) -> ConnectionResult<PgConnection> {
    let mut connection = PgConnection::establish(&url.with_defaults(DEFAULTS))?;
    let set_up = match role {
        // Each is set, whatever the role or the database says.
        Role::Appender => format!(
            "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET lock_timeout = {APPEND_LOCK_MS}; SET statement_timeout = {APPEND_STATEMENT_MS};"
        ),
        Role::Writer | Role::Deriver => "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET lock_timeout = 0; SET statement_timeout = 0;"
            .to_owned(),
        // A page takes less than to start a worker or to compile its plan.
        Role::Reader { read_time_max } => format!(
            "SET default_transaction_read_only = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET max_parallel_workers_per_gather = 0; SET jit = off;
             SET statement_timeout = {};",
            read_time_max.as_millis()
        ),
    };
    connection.batch_execute(&set_up).map_err(ConnectionError::CouldntSetupConfiguration)?;
    if matches!(role, Role::Reader { .. }) {
        // A server on a system that cannot read ahead takes no such setting, and does without.
        connection.batch_execute(PAGES_AT_ONCE).ok();
    }
    Ok(connection)
}

/// How many pages a reader may ask the disk for at once: a page of a list has its rows on as many.
const PAGES_AT_ONCE: &str = "SET effective_io_concurrency = 100";
