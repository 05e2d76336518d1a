//! The thread that keeps the index: builds a run when enough events have gathered, and merges runs.
//!
//! Each run is made in one transaction, by one process at a time. On SQLite the events are read before
//! that: who reads the log keeps its write-ahead log from beginning anew.

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
use crate::connection::{AnyConnection, Role};
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

/// Longest look at what is there: whoever asks is one thread, and keeps no read waiting.
const LOOK_TIME_MAX: Duration = Duration::from_mins(5);

/// Longest vacuum, in milliseconds. What it leaves is for the next, or for PostgreSQL's own.
const VACUUM_MS: u32 = 5_000;

/// Keeps the index of every log of a store.
pub(crate) struct Worker {
    store: WeakStore,
    commits: watch::Receiver<u64>,
    stop: Arc<AtomicBool>,
    sizes: Sizes,
    /// Where merges may be due: of each log after a pause without commits, and of those with a new run.
    to_merge: Option<BTreeSet<TenantId>>,
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
    Nothing,
    /// Someone else is at it.
    Busy,
}

impl Worker {
    pub(crate) fn new(
        store: WeakStore,
        commits: watch::Receiver<u64>,
        stop: Arc<AtomicBool>,
        sizes: Sizes,
    ) -> Self {
        Worker { store, commits, stop, sizes, to_merge: None }
    }

    /// Works until it is stopped. Reads by a connection of its own, so that it waits for no list.
    fn run(&mut self) -> Result<(), StoreError> {
        let mut connection = None;
        while !self.is_stopped() {
            self.commits.mark_unchanged();
            let Some(store) = self.store.upgrade() else {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(());
            };
            let connection = match &mut connection {
                Some(connection) => connection,
                none => {
                    let role = Role::Reader { read_time_max: LOOK_TIME_MAX };
                    none.insert(store.connect(role)?)
                }
            };
            if self.step(&store, connection)? != Progress::Made {
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
        // Another process may have left some.
        self.to_merge = None;
    }

    /// Some of all that is to be done. A log that fails is left out, and the others go on.
    fn step(
        &mut self,
        store: &Store,
        connection: &mut AnyConnection,
    ) -> Result<Progress, StoreError> {
        let standings = runs::standings(connection)?;
        let all = || standings.iter().map(|log| log.tenant).collect();
        self.to_merge.get_or_insert_with(all);
        let mut made = Ok(Progress::Nothing);
        for log in &standings {
            match self.step_of(store, connection, log) {
                Ok(Progress::Made) if made.is_ok() => made = Ok(Progress::Made),
                Err(error) if made.is_ok() => made = Err(error),
                _ => {}
            }
            if self.is_stopped() {
                break;
            }
        }
        made
    }

    /// Builds and merges in turn, so that neither waits for an end of the other that never comes.
    fn step_of(
        &mut self,
        store: &Store,
        connection: &mut AnyConnection,
        log: &Standing,
    ) -> Result<Progress, StoreError> {
        let built = self.build(store, connection, log)?;
        let to_merge = self.to_merge.get_or_insert_default();
        if built == Progress::Made {
            to_merge.insert(log.tenant);
        }
        if !to_merge.contains(&log.tenant) {
            return Ok(built);
        }
        let merged = self.merge(store, connection, log.tenant)?;
        if merged == Progress::Nothing {
            self.to_merge.get_or_insert_default().remove(&log.tenant);
        }
        Ok(if built == Progress::Made { built } else { merged })
    }

    fn build(
        &self,
        store: &Store,
        connection: &mut AnyConnection,
        log: &Standing,
    ) -> Result<Progress, StoreError> {
        // Far behind, larger runs at once save merges.
        let Some(level) = [1, 0].into_iter().find(|level| log.behind() >= self.sizes.of(*level))
        else {
            return Ok(Progress::Nothing);
        };
        let first = log.indexed_to + 1;
        let span = Span { first, last: log.indexed_to + self.sizes.of(level) };
        let of_span = |connection: &mut _| build::build(connection, log.tenant, level, span);
        let read = if store.is_embedded() { Some(of_span(connection)?) } else { None };
        let made = store.derive_alone(log.tenant, Lease::Index, |connection| {
            // Another process may have been quicker, or have dropped the index.
            if runs::indexed_to(connection, log.tenant)? != log.indexed_to {
                return Ok(Progress::Busy);
            }
            let (new, blocks) = match read {
                Some(read) => read,
                None => of_span(connection)?,
            };
            write_in_txn(connection, new, &blocks)?;
            Ok(Progress::Made)
        })?;
        Ok(made.unwrap_or(Progress::Busy))
    }

    fn merge(
        &self,
        store: &Store,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<Progress, StoreError> {
        let all = runs::of_log(connection, tenant)?;
        let Some(due) = merge::due(&all, self.sizes).and_then(Merge::new) else {
            return Ok(Progress::Nothing);
        };
        let made = store.derive_alone(tenant, Lease::Index, |connection| {
            merge_in_txn(connection, tenant, self.sizes, || self.is_stopped())
        })?;
        let is_largest = due.new.level == LEVEL_MAX;
        if made == Some(Progress::Made) && is_largest && !store.is_embedded() && !self.is_stopped()
        {
            vacuum(store);
        }
        Ok(made.unwrap_or(Progress::Busy))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Lets PostgreSQL use the room again that runs had before they were merged: its own vacuum comes so late
/// that a log which is filled leaves more of it than there is of the index.
fn vacuum(store: &Store) {
    let done = store.write(|connection| {
        connection.batch_execute(&format!("SET statement_timeout = {VACUUM_MS}"))?;
        let done = connection.batch_execute("VACUUM (SKIP_LOCKED, TRUNCATE off) index_blocks");
        connection.batch_execute("SET statement_timeout = 0")?;
        Ok(done?)
    });
    if let Err(error) = done {
        log::info!("the index was not vacuumed: {error}");
    }
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
