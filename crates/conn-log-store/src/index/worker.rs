//! The thread that keeps the index: builds a run when enough events have gathered, and merges runs.
//!
//! Each run is made in one transaction, by one process at a time. On SQLite the events are read before
//! it: who reads the log keeps its write-ahead log from beginning anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use tokio::sync::watch;

use super::block::Block;
use super::merge::{self, Merge};
use super::runs::{self, Standing};
use super::tables::NewRun;
use super::{INDEX, LEVEL_MAX, Sizes, Span, build};
use crate::connection::AnyConnection;
use crate::derived::anchor_in_txn;
use crate::error::StoreError;
use crate::lease::Lease;
use crate::store::{Store, WeakStore};
use crate::tenants::TenantId;

/// Blocks written in a statement: a MiB.
const BLOCKS_AT_ONCE: usize = 256;

/// Between two looks whether events have come: a fraction of the time that reading a tail of one
/// run's events takes to grow.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A look without a commit seen: another process may have left work undone.
const LOOK_AFTER: Duration = Duration::from_secs(30);

/// After a failure, so that a database that is away is not asked all the time.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the index of every log of a store.
pub(crate) struct Worker {
    pub(crate) store: WeakStore,
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

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Made,
    /// There is nothing to do, or someone else does it.
    Nothing,
}

impl Worker {
    fn run(&mut self) -> Result<(), StoreError> {
        // Where merges may be due: of each log at first, and of those with a new run.
        let mut to_merge: Option<BTreeSet<TenantId>> = None;
        while !self.is_stopped() {
            self.commits.mark_unchanged();
            let Some(store) = self.store.upgrade() else {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(());
            };
            let standings = runs::standings(&mut *store.reader()?)?;
            let to_merge =
                to_merge.get_or_insert_with(|| standings.iter().map(|log| log.tenant).collect());
            if self.step(&store, &standings, to_merge)? == Progress::Nothing {
                drop(store);
                self.wait();
            }
        }
        Ok(())
    }

    /// Waits for a commit, or for the end.
    fn wait(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < LOOK_AFTER {
            std::thread::park_timeout(LOOK_PAUSE);
            if self.is_stopped() || self.commits.has_changed().unwrap_or(true) {
                return;
            }
        }
    }

    /// Some of all that is to be done.
    fn step(
        &self,
        store: &Store,
        standings: &[Standing],
        to_merge: &mut BTreeSet<TenantId>,
    ) -> Result<Progress, StoreError> {
        let mut progress = Progress::Nothing;
        for log in standings {
            // Both in turn, so that neither waits for an end of the other that never comes.
            if self.build(store, log)? == Progress::Made {
                to_merge.insert(log.tenant);
                progress = Progress::Made;
            }
            if to_merge.contains(&log.tenant) {
                match self.merge(store, log.tenant)? {
                    Progress::Made => progress = Progress::Made,
                    Progress::Nothing => {
                        to_merge.remove(&log.tenant);
                    }
                }
            }
            if self.is_stopped() {
                return Ok(Progress::Nothing);
            }
        }
        Ok(progress)
    }

    fn build(&self, store: &Store, log: &Standing) -> Result<Progress, StoreError> {
        // Far behind, larger runs at once save merges.
        let Some(level) = [1, 0].into_iter().find(|level| log.behind() >= self.sizes.of(*level))
        else {
            return Ok(Progress::Nothing);
        };
        let first = log.indexed_to + 1;
        let span = Span { first, last: log.indexed_to + self.sizes.of(level) };
        let of_span = |connection: &mut _| build::build(connection, log.tenant, level, span);
        let read = if store.is_embedded() { Some(of_span(&mut *store.reader()?)?) } else { None };
        let made = store.derive_alone(log.tenant, Lease::Index, |connection| {
            // Another process may have been quicker, or have dropped the index.
            if runs::indexed_to(connection, log.tenant)? != log.indexed_to {
                return Ok(Progress::Nothing);
            }
            let (new, blocks) = match read {
                Some(read) => read,
                None => of_span(connection)?,
            };
            write_in_txn(connection, new, &blocks)?;
            Ok(Progress::Made)
        })?;
        Ok(made.unwrap_or(Progress::Nothing))
    }

    fn merge(&self, store: &Store, tenant: TenantId) -> Result<Progress, StoreError> {
        let all = runs::of_log(&mut *store.reader()?, tenant)?;
        let Some(due) = merge::due(&all, self.sizes).and_then(Merge::new) else {
            return Ok(Progress::Nothing);
        };
        let made = store.derive_alone(tenant, Lease::Index, |connection| {
            merge_in_txn(connection, tenant, self.sizes, || self.is_stopped())
        })?;
        if made == Some(Progress::Made) && due.new.level == LEVEL_MAX {
            store.write(vacuum)?;
        }
        Ok(made.unwrap_or(Progress::Nothing))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Lets PostgreSQL use the room again that runs had before they were merged: its own vacuum comes so late
/// that a log which is filled leaves more of it than there is of the index.
fn vacuum(connection: &mut AnyConnection) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(postgres) = connection {
        postgres.batch_execute("VACUUM (SKIP_LOCKED, TRUNCATE off) index_blocks")?;
    }
    Ok(())
}

/// Adds a run to the end.
pub(super) fn write_in_txn(
    connection: &mut AnyConnection,
    new: NewRun,
    blocks: &[Block],
) -> Result<(), StoreError> {
    let run = runs::begin_in_txn(connection, new)?;
    for some in blocks.chunks(BLOCKS_AT_ONCE) {
        runs::write_in_txn(connection, new.tenant_id, run, some)?;
    }
    anchor_in_txn(connection, TenantId(new.tenant_id), INDEX, new.last_id)?;
    Ok(())
}

/// Puts one run in the place of those that are due to be merged; fails, and so leaves all as it was, if
/// it is to stop.
pub(super) fn merge_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    sizes: Sizes,
    is_stopped: impl Fn() -> bool,
) -> Result<Progress, StoreError> {
    let all = runs::of_log(connection, tenant)?;
    let Some(mut merge) = merge::due(&all, sizes).and_then(Merge::new) else {
        return Ok(Progress::Nothing);
    };
    let run = runs::begin_in_txn(connection, merge.new)?;
    loop {
        let blocks = merge.step(connection, BLOCKS_AT_ONCE)?;
        runs::write_in_txn(connection, tenant.0, run, &blocks)?;
        if blocks.len() < BLOCKS_AT_ONCE {
            break;
        }
        if is_stopped() {
            return Err(StoreError::Unavailable("the store closes".to_owned()));
        }
    }
    runs::remove_in_txn(connection, tenant.0, &merge.inputs)?;
    Ok(Progress::Made)
}
