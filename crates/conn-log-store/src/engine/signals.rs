//! Signals between the threads of a store: after each commit, and when the threads must stop.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::tenant_id::TenantId;

/// Signals that all threads of a store share. A woken thread reads the tables; the signal only says
/// of which tenants.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    commits: Arc<watch::Sender<u64>>,
    changes: Arc<Mutex<Changes>>,
    is_stopped: Arc<AtomicBool>,
}

/// The last signal of each tenant, as the number of the signal.
#[derive(Debug, Default)]
struct Changes {
    of: HashMap<TenantId, u64>,
    /// The last signal that was of any tenant.
    of_all: u64,
}

/// The tenants that signals were of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Any tenant may have changed.
    All,
    These(BTreeSet<TenantId>),
}

impl Signals {
    pub(crate) fn new() -> Self {
        Signals {
            commits: Arc::new(watch::Sender::new(0)),
            changes: Arc::default(),
            is_stopped: Arc::default(),
        }
    }

    /// Changes after each commit that stored events.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Wakes all threads that wait for a commit, of whichever tenant.
    pub(crate) fn wake(&self) {
        self.signal(|changes, number| changes.of_all = number);
    }

    /// Wakes all threads that wait for a commit, after one of these tenants.
    pub(crate) fn wake_for(&self, tenants: &[TenantId]) {
        self.signal(|changes, number| changes.of.extend(tenants.iter().map(|one| (*one, number))));
    }

    fn signal(&self, note: impl FnOnce(&mut Changes, u64)) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        // Noted before a thread can wake: the lock is held until it is.
        self.commits.send_modify(|count| {
            *count += 1;
            note(&mut changes, *count);
        });
    }

    /// The tenants of the signals after that one, and the number of the last signal.
    pub(crate) fn changed_since(&self, number: u64) -> (Changed, u64) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *self.commits.borrow();
        if changes.of_all > number {
            return (Changed::All, last);
        }
        let these = changes.of.iter().filter(|(_, at)| **at > number).map(|(tenant, _)| *tenant);
        (Changed::These(these.collect()), last)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_learns_of_each_tenant_that_changed_since_it_last_asked() {
        let signals = Signals::new();
        let (changed, seen) = signals.changed_since(0);
        assert_eq!(changed, Changed::These(BTreeSet::new()));
        signals.wake_for(&[TenantId(3), TenantId(5)]);
        signals.wake_for(&[TenantId(3)]);
        let (changed, seen_later) = signals.changed_since(seen);
        assert_eq!(changed, Changed::These([TenantId(3), TenantId(5)].into()));
        signals.wake_for(&[TenantId(7)]);
        let (changed, seen_last) = signals.changed_since(seen_later);
        assert_eq!(changed, Changed::These([TenantId(7)].into()));
        signals.wake();
        signals.wake_for(&[TenantId(7)]);
        assert_eq!(signals.changed_since(seen_last).0, Changed::All);
    }
}
