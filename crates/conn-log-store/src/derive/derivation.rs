//! All followers of a store's logs, and their shared state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use conn_log_core::Timestamp;

use super::dictionary::DictionaryCache;
use super::follower::{Follower, Lane, Pace};
use crate::clock::now;
use crate::engine::{Engine, Signals};
use crate::tenant_id::TenantId;

/// The followers, their database, and the cache of names.
pub(crate) struct Derivation {
    pub(super) engine: Arc<Engine>,
    pub(super) signals: Signals,
    pub(super) dictionary: DictionaryCache,
    followers: Vec<Box<dyn Follower>>,
    /// The time after which an open session without an event has ended.
    pub(super) session_timeout: Option<TimeDelta>,
    /// The lag at the last look, of the slowest follower of a pace.
    lags: Mutex<BTreeMap<(Pace, TenantId), i64>>,
    /// Held by the read that helps a follower to catch up.
    help: Mutex<()>,
}

impl Derivation {
    pub(crate) fn new(
        engine: Arc<Engine>,
        signals: Signals,
        followers: Vec<Box<dyn Follower>>,
        session_timeout: Option<TimeDelta>,
    ) -> Self {
        let dictionary = DictionaryCache::new(Arc::clone(engine.identity()));
        Derivation {
            engine,
            signals,
            followers,
            session_timeout,
            dictionary,
            lags: Mutex::default(),
            help: Mutex::default(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn Follower> {
        self.followers.iter().map(|follower| &**follower)
    }

    pub(super) fn of_pace(&self, pace: Pace) -> impl Iterator<Item = &dyn Follower> {
        self.all().filter(move |follower| follower.pace() == pace)
    }

    /// The followers that can share a read and a transaction.
    pub(super) fn of_lane(&self, lane: Lane) -> impl Iterator<Item = &dyn Follower> {
        self.all().filter(move |follower| lane == Lane::of(*follower))
    }

    pub(super) fn find(&self, name: &str) -> Option<&dyn Follower> {
        self.all().find(|follower| follower.name() == name)
    }

    /// The oldest last activity of an open session: a session without an event after it has timed
    /// out. `None` if no session times out.
    pub(super) fn quiet_since(&self) -> Option<Timestamp> {
        // At the timeout itself it is still open.
        Some(now().plus(-self.session_timeout? - TimeDelta::microseconds(1)))
    }

    /// The lags that the threads of this process saw last.
    pub(super) fn lags(&self) -> MutexGuard<'_, BTreeMap<(Pace, TenantId), i64>> {
        self.lags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock for helping a follower to catch up.
    pub(super) fn help_alone(&self) -> MutexGuard<'_, ()> {
        self.help.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
