//! Signals between the threads of a store: after each commit of events, after each change of an
//! alert, and when the threads must stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Signals that all threads of a store share. A signal carries no data: a woken thread reads the
/// tables.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    commits: Arc<watch::Sender<u64>>,
    alert_changes: Arc<watch::Sender<u64>>,
    is_stopped: Arc<AtomicBool>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Signals {
            commits: Arc::new(watch::Sender::new(0)),
            alert_changes: Arc::new(watch::Sender::new(0)),
            is_stopped: Arc::default(),
        }
    }

    /// Changes after each commit that stored events.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Changes after each transaction of this process that appended to an outbox of alerts. The
    /// notifier waits for it: it would have nothing to do after most commits.
    pub(crate) fn alert_changes(&self) -> watch::Receiver<u64> {
        self.alert_changes.subscribe()
    }

    /// Wakes the readers of the outbox: the streams, which wait for commits, and the notifier.
    pub(crate) fn wake_for_alert_change(&self) {
        self.alert_changes.send_modify(|count| *count += 1);
        self.wake();
    }

    /// Wakes all threads that wait for a commit.
    pub(crate) fn wake(&self) {
        self.commits.send_modify(|count| *count += 1);
    }

    /// Tells every thread to stop soon; a parked thread needs an `unpark` too.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}
