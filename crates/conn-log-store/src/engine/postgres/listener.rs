//! Wakes this process's readers when another process commits (PostgreSQL's LISTEN/NOTIFY).
//!
//! The signal carries no data: whoever is woken reads the tables. A lost signal is made good by the
//! next one, and by the wake-up after each reconnection.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::open::open;
use crate::engine::connection::Role;
use crate::engine::signals::Signals;
use crate::engine::url::PostgresUrl;

/// The channel of commits.
const CHANNEL: &str = "conn_log_commits";

/// Has every listener wake its readers once this transaction is committed.
pub(in crate::engine) fn notify(postgres: &mut PgConnection) -> QueryResult<()> {
    postgres.batch_execute(&format!("NOTIFY {CHANNEL}"))
}

/// Between two looks at the socket: libpq offers no blocking wait without unsafe code, and a look is
/// one system call. The delay that another process's reader sees.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Between two questions that find out whether the server is still there.
const PING_PAUSE: Duration = Duration::from_secs(10);

/// Between attempts to reach a server that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Starts the thread. It ends soon after a signal to stop.
pub(super) fn spawn(url: PostgresUrl, signals: Signals) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("conn-log-listener".to_owned()).spawn(move || {
        while !signals.is_stopped() {
            if let Err(error) = listen(&url, &signals) {
                log::warn!("listening for commits failed: {error}");
                std::thread::sleep(RECONNECT_PAUSE);
            }
        }
    })
}

fn listen(url: &PostgresUrl, signals: &Signals) -> Result<(), Box<dyn std::error::Error>> {
    let mut postgres = open(url, Role::Writer)?;
    postgres.batch_execute(&format!("LISTEN {CHANNEL}"))?;
    // Commits from before this moment were announced to no one here.
    signals.wake();
    let mut pinged = Instant::now();
    while !signals.is_stopped() {
        let heard = postgres.notifications_iter().collect::<QueryResult<Vec<_>>>()?;
        if !heard.is_empty() {
            signals.wake();
        }
        if pinged.elapsed() > PING_PAUSE {
            postgres.batch_execute("SELECT 1")?;
            pinged = Instant::now();
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}
