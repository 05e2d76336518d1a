//! Opening a session on PostgreSQL.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::engine::connection::Role;
use crate::engine::url::PostgresUrl;

/// Longest wait of an append for a lock, mainly for the head row's, which others hold for
/// milliseconds. After that the append is tried again.
const APPEND_LOCK_MS: u32 = 5_000;

/// Longest statement of an append: the largest batch takes one or two seconds.
const APPEND_STATEMENT_MS: u32 = 30_000;

/// Begins a transaction that writes. The session's `synchronous_commit` does not reach the nodes of
/// Citus: there it is the database's, which [`durability`](super::durability) looks at.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Parameters for URLs that do not set them: a server that is gone is noticed in seconds.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", "conn-log"),
    ("connect_timeout", "5"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// Connects and sets up the session.
pub(crate) fn open(url: &PostgresUrl, role: Role) -> ConnectionResult<PgConnection> {
    let mut connection = PgConnection::establish(&url.with_defaults(DEFAULTS))?;
    let set_up = match role {
        // Each setting is made, so that settings of the role or the database do not apply.
        Role::Appender => format!(
            "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET lock_timeout = {APPEND_LOCK_MS}; SET statement_timeout = {APPEND_STATEMENT_MS};"
        ),
        Role::Writer | Role::Deriver => "SET synchronous_commit = on; SET TimeZone = 'UTC';
             SET idle_in_transaction_session_timeout = '30s';
             SET lock_timeout = 0; SET statement_timeout = 0;"
            .to_owned(),
        // Reading a page takes less time than to start a worker or to compile the plan.
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
        // A server whose system cannot read ahead rejects this setting, and works without it.
        connection.batch_execute(PAGES_AT_ONCE).ok();
    }
    Ok(connection)
}

/// Pages that a reader may request from the disk at once: each row of a list's page can be on its
/// own.
const PAGES_AT_ONCE: &str = "SET effective_io_concurrency = 100";
