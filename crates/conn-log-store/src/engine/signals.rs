//! What the threads of a store tell each other: that something was committed, and that it is time to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Shared by all threads of a store. A signal carries no data: whoever is woken reads the tables.
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

    /// Wakes everyone who waits for a commit.
    pub(crate) fn wake(&self) {
        self.commits.send_modify(|count| *count += 1);
    }

    /// Has every thread end soon; those that are parked need an `unpark` besides.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}
