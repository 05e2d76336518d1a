//! What a store can be told, each limit with its reason.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::DatabaseUrl;
use crate::observer::Observer;

/// How to open a store. [`StoreOptions::new`] fills in what suits most.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where the log is.
    pub url: DatabaseUrl,
    /// Connections that read. Each is one query at a time; more than a few times the cores only
    /// queue up in the database instead.
    pub readers_max: u32,
    /// Longest wait for one of them: beyond it a client is better told to come back.
    pub reader_wait_max: Duration,
    /// Longest read. What takes longer fails with
    /// [`QueryTimeout`](crate::StoreError::QueryTimeout).
    pub read_time_max: Duration,
    /// Events that may wait for the writer: a few seconds of its work.
    pub queue_events_max: usize,
    /// Bytes that may wait for the writer: the memory that a burst can take.
    pub queue_bytes_max: usize,
    /// A commit takes in no more small submissions than this many events, nor further batches
    /// beyond it: its share of the commit's time is past a tenth by then, and answers wait for it.
    pub group_events_max: usize,
    /// As soon as this many events have come, they are indexed. A read looks through fewer
    /// one by one, which takes a millisecond or two; and a smaller number makes more runs to merge.
    pub index_run_events: u32,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// How long an `event_id` is remembered.
    pub event_id_window: Duration,
    /// An open session without an event for that long has ended. `None` where none ends so. Reads apply it, and
    /// nothing is stored: a change counts at once.
    pub session_timeout: Option<Duration>,
    /// The span of a partition of `events` on PostgreSQL.
    pub partition: PartitionSize,
    /// Whether this store's own thread keeps the projections close behind the log. A store that is
    /// opened for one command leaves that to the server.
    pub projections: bool,
    /// Whether this store's own thread keeps the index close behind the log. The same goes for it.
    pub indexing: bool,
    /// Whether to go on without events that the log had and has no more. Their ids are not given again as far as
    /// derived data knows them.
    pub accept_lost_events: bool,
    /// Told of each commit.
    pub observer: Option<Arc<dyn Observer>>,
}

impl StoreOptions {
    /// The defaults for a database.
    pub fn new(url: DatabaseUrl) -> Self {
        const DAY: Duration = Duration::from_hours(24);
        StoreOptions {
            url,
            readers_max: 8,
            reader_wait_max: Duration::from_secs(5),
            read_time_max: Duration::from_secs(30),
            queue_events_max: 100_000,
            queue_bytes_max: 256 * 1024 * 1024,
            group_events_max: 4_000,
            index_run_events: 2_048,
            idempotency_window: DAY,
            event_id_window: DAY,
            session_timeout: None,
            partition: PartitionSize::Month,
            projections: true,
            indexing: true,
            accept_lost_events: false,
            observer: None,
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The span of one partition: what retention drops at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionSize {
    /// From midnight to midnight, UTC.
    Day,
    /// From Monday to Monday, UTC.
    Week,
    /// A calendar month, UTC.
    #[default]
    Month,
}
