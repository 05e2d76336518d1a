//! The thread that keeps projections close behind the log.
//!
//! It wakes when something was committed, gathers a little, and works off what is behind in runs.
//! Reads count what is behind by themselves: nothing here is in a hurry.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::step::Progress;
use crate::error::StoreError;
use crate::store::WeakStore;

/// Events of one run. Each run writes every row that it touches once: the more events, the less
/// each costs.
const RUN_EVENTS_MAX: usize = 64_000;

/// How long events gather before a run that could take in more: a run writes each row that it touches
/// once, however many events touch it. Reads add up meanwhile what gathers.
const GATHER: Duration = Duration::from_millis(1_500);

/// Between two full runs: another process that waits for the same SQLite file looks ten times a second.
const HAND_OVER: Duration = Duration::from_millis(120);

/// While events keep coming, a full run is followed by a rest of this part of its time: what comes faster
/// than single events do is a load of batches, which leaves the projections behind in any case, and gets
/// the more of the processors. Without commits they catch up at once.
const LOADED_REST: u32 = 2;

/// That rest at most: a run that is slow because others have the processors gives way already.
const LOADED_REST_MAX: Duration = Duration::from_secs(1);

/// Steps of niceness: a tenth of the share of a processor that other threads get, where there are not
/// enough for all, and all that is left over (sched(7)).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

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

/// Starts the thread. It ends soon after `stop` is set, `commits` has changed and it is unparked.
pub(crate) fn spawn(runner: Runner) -> std::io::Result<JoinHandle<()>> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("conn-log-projections".to_owned()).spawn(move || {
        give_way();
        runner.run(&waiting);
    })
}

/// Makes the calling thread one that gives way to those that someone waits for. On Linux niceness is a
/// thread's own; elsewhere it would be the whole process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        log::debug!("the projections keep their priority: {error}");
    }
}

impl Runner {
    fn run(mut self, waiting: &tokio::runtime::Runtime) {
        let mut failures = 0;
        loop {
            // What is committed from here on wakes the wait below, and so does the end.
            self.commits.mark_unchanged();
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let pause = match self.catch_up() {
                Ok(()) => {
                    failures = 0;
                    if self.is_due() { GATHER } else { LOOK_AFTER }
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
                self.rest(pause);
                continue;
            }
            let commits = &mut self.commits;
            let woken =
                waiting.block_on(async { tokio::time::timeout(pause, commits.changed()).await });
            if matches!(woken, Ok(Err(_))) {
                return;
            }
            self.rest(GATHER);
        }
    }

    /// Works off what is behind, of all tenants in turn. One whose step fails is left out, and the
    /// others go on.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let mut failed: Option<StoreError> = None;
        let mut left_out = HashSet::new();
        loop {
            let Some(store) = self.store.upgrade() else {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(());
            };
            let mut has_more = false;
            for tenant in store.projections_due()? {
                if left_out.contains(&tenant) {
                    continue;
                }
                let begun = Instant::now();
                match store.projections_step(tenant, RUN_EVENTS_MAX) {
                    Ok(progress) => {
                        has_more |= match progress {
                            // Few are not worth another run: they gather.
                            Progress::Taken(count) => {
                                let is_full = count >= RUN_EVENTS_MAX;
                                if is_full {
                                    let pause = self.pause_after(begun.elapsed());
                                    self.rest(pause);
                                }
                                is_full
                            }
                            Progress::Cleared => true,
                            Progress::UpToDate | Progress::Busy => false,
                        };
                    }
                    Err(error) => {
                        left_out.insert(tenant);
                        failed = Some(error);
                    }
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            if !has_more {
                return failed.map_or(Ok(()), Err);
            }
        }
    }

    /// How long to rest after a full run that took so long.
    fn pause_after(&mut self, run: Duration) -> Duration {
        let is_loaded = self.commits.has_changed().unwrap_or(false);
        // What is committed from here on tells it the next time; nothing is left out, since the wait looks at
        // what is due.
        self.commits.mark_unchanged();
        if is_loaded { HAND_OVER.max((run / LOADED_REST).min(LOADED_REST_MAX)) } else { HAND_OVER }
    }

    /// Whether something is left, though nothing may be committed any more.
    fn is_due(&self) -> bool {
        let due = self.store.upgrade().map(|store| store.projections_due());
        due.is_some_and(|due| due.is_ok_and(|due| !due.is_empty()))
    }

    /// Waits; closing, which unparks the thread, cuts it short.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_is_nicer_than_the_others() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let within = std::thread::spawn(move || {
            give_way();
            niceness()
        });
        assert_eq!(within.join().unwrap(), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
