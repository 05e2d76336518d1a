//! The threads that keep followers close behind the log, one for each pace.
//!
//! A thread wakes when something was committed, gathers a little, and works off what is behind in batches.
//! Reads count by themselves what is behind: nothing here is in a hurry.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Derivation;
use super::follower::{Pace, Upkeep};
use super::step::Progress;
use crate::engine::{AnyConnection, Role};
use crate::error::StoreError;
use crate::log::heads;
use crate::tenant_id::TenantId;

/// Between two full batches of a thread that gives way: another process that waits for the same SQLite file looks
/// ten times a second.
const HAND_OVER: Duration = Duration::from_millis(120);

/// While events keep coming, a full batch is followed by a rest of this part of its time: events that come faster
/// than single ones do are a load of batches, which leaves the followers behind in any case, and gets the more of
/// the processors. Without commits they catch up at once.
const LOADED_REST: u32 = 2;

/// That rest at most: a batch that is slow because others have the processors gives way already.
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

/// Longest look at a table: the thread is one, and keeps no read waiting.
const LOOK_TIME_MAX: Duration = Duration::from_mins(5);

/// Starts a thread for each of these paces. Each ends soon after a signal to stop, once it is unparked.
pub(crate) fn spawn_all(
    derivation: &Arc<Derivation>,
    paces: impl Iterator<Item = Pace>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    paces.map(|pace| spawn(Arc::clone(derivation), pace)).collect()
}

fn spawn(derivation: Arc<Derivation>, pace: Pace) -> std::io::Result<JoinHandle<()>> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name(pace.thread().to_owned()).spawn(move || {
        if pace.gives_way() {
            give_way();
        }
        let commits = derivation.signals.commits();
        Runner { derivation, pace, commits, reader: None, to_maintain: None }.run(&waiting);
    })
}

/// Makes the calling thread give way to threads that someone waits for. On Linux niceness is a
/// thread's own; elsewhere it would be the whole process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        log::debug!("a thread keeps its priority: {error}");
    }
}

struct Runner {
    derivation: Arc<Derivation>,
    pace: Pace,
    commits: watch::Receiver<u64>,
    /// A connection of the thread's own, so that it waits for no list.
    reader: Option<AnyConnection>,
    /// Tenants whose followers may have upkeep to do. `None` for all: other processes leave some, too.
    to_maintain: Option<BTreeSet<TenantId>>,
}

impl Runner {
    fn run(mut self, waiting: &tokio::runtime::Runtime) {
        let mut failures = 0;
        loop {
            // Commits from here on wake the wait below, and so does the end.
            self.commits.mark_unchanged();
            if self.is_stopped() {
                return;
            }
            match self.catch_up() {
                Ok(has_more) => {
                    failures = 0;
                    let pause = if has_more { self.pace.gather() } else { LOOK_AFTER };
                    let commits = &mut self.commits;
                    let woken = waiting
                        .block_on(async { tokio::time::timeout(pause, commits.changed()).await });
                    if woken.is_err() && !has_more {
                        self.to_maintain = None;
                    }
                    self.rest(self.pace.gather());
                }
                Err(error) if self.is_stopped() => {
                    log::debug!("{} stops: {error}", self.pace.thread());
                    return;
                }
                Err(error) => {
                    log::error!(
                        "{} could not go on, and will try again: {error}",
                        self.pace.thread()
                    );
                    self.reader = None;
                    failures += 1;
                    let pause = RETRY_PAUSE.saturating_mul(1 << failures.min(8_u32));
                    self.rest(pause.min(RETRY_PAUSE_MAX));
                }
            }
        }
    }

    /// Works off what is behind, of all tenants in turn; tells whether something is left. A tenant whose step fails
    /// is left out, and the others go on.
    fn catch_up(&mut self) -> Result<bool, StoreError> {
        let mut failed: Option<StoreError> = None;
        let mut left_out = HashSet::new();
        loop {
            let mut has_more = false;
            let due = self.due()?;
            let is_due = !due.is_empty();
            for tenant in due {
                if left_out.contains(&tenant) {
                    continue;
                }
                match self.work(tenant) {
                    Ok(more) => has_more |= more,
                    Err(error) => {
                        left_out.insert(tenant);
                        failed = Some(error);
                    }
                }
                if self.is_stopped() {
                    return Ok(false);
                }
            }
            if !has_more {
                return failed.map_or(Ok(is_due), Err);
            }
        }
    }

    /// Tenants with a step to make or upkeep to do.
    fn due(&mut self) -> Result<BTreeSet<TenantId>, StoreError> {
        let (derivation, pace) = (Arc::clone(&self.derivation), self.pace);
        let mut due: BTreeSet<TenantId> =
            derivation.due(self.reader()?, pace)?.into_iter().collect();
        if self.to_maintain.is_none() {
            self.to_maintain = Some(heads::all_bounds(self.reader()?)?.into_keys().collect());
        }
        due.extend(self.to_maintain.iter().flatten());
        Ok(due)
    }

    /// A step, and some upkeep, of one tenant; tells whether there is more to do at once. In turn, so that
    /// neither waits for an end of the other that never comes.
    fn work(&mut self, tenant: TenantId) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let (derivation, pace) = (Arc::clone(&self.derivation), self.pace);
        let events_max = pace.batch_events_max();
        let progress = derivation.step(self.reader()?, tenant, pace, events_max)?;
        let has_more = match progress {
            Progress::Taken(events) => {
                self.to_maintain.get_or_insert_default().insert(tenant);
                // A thread that gives way leaves few events to gather.
                let is_full = i64::try_from(events).is_ok_and(|events| events >= events_max);
                if is_full && pace.gives_way() {
                    let pause = self.pause_after(begun.elapsed());
                    self.rest(pause);
                }
                is_full || !pace.gives_way()
            }
            Progress::Cleared => true,
            Progress::UpToDate | Progress::Busy => false,
        };
        Ok(self.maintain(tenant)? || has_more)
    }

    fn maintain(&mut self, tenant: TenantId) -> Result<bool, StoreError> {
        if !self.to_maintain.as_ref().is_none_or(|tenants| tenants.contains(&tenant)) {
            return Ok(false);
        }
        let derivation = Arc::clone(&self.derivation);
        let mut has_more = false;
        for follower in derivation.of_pace(self.pace) {
            has_more |= follower.maintain(Upkeep {
                engine: &derivation.engine,
                reader: self.reader()?,
                tenant,
                signals: &derivation.signals,
            })?;
        }
        if !has_more && let Some(tenants) = &mut self.to_maintain {
            tenants.remove(&tenant);
        }
        Ok(has_more)
    }

    /// How long to rest after a full batch that took so long.
    fn pause_after(&mut self, batch: Duration) -> Duration {
        let is_loaded = self.commits.has_changed().unwrap_or(false);
        // Commits from here on tell it the next time. Nothing is left out: the wait looks at what is due.
        self.commits.mark_unchanged();
        if is_loaded {
            HAND_OVER.max((batch / LOADED_REST).min(LOADED_REST_MAX))
        } else {
            HAND_OVER
        }
    }

    fn reader(&mut self) -> Result<&mut AnyConnection, StoreError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                self.derivation.engine.connect(Role::Reader { read_time_max: LOOK_TIME_MAX })?
            }
        };
        Ok(self.reader.insert(reader))
    }

    fn is_stopped(&self) -> bool {
        self.derivation.signals.is_stopped()
    }

    /// Waits; closing, which unparks the thread, cuts it short.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.is_stopped() {
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
