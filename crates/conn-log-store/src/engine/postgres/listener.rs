//! Wakes this process's readers when another process commits (PostgreSQL's LISTEN/NOTIFY).
//!
//! The signal carries no data: a woken reader reads the tables. A lost signal does no harm: the
//! next signal, or the wake-up after each reconnection, replaces it.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::open::open;
use crate::engine::connection::Role;
use crate::engine::signals::Signals;
use crate::engine::url::PostgresUrl;
use crate::error::StoreError;

/// The channel of commits.
const CHANNEL: &str = "conn_log_commits";

/// Wakes the readers of every listening process once this transaction is committed.
pub(in crate::engine) fn notify(postgres: &mut PgConnection) -> QueryResult<()> {
    postgres.batch_execute(&format!("NOTIFY {CHANNEL}"))
}

/// Pause between two checks of the socket: libpq offers no blocking wait without unsafe code, and a
/// check is one system call. Readers of another process see this delay.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Pause between two checks that the server is still there.
const PING_PAUSE: Duration = Duration::from_secs(10);

/// Pause between attempts to reach a server that is not available.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Connects and starts the thread. It ends soon after a signal to stop.
pub(super) fn spawn(url: PostgresUrl, signals: Signals) -> Result<JoinHandle<()>, StoreError> {
    let mut first = Some(open(&url, Role::Writer)?);
    let thread = std::thread::Builder::new().name("conn-log-listener".to_owned());
    let spawned = thread.spawn(move || {
        while !signals.is_stopped() {
            let postgres = first.take().map_or_else(|| open(&url, Role::Writer), Ok);
            if let Err(error) = postgres.map_err(Into::into).and_then(|it| listen(it, &signals)) {
                log::warn!("listening for commits failed: {error}");
                std::thread::sleep(RECONNECT_PAUSE);
            }
        }
    });
    spawned.map_err(StoreError::internal)
}

fn listen(mut postgres: PgConnection, signals: &Signals) -> Result<(), Box<dyn std::error::Error>> {
    postgres.batch_execute(&format!("LISTEN {CHANNEL}"))?;
    // Nobody signalled this process about earlier commits.
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
