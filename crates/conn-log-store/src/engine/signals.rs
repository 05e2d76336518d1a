//! Signals between the threads of a store: after each commit, and when the threads must stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Signals that all threads of a store share. A signal carries no data: a woken thread reads the
/// tables.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    commits: Arc<watch::Sender<u64>>,
    is_stopped: Arc<AtomicBool>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Signals { commits: Arc::new(watch::Sender::new(0)), is_stopped: Arc::default() }
    }

    /// Changes after each commit that stored events.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
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
