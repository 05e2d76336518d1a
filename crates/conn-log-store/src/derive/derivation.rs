//! All followers of a store's logs, and what they share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conn_log_core::Timestamp;

use super::dictionary::DictionaryCache;
use super::follower::{Follower, Lane, Pace};
use crate::clock::now;
use crate::engine::{Engine, Signals};

/// The followers, the database that they work on, and the names that they remember.
pub(crate) struct Derivation {
    pub(super) engine: Arc<Engine>,
    pub(super) signals: Signals,
    pub(super) dictionary: DictionaryCache,
    followers: Vec<Box<dyn Follower>>,
    session_timeout: Option<Duration>,
    /// Held by the read that helps a follower along.
    help: Mutex<()>,
}

impl Derivation {
    pub(crate) fn new(
        engine: Arc<Engine>,
        signals: Signals,
        followers: Vec<Box<dyn Follower>>,
        session_timeout: Option<Duration>,
    ) -> Self {
        Derivation {
            engine,
            signals,
            followers,
            session_timeout,
            dictionary: DictionaryCache::default(),
            help: Mutex::default(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn Follower> {
        self.followers.iter().map(|follower| &**follower)
    }

    pub(super) fn of_pace(&self, pace: Pace) -> impl Iterator<Item = &dyn Follower> {
        self.all().filter(move |follower| follower.pace() == pace)
    }

    /// Those that can share a read and a transaction.
    pub(super) fn of_lane(&self, lane: Lane) -> impl Iterator<Item = &dyn Follower> {
        self.all().filter(move |follower| lane == Lane::of(*follower))
    }

    pub(super) fn find(&self, name: &str) -> Option<&dyn Follower> {
        self.all().find(|follower| follower.name() == name)
    }

    /// An open session without a sign of life after this has ended. `None` where none ends so.
    pub(super) fn quiet_since(&self) -> Option<Timestamp> {
        let timeout = chrono::TimeDelta::from_std(self.session_timeout?).ok()?;
        Some(now().plus(-timeout))
    }

    /// The turn to help a follower along.
    pub(super) fn help_alone(&self) -> MutexGuard<'_, ()> {
        self.help.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
