//! Wakes this process's readers when another process commits (PostgreSQL's LISTEN/NOTIFY).
//!
//! The signal carries nothing: who is woken reads the tables. A lost signal is made good by the
//! next one, and by the wake-up after each reconnection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tokio::sync::watch;

use crate::connection::{AnyConnection, Role};
use crate::url::DatabaseUrl;

/// What commits are announced on.
pub(crate) const CHANNEL: &str = "conn_log_commits";

/// Between two looks at the socket: libpq offers no blocking wait without unsafe code, and a look is
/// one system call. The delay that another process's reader sees.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Between two questions that find out whether the server is still there.
const PING_PAUSE: Duration = Duration::from_secs(10);

/// Between attempts to reach a server that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Starts the thread. It ends soon after `stop` is set.
pub(crate) fn spawn(
    url: DatabaseUrl,
    commits: Arc<watch::Sender<u64>>,
    stop: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("conn-log-listener".to_owned()).spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = listen(&url, &commits, &stop) {
                log::warn!("listening for commits failed: {error}");
                std::thread::sleep(RECONNECT_PAUSE);
            }
        }
    })
}

fn listen(
    url: &DatabaseUrl,
    commits: &watch::Sender<u64>,
    stop: &AtomicBool,
) -> Result<(), Box<dyn std::error::Error>> {
    let AnyConnection::Postgres(mut postgres) = AnyConnection::open(url, Role::Writer)? else {
        return Ok(());
    };
    postgres.batch_execute(&format!("LISTEN {CHANNEL}"))?;
    // What was committed before this moment was announced to no one here.
    commits.send_modify(|count| *count += 1);
    let mut pinged = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let heard = postgres.notifications_iter().collect::<QueryResult<Vec<_>>>()?;
        if !heard.is_empty() {
            commits.send_modify(|count| *count += 1);
        }
        if pinged.elapsed() > PING_PAUSE {
            postgres.batch_execute("SELECT 1")?;
            pinged = Instant::now();
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}
