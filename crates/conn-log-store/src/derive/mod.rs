//! Followers of the log: one mechanism for all data that is derived from it.
//!
//! A [`Follower`] has a name, a version, an input and a home. Its *watermark* is the last id that
//! it has taken in. A step ([`step`]) reads a batch of events past the watermark, and in one
//! transaction changes the follower's rows and moves the watermark: so a crash neither repeats nor
//! skips an event. Followers at the same position share one read. One thread for each pace
//! ([`runner`]) makes the steps; commits wake it.
//!
//! A read takes tables and the *tail*, the events past the watermark, from one snapshot, and adds
//! the tail in memory ([`tail`]): its answer is exact, however far the follower is behind.
//!
//! If a follower's data is of a lower version, of another setting or of another log ([`anchor`]),
//! the follower deletes it and begins again in the background ([`rebuild`]). `conn-log rebuild` requests the
//! same.
//!
//! To add a follower: a folder here with its fold, its rows and its reads, a line in [`followers`],
//! and its tables in a migration. docs/ARCHITECTURE.md explains the steps.
//!
//! Architecture invariant: nothing here writes an event, or knows HTTP.

pub(crate) mod alerts;
mod anchor;
mod derivation;
mod dictionary;
mod facts;
mod follower;
pub(crate) mod index;
mod keys;
mod lag;
mod marks;
pub(crate) mod presence;
mod rebuild;
mod runner;
mod schema;
pub(crate) mod sessions;
pub(crate) mod statistics;
mod step;
mod tail;
mod varint;

pub(crate) use derivation::Derivation;
pub(crate) use follower::Pace;
pub use rebuild::UnknownFollower;
pub(crate) use runner::spawn_all;
pub use step::Progress;

use chrono::TimeDelta;

use crate::engine::Signals;
use crate::options::StoreOptions;
use follower::Follower;

/// All followers of the log.
pub(crate) fn followers(
    options: &StoreOptions,
    session_timeout: Option<TimeDelta>,
    signals: &Signals,
) -> Vec<Box<dyn Follower>> {
    vec![
        Box::new(index::Index::new(options.index_run_events)),
        Box::new(presence::Presence),
        Box::new(sessions::Sessions { timeout: session_timeout, signals: signals.clone() }),
        Box::new(statistics::Statistics),
    ]
}
