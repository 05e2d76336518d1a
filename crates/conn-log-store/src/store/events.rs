//! Questions to the facade about the log and its rejects.

use conn_log_core::{EventQuery, Record};
use tokio::sync::watch;

use super::Store;
use crate::clock::{delta, now};
use crate::derive::index;
use crate::error::{AppendError, StoreError};
use crate::log::heads::{self, LogBounds};
use crate::log::idempotency::{self, Kind};
use crate::log::read::find;
use crate::log::rejects::{self, Reject, RejectFilter, RejectPlace};
use crate::log::scan::Deadline;
use crate::log::sequencer::{Outcome, Pending, Submission};
use crate::page::{EventPage, Page, PageQuery};
use crate::tenant_id::TenantId;

/// Submissions of up to this many events are prepared on the caller's thread: some tenths of a
/// millisecond.
const PREPARED_AT_ONCE: usize = 128;

/// The log.
impl Store {
    /// Stores events. Returns once they are on disk, or are known not to be stored.
    pub async fn append(&self, submission: Submission) -> Result<Outcome, AppendError> {
        // Hashing many events takes a while.
        let (pending, answer) = if submission.events.len() > PREPARED_AT_ONCE {
            let prepared = tokio::task::spawn_blocking(|| Pending::new(submission)).await;
            prepared.map_err(|_| AppendError::Internal)?
        } else {
            Pending::new(submission)
        };
        if let Err(error) = self.0.queues.of(pending.tenant).push(pending) {
            if let (AppendError::Overloaded, Some(observer)) = (error, &self.0.options.observer) {
                observer.overloaded();
            }
            return Err(error);
        }
        answer.await.unwrap_or(Err(AppendError::Internal))
    }

    /// Changes after each commit that stored events, of any tenant and any process. It only tells
    /// that there may be new events, and not which.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.signals.commits()
    }

    /// The record with that id. Blocks the thread.
    pub fn event_get(&self, tenant: TenantId, id: i64) -> Result<Option<Record>, StoreError> {
        self.0.engine.read(|| find(&mut *self.0.engine.reader_of(tenant)?, tenant, id))
    }

    /// A page of the log. Blocks the thread.
    pub fn event_list(
        &self,
        tenant: TenantId,
        query: &EventQuery,
    ) -> Result<EventPage, StoreError> {
        self.event_page(tenant, query, None)
    }

    /// A page of the log up to an id: even if the filter lets few events through, the read ends at
    /// this id. For a reader that goes through the log in its order, span by span. Blocks the
    /// thread.
    pub fn event_list_to(
        &self,
        tenant: TenantId,
        query: &EventQuery,
        last: i64,
    ) -> Result<EventPage, StoreError> {
        self.event_page(tenant, query, Some(last))
    }

    fn event_page(
        &self,
        tenant: TenantId,
        query: &EventQuery,
        last: Option<i64>,
    ) -> Result<EventPage, StoreError> {
        let deadline = Deadline::after(self.0.engine.read_time_max());
        let engine = &self.0.engine;
        engine.read(|| {
            engine.snapshot(tenant, engine.plans_by_key(), |connection| {
                index::page(connection, tenant, query, last, deadline)
            })
        })
    }

    /// The first and last id of a log. Blocks the thread.
    pub fn log_bounds(&self, tenant: TenantId) -> Result<LogBounds, StoreError> {
        let engine = &self.0.engine;
        engine.read(|| {
            if engine.lanes().is_distributed() {
                // A node that hangs must not take the connections that tokens need.
                return heads::bounds(&mut *engine.reader_of(tenant)?, tenant);
            }
            heads::bounds(&mut *engine.watcher()?, tenant)
        })
    }

    /// The last id of the log; 0 for a new log. Blocks the thread.
    pub fn log_size(&self, tenant: TenantId) -> Result<i64, StoreError> {
        Ok(self.log_bounds(tenant)?.size)
    }

    /// Deletes the idempotency keys and event ids whose window has passed, at most `limit` in one
    /// transaction. Returns their number. Blocks the thread.
    pub fn idempotency_expire(&self, limit: u32) -> Result<usize, StoreError> {
        let windows = [
            (Kind::Request, self.0.options.idempotency_window),
            (Kind::Event, self.0.options.event_id_window),
            (Kind::Object, self.0.options.idempotency_window),
        ];
        let mut count = 0;
        for (kind, window) in windows {
            let until = now().plus(-delta(window));
            count += idempotency::expire(&self.0.engine, kind, until, i64::from(limit))?;
        }
        Ok(count)
    }

    /// Creates the partitions of this moment and of the next `ahead` spans, if the database has
    /// partitions. The writer creates a missing partition itself; with partitions created ahead, no
    /// append waits for it. Blocks the thread.
    pub fn partitions_ensure(&self, ahead: u32) -> Result<(), StoreError> {
        let size = self.0.options.partition;
        self.0.engine.write(move |connection| {
            connection.in_txn(|connection| {
                let mut time = now();
                for _ in 0..=ahead {
                    match connection.ensure_partition_in_txn(time, size)? {
                        Some(partition) => time = partition.end,
                        None => break,
                    }
                }
                Ok(())
            })
        })
    }
}

/// Rejects.
impl Store {
    /// A page of a tenant's rejects, newest first. Blocks the thread.
    pub fn reject_list(
        &self,
        tenant: TenantId,
        filter: &RejectFilter,
        query: &PageQuery<RejectPlace>,
    ) -> Result<Page<Reject>, StoreError> {
        self.0.engine.read(|| rejects::page(&self.0.engine, tenant, filter, query))
    }

    /// The reject with that number. Blocks the thread.
    pub fn reject_get(&self, tenant: TenantId, id: i64) -> Result<Option<Reject>, StoreError> {
        self.0.engine.read(|| rejects::get(&self.0.engine, tenant, id))
    }

    /// Removes a reject. Fails with [`StoreError::NotFound`] if there is no such reject. Blocks the
    /// thread.
    pub fn reject_delete(&self, tenant: TenantId, id: i64) -> Result<(), StoreError> {
        rejects::delete(&self.0.engine, tenant, id)
    }

    /// Removes rejects that are older than [`REJECT_AGE_MAX`](crate::REJECT_AGE_MAX), at most
    /// `limit` of each tenant. Returns their number; 0 means that there are no more. Blocks the
    /// thread.
    pub fn rejects_expire(&self, limit: u32) -> Result<usize, StoreError> {
        rejects::expire(&self.0.engine, rejects::expiry(now()), i64::from(limit))
    }
}
