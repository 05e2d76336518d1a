//! All followers of a store's logs, and what they share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dictionary::DictionaryCache;
use super::follower::{Follower, Lane, Pace};
use crate::engine::{Engine, Signals};

/// The followers, the database that they work on, and the names that they remember.
pub(crate) struct Derivation {
    pub(super) engine: Arc<Engine>,
    pub(super) signals: Signals,
    pub(super) dictionary: DictionaryCache,
    followers: Vec<Box<dyn Follower>>,
    /// Held by the read that helps a follower along.
    help: Mutex<()>,
}

impl Derivation {
    pub(crate) fn new(
        engine: Arc<Engine>,
        signals: Signals,
        followers: Vec<Box<dyn Follower>>,
    ) -> Self {
        Derivation {
            engine,
            signals,
            followers,
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

    /// The turn to help a follower along.
    pub(super) fn help_alone(&self) -> MutexGuard<'_, ()> {
        self.help.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
