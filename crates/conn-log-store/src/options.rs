//! The options of a store, each limit with its reason.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::DatabaseUrl;
use crate::observer::Observer;

/// The time without an event after which an open session has ended. It is kept with the sessions:
/// a store that opens with another one computes them anew in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionTimeout {
    /// Sessions do not time out.
    #[default]
    Never,
    /// A session has ended at its last event if the next one comes later than this after it. Zero
    /// is as [`Never`](Self::Never).
    After(Duration),
    /// As the server keeps its sessions: for a store that is opened for one command.
    Kept,
}

/// The options for opening a store. [`StoreOptions::new`] sets defaults that fit most deployments.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "options are independent, and set by name")]
pub struct StoreOptions {
    /// The database of the log.
    pub url: DatabaseUrl,
    /// Connections that read. Each runs one query at a time; more than a few times the number of
    /// cores would only wait in the database instead.
    pub readers_max: u32,
    /// Longest wait for such a connection: after it, a client had better try again later.
    pub reader_wait_max: Duration,
    /// Longest read. A longer one fails with [`QueryTimeout`](crate::StoreError::QueryTimeout).
    pub read_time_max: Duration,
    /// Limit of events that wait for the writer: a few seconds of its work.
    pub queue_events_max: usize,
    /// Limit of bytes that wait for the writer: the memory that a burst can take.
    pub queue_bytes_max: usize,
    /// A commit takes no more small submissions than this many events, and no further batch above
    /// it: from there on its events take more than a tenth of the commit's time, and answers wait
    /// for that.
    pub group_events_max: usize,
    /// Number of new events after which they are indexed. A read goes through fewer events one by
    /// one, which takes a millisecond or two; a smaller number makes more runs to merge.
    pub index_run_events: u32,
    /// The time for which an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// The time for which an `event_id` is remembered.
    pub event_id_window: Duration,
    /// The time without an event after which an open session has ended.
    pub session_timeout: SessionTimeout,
    /// The span of a partition of `events` on PostgreSQL.
    pub partition: PartitionSize,
    /// Whether this store's own thread keeps the projections close behind the log. A store that is
    /// opened for one command leaves this to the server.
    pub projections: bool,
    /// Whether this store's own thread keeps the index close behind the log. A store for one
    /// command leaves this to the server, too.
    pub indexing: bool,
    /// Whether to open the connections for all work, and one for reads, with the store, and to keep
    /// them: readers then cannot take them on a PostgreSQL with few connections. A store for one
    /// command connects as it needs to.
    pub connect_at_start: bool,
    /// Whether this store's own thread evaluates rules. A store for one command leaves this to the
    /// server, too.
    pub alerting: bool,
    /// The longest time for which rules stand back while events come faster than rules take them in
    /// and the writer is busy. Afterwards they take their share of the processors until they have
    /// caught up. With zero they never stand back.
    pub alerting_wait_max: Duration,
    /// Whether to open a log that has lost events. Their ids are not given again as far as derived
    /// data knows them.
    pub accept_lost_events: bool,
    /// Receives a report of each commit.
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
            session_timeout: SessionTimeout::Never,
            partition: PartitionSize::Month,
            projections: true,
            indexing: true,
            connect_at_start: true,
            alerting: true,
            alerting_wait_max: Duration::from_secs(5),
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

/// The span of one partition: retention drops one partition at a time.
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
