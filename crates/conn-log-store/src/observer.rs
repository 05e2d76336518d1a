//! What the store tells about itself, for whoever turns it into metrics.

use std::time::Duration;

/// Told of what happens, from the thread where it happens: it must return quickly.
pub trait Observer: Send + Sync {
    /// A group was committed.
    fn group_committed(&self, _group: GroupCommitted) {}
    /// A submission was turned away because the queue was full.
    fn overloaded(&self) {}
    /// The database could not be reached, or can again.
    fn availability_changed(&self, _available: bool) {}
}

/// One group commit.
#[derive(Clone, Copy, Debug)]
pub struct GroupCommitted {
    /// Submissions answered by it.
    pub submissions: usize,
    /// Events stored by it.
    pub events_stored: usize,
    /// Events found to be repeats by their `event_id`.
    pub events_duplicate: usize,
    /// From the beginning of its transaction to the end of its commit.
    pub elapsed: Duration,
    /// The part of it that was the commit itself, which waits for the disk.
    pub commit: Duration,
    /// How far `created_at` of these events is ahead of the clock: it does not run backwards where the clock did.
    pub ahead_of_clock: Duration,
}

/// How things stand at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Events waiting for the writer.
    pub queue_events: usize,
    /// Estimated bytes of them.
    pub queue_bytes: usize,
    /// Connections that read, in use or not.
    pub readers: u32,
    /// Those of them not in use.
    pub readers_idle: u32,
    /// Whether the writer can reach the database.
    pub available: bool,
}

/// How far what is derived from the logs is behind them, in events, all logs together. Answers are right
/// all the same: reads look through these events one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Of devices, applications, sessions and statistics: what the slowest has not taken in.
    pub projections_events: i64,
    /// Of the index.
    pub index_events: i64,
}
