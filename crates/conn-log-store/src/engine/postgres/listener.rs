//! Wakes this process's readers when another process commits (PostgreSQL's LISTEN/NOTIFY).
//!
//! The signal says of which tenants the commit was, and nothing else: a woken reader reads the
//! tables. A lost signal does no harm: the next signal, or the wake-up after each reconnection,
//! replaces it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::open::open;
use super::{citus, durability};
use crate::engine::connection::Role;
use crate::engine::lanes::Lanes;
use crate::engine::signals::Signals;
use crate::engine::url::PostgresUrl;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The channel of commits.
const CHANNEL: &str = "conn_log_commits";

/// More tenants than this are not named: PostgreSQL takes 8,000 bytes.
const NAMED_MAX: usize = 500;

/// Wakes the readers of every listening process once this transaction is committed.
pub(in crate::engine) fn notify(
    postgres: &mut PgConnection,
    tenants: &[TenantId],
) -> QueryResult<()> {
    let named = if tenants.len() > NAMED_MAX { &[] } else { tenants };
    let named: Vec<String> = named.iter().map(|tenant| tenant.0.to_string()).collect();
    postgres.batch_execute(&format!("NOTIFY {CHANNEL}, '{}'", named.join(" ")))
}

/// The tenants that a signal names. `None` for any.
fn named(payload: &str) -> Option<Vec<TenantId>> {
    let tenants = payload.split_whitespace().map(|number| number.parse().map(TenantId));
    tenants.collect::<Result<Vec<_>, _>>().ok().filter(|tenants| !tenants.is_empty())
}

/// Pause between two checks of the socket: libpq offers no blocking wait without unsafe code, and a
/// check is one system call. Readers of another process see this delay.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Pause between two checks that the server is still there and syncs its files, and of the nodes of
/// the tenants.
const PING_PAUSE: Duration = Duration::from_secs(10);

/// Pause between attempts to reach a server that is not available.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Connects and starts the thread. It ends soon after a signal to stop.
pub(super) fn spawn(
    url: PostgresUrl,
    signals: Signals,
    lanes: Arc<Lanes>,
    has_fsync: Arc<AtomicBool>,
) -> Result<JoinHandle<()>, StoreError> {
    let mut first = Some(open(&url, Role::Writer)?);
    let thread = std::thread::Builder::new().name("conn-log-listener".to_owned());
    let spawned = thread.spawn(move || {
        while !signals.is_stopped() {
            let postgres = first.take().map_or_else(|| open(&url, Role::Writer), Ok);
            if let Err(error) =
                postgres.map_err(Into::into).and_then(|it| listen(it, &signals, &lanes, &has_fsync))
            {
                log::warn!("listening for commits failed: {error}");
                std::thread::sleep(RECONNECT_PAUSE);
            }
        }
    });
    spawned.map_err(StoreError::internal)
}

fn listen(
    mut postgres: PgConnection,
    signals: &Signals,
    lanes: &Lanes,
    has_fsync: &AtomicBool,
) -> Result<(), Box<dyn std::error::Error>> {
    look_at_fsync(&mut postgres, has_fsync)?;
    postgres.batch_execute(&format!("LISTEN {CHANNEL}"))?;
    // Nobody signalled this process about earlier commits.
    signals.wake();
    let mut pinged = Instant::now();
    while !signals.is_stopped() {
        let heard = postgres.notifications_iter().collect::<QueryResult<Vec<_>>>()?;
        for signal in heard {
            match named(&signal.payload) {
                Some(tenants) => signals.wake_for(&tenants),
                None => signals.wake(),
            }
        }
        if pinged.elapsed() > PING_PAUSE {
            look_at_fsync(&mut postgres, has_fsync)?;
            citus::note_nodes(&mut postgres, lanes)?;
            pinged = Instant::now();
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}

/// Notes whether the server syncs its files, and tells the operator if that has changed.
fn look_at_fsync(postgres: &mut PgConnection, has_fsync: &AtomicBool) -> QueryResult<()> {
    let has = durability::has_fsync(postgres)?;
    if has_fsync.swap(has, Ordering::Relaxed) == has {
        return Ok(());
    }
    if has {
        log::warn!("the database has fsync = on again");
    } else {
        log::warn!(
            "the database has fsync = off: a crash of its machine loses acknowledged events"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_names_its_tenants_or_none() {
        assert_eq!(named("3 17"), Some(vec![TenantId(3), TenantId(17)]));
        assert_eq!(named(""), None);
        assert_eq!(named("3 other"), None);
    }
}
