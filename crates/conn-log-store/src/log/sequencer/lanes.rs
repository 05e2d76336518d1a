//! The queues of all lanes: each lane has a queue and a writer.

use std::sync::Arc;

use super::queue::Queue;
use crate::engine::Lanes;
use crate::tenant_id::TenantId;

/// The queue of each lane. A node that is away keeps out its own tenants' events only.
pub(crate) struct Queues {
    lanes: Arc<Lanes>,
    queues: Vec<Arc<Queue>>,
}

impl Queues {
    /// A queue for each lane, with these limits of events and of a group. The queues share the
    /// bytes.
    pub(crate) fn new(
        lanes: Arc<Lanes>,
        events_max: usize,
        bytes_max: usize,
        group_events_max: usize,
    ) -> Self {
        let bytes_max = bytes_max / lanes.count();
        let queue = |_| Arc::new(Queue::new(events_max, bytes_max, group_events_max));
        Queues { queues: (0..lanes.count()).map(queue).collect(), lanes }
    }

    /// The queue of a tenant's events.
    pub(crate) fn of(&self, tenant: TenantId) -> &Arc<Queue> {
        &self.queues[self.lanes.of(tenant)]
    }

    /// The queue of the first lane, which takes turns at an embedded log.
    pub(crate) fn first(&self) -> &Arc<Queue> {
        &self.queues[0]
    }

    /// The queue of a lane.
    pub(crate) fn of_lane(&self, lane: usize) -> &Arc<Queue> {
        &self.queues[lane]
    }

    /// All queues, by their lanes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.iter()
    }

    /// Accepts no more work. Work that already waits is still done.
    pub(crate) fn close(&self) {
        self.all().for_each(|queue| queue.close());
    }

    /// Whether a writer can reach the database: then this process is of use.
    pub(crate) fn is_any_available(&self) -> bool {
        self.all().any(|queue| queue.is_available())
    }

    /// Whether every writer can reach the database.
    pub(crate) fn are_all_available(&self) -> bool {
        self.all().all(|queue| queue.is_available())
    }

    /// Number of waiting events, and of their bytes.
    pub(crate) fn depth(&self) -> (usize, usize) {
        self.all()
            .map(|queue| queue.depth())
            .fold((0, 0), |(events, bytes), (more, more_bytes)| (events + more, bytes + more_bytes))
    }
}
