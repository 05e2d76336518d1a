//! All followers of a store's logs, and their shared state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conn_log_core::Timestamp;

use super::dictionary::DictionaryCache;
use super::follower::{Follower, Lane, Pace};
use crate::clock::now;
use crate::engine::{Engine, Signals};

/// The followers, their database, and the cache of names.
pub(crate) struct Derivation {
    pub(super) engine: Arc<Engine>,
    pub(super) signals: Signals,
    pub(super) dictionary: DictionaryCache,
    followers: Vec<Box<dyn Follower>>,
    session_timeout: Option<Duration>,
    /// Held by the read that helps a follower to catch up.
    help: Mutex<()>,
}

impl Derivation {
    pub(crate) fn new(
        engine: Arc<Engine>,
        signals: Signals,
        followers: Vec<Box<dyn Follower>>,
        session_timeout: Option<Duration>,
    ) -> Self {
        let dictionary = DictionaryCache::new(Arc::clone(engine.identity()));
        Derivation {
            engine,
            signals,
            followers,
            session_timeout,
            dictionary,
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
        let timeout = chrono::TimeDelta::from_std(self.session_timeout?).ok()?;
        Some(now().plus(-timeout))
    }

    /// The lock for helping a follower to catch up.
    pub(super) fn help_alone(&self) -> MutexGuard<'_, ()> {
        self.help.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
