//! The store's reports about itself, for code that turns them into metrics.

use std::time::Duration;

/// Receives reports, on the thread where the event happens: it must return quickly.
pub trait Observer: Send + Sync {
    /// A group was committed.
    fn group_committed(&self, _group: GroupCommitted) {}
    /// A submission was turned away because the queue was full.
    fn overloaded(&self) {}
    /// A rule raised an alert, that long after the commit of the event that it was found with.
    fn alert_opened(&self, _kind: &str, _severity: &str, _delay: Duration) {}
    /// The database became unavailable, or available again.
    fn availability_changed(&self, _available: bool) {}
}

/// One group commit.
#[derive(Clone, Copy, Debug)]
pub struct GroupCommitted {
    /// Submissions answered by this commit.
    pub submissions: usize,
    /// Events stored by this commit.
    pub events_stored: usize,
    /// Events found to be repeats by their `event_id`.
    pub events_duplicate: usize,
    /// Refused events that this commit keeps.
    pub rejects_kept: usize,
    /// Older rejects that it removed, because the tenant had too many.
    pub rejects_evicted: usize,
    /// The time from the start of its transaction to the end of its commit.
    pub elapsed: Duration,
    /// The part of that time for the commit itself, which waits for the disk.
    pub commit: Duration,
    /// The time by which `created_at` of these events is ahead of the clock: it never goes back,
    /// even if the clock does.
    pub ahead_of_clock: Duration,
}

/// The store's load and state at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Events waiting for the writer.
    pub queue_events: usize,
    /// Estimated bytes of these events.
    pub queue_bytes: usize,
    /// Connections that read, in use or idle.
    pub readers: u32,
    /// Idle connections of these.
    pub readers_idle: u32,
    /// Whether the writer can reach the database.
    pub available: bool,
    /// Whether the database syncs its files: without it a crash of its machine loses acknowledged
    /// events. PostgreSQL is asked every ten seconds.
    pub has_fsync: bool,
}

/// The lag of derived data behind the logs, in events, summed over all logs. Answers are exact all
/// the same: reads go through these events one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Lag of devices, applications, sessions and statistics: of the slowest of them.
    pub projections_events: i64,
    /// Lag of the index.
    pub index_events: i64,
}
