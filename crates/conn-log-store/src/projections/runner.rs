//! The thread that keeps projections close behind the log.
//!
//! It wakes when something was committed, gathers a little, and works off what is behind in runs.
//! Reads count what is behind by themselves: nothing here is in a hurry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::step::Progress;
use crate::error::StoreError;
use crate::store::{Store, WeakStore};
use crate::tenants::TenantId;

/// Events of one run. Each run writes every row that it touches once: the more events, the less
/// each costs. On SQLite an append waits for the run's turn, some tens of milliseconds.
const RUN_EVENTS_MAX: usize = 5_000;

/// How long events gather before a run that could take in more.
const GATHER: Duration = Duration::from_millis(200);

/// After a run, as long as it took times this, at most [`REST_MAX`]: the projections' share of the
/// writer's time stays bounded while events come as fast as they can.
const REST_FACTOR: u32 = 1;
const REST_MAX: Duration = Duration::from_millis(50);

/// After a step that failed, doubling up to the second.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A look without a commit seen: another process may have left work undone.
const LOOK_AFTER: Duration = Duration::from_secs(30);

/// What the thread needs to know.
pub(crate) struct Runner {
    pub(crate) store: WeakStore,
    pub(crate) commits: watch::Receiver<u64>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Starts the thread. It ends soon after `stop` is set and `commits` has changed.
pub(crate) fn spawn(runner: Runner) -> std::io::Result<JoinHandle<()>> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new()
        .name("conn-log-projections".to_owned())
        .spawn(move || runner.run(&waiting))
}

impl Runner {
    fn run(mut self, waiting: &tokio::runtime::Runtime) {
        let mut failures = 0;
        while !self.stop.load(Ordering::Relaxed) {
            // What is committed from here on wakes the wait below.
            self.commits.mark_unchanged();
            let pause = match self.catch_up(waiting) {
                Ok(()) => {
                    failures = 0;
                    LOOK_AFTER
                }
                Err(error) if self.stop.load(Ordering::Relaxed) => {
                    log::debug!("the projections stop: {error}");
                    return;
                }
                Err(error) => {
                    log::error!("the projections could not go on, and will try again: {error}");
                    failures += 1;
                    RETRY_PAUSE.saturating_mul(1 << failures.min(8_u32)).min(RETRY_PAUSE_MAX)
                }
            };
            if failures > 0 {
                self.rest(waiting, pause);
                continue;
            }
            let commits = &mut self.commits;
            let woken =
                waiting.block_on(async { tokio::time::timeout(pause, commits.changed()).await });
            if matches!(woken, Ok(Err(_))) {
                return;
            }
            self.rest(waiting, GATHER);
        }
    }

    /// Works off what is behind, of all tenants in turn.
    fn catch_up(&self, waiting: &tokio::runtime::Runtime) -> Result<(), StoreError> {
        loop {
            let Some(store) = self.store.upgrade() else {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(());
            };
            let mut has_more = false;
            let mut failed = None;
            for tenant in store.projections_due()? {
                let begun = Instant::now();
                match step(&store, tenant) {
                    Ok(more) => has_more |= more,
                    // The others go on.
                    Err(error) => failed = Some(error),
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let rest = begun.elapsed().saturating_mul(REST_FACTOR).min(REST_MAX);
                self.rest(waiting, rest);
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Waits; closing cuts it short.
    fn rest(&self, waiting: &tokio::runtime::Runtime, pause: Duration) {
        let mut commits = self.commits.clone();
        let until = Instant::now() + pause;
        while !self.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let changed =
                waiting.block_on(async { tokio::time::timeout(left, commits.changed()).await });
            if !matches!(changed, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Tells whether there is likely more to do.
fn step(store: &Store, tenant: TenantId) -> Result<bool, StoreError> {
    match store.projections_step(tenant, RUN_EVENTS_MAX)? {
        Progress::Taken(count) => Ok(count == RUN_EVENTS_MAX),
        Progress::UpToDate | Progress::Busy => Ok(false),
    }
}
