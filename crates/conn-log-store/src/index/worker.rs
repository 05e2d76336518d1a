//! The thread that keeps the index: builds a run when enough events have gathered, merges runs, and
//! removes what is out of use.
//!
//! It reads through a connection of its own, and writes what is derived in small transactions. SQLite
//! only; PostgreSQL keeps its own indexes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::block::Block;
use super::merge::{self, Merge};
use super::runs::{self, NewRun};
use super::{Sizes, Span, build};
use crate::connection::{AnyConnection, Role};
use crate::derived::Derived;
use crate::error::StoreError;
use crate::tenants::TenantId;
use crate::url::DatabaseUrl;

/// Blocks written or removed in a transaction: a MiB.
const BLOCKS_AT_ONCE: usize = 256;

/// Between two looks whether events have come: a fraction of the time that reading a tail of one
/// run's events takes to grow.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// After a failure, so that a database that is away is not asked all the time.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the index of every log in a file.
pub(crate) struct Worker {
    pub(crate) url: DatabaseUrl,
    pub(crate) derived: Arc<Derived>,
    pub(crate) commits: watch::Receiver<u64>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) sizes: Sizes,
}

/// Starts the thread. It ends soon after `stop` is set and it is unparked.
pub(crate) fn spawn(mut worker: Worker) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("conn-log-index".to_owned()).spawn(move || {
        while !worker.is_stopped() {
            if let Err(error) = worker.run() {
                if worker.is_stopped() {
                    break;
                }
                log::warn!("indexing failed: {error}");
                std::thread::park_timeout(FAILURE_PAUSE);
            }
        }
    })
}

impl Worker {
    fn run(&mut self) -> Result<(), StoreError> {
        let role = Role::Reader { read_time_max: Duration::MAX };
        let mut connection = AnyConnection::open(&self.url, role)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.derived.in_txn(|connection| Ok(runs::drop_unfinished_in_txn(connection)?))?;
        while !self.is_stopped() {
            self.commits.mark_unchanged();
            if !self.step(&mut connection)? {
                self.wait();
            }
        }
        Ok(())
    }

    /// Waits for a commit, or for the end.
    fn wait(&mut self) {
        loop {
            std::thread::park_timeout(LOOK_PAUSE);
            if self.is_stopped() || self.commits.has_changed().unwrap_or(true) {
                return;
            }
        }
    }

    /// Some of all that is to be done; `false` if there is nothing.
    fn step(&mut self, connection: &mut AnyConnection) -> Result<bool, StoreError> {
        let mut is_busy = false;
        for (tenant, size) in runs::sizes(connection)? {
            // Both in turn, so that neither waits for an end of the other that never comes.
            is_busy |= self.build(connection, tenant, size)?;
            is_busy |= self.merge(connection, tenant)?;
            if self.is_stopped() {
                return Ok(false);
            }
        }
        if !runs::has_dropped(connection)? {
            return Ok(is_busy);
        }
        let limit = i64::try_from(BLOCKS_AT_ONCE).unwrap_or(i64::MAX);
        let removed =
            self.derived.in_txn(|connection| Ok(runs::remove_in_txn(connection, limit)?))?;
        Ok(is_busy || removed)
    }

    fn build(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        size: i64,
    ) -> Result<bool, StoreError> {
        let indexed_to = runs::indexed_to(connection, tenant)?;
        // Far behind, larger runs at once save merges.
        let Some(level) = [1, 0].into_iter().find(|l| size - indexed_to >= self.sizes.of(*l))
        else {
            return Ok(false);
        };
        let span = Span { first: indexed_to + 1, last: indexed_to + self.sizes.of(level) };
        let (new, blocks) = build::build(connection, tenant, level, span)?;
        self.derived.in_txn(|connection| write_whole_in_txn(connection, &new, &blocks))?;
        Ok(true)
    }

    fn merge(&self, connection: &mut AnyConnection, tenant: TenantId) -> Result<bool, StoreError> {
        let all = runs::ready(connection, tenant)?;
        let merge = merge::due(&all, self.sizes).and_then(|some| Merge::new(tenant, some));
        let Some(mut merge) = merge else {
            return Ok(false);
        };
        let new = merge.new;
        let run = self.derived.in_txn(|connection| Ok(runs::begin_in_txn(connection, new)?))?;
        let mut count = 0;
        loop {
            let blocks = merge.step(connection, BLOCKS_AT_ONCE)?;
            let is_last = blocks.len() < BLOCKS_AT_ONCE;
            count += blocks.len();
            self.derived.in_txn(|connection| runs::write_in_txn(connection, run, &blocks))?;
            if is_last {
                break;
            }
            if self.is_stopped() {
                // The next start removes it.
                return Ok(false);
            }
        }
        let inputs = merge.inputs;
        self.derived.in_txn(|connection| finish_or_fail(connection, run, &new, count, &inputs))?;
        Ok(true)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A small run, in one transaction.
fn write_whole_in_txn(
    connection: &mut AnyConnection,
    new: &NewRun,
    blocks: &[Block],
) -> Result<(), StoreError> {
    let run = runs::begin_in_txn(connection, *new)?;
    runs::write_in_txn(connection, run, blocks)?;
    finish_or_fail(connection, run, new, blocks.len(), &[])
}

/// Failing rolls back what the transaction has done.
fn finish_or_fail(
    connection: &mut AnyConnection,
    run: i64,
    new: &NewRun,
    count: usize,
    merged: &[i64],
) -> Result<(), StoreError> {
    if runs::finish_in_txn(connection, run, new, count, merged)? {
        Ok(())
    } else {
        Err(StoreError::Unavailable("the index was changed meanwhile".to_owned()))
    }
}
