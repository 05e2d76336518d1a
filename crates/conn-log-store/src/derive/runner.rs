//! The threads that keep followers close behind the log, one for each pace and lane.
//!
//! A thread wakes after a commit, waits a little for more events, and takes in the events that are
//! behind in batches. Reads add the events that are behind by themselves: so nothing here is
//! urgent.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Derivation;
use super::follower::{Pace, Upkeep};
use super::step::Progress;
use crate::engine::{AnyConnection, Changed, Lanes, Role};
use crate::error::StoreError;
use crate::log::heads;
use crate::tenant_id::TenantId;

/// Pause between two full batches of a thread with low priority: another process that waits for the
/// same SQLite file checks ten times a second.
const HAND_OVER: Duration = Duration::from_millis(120);

/// While events keep coming, each full batch is followed by a pause of its duration divided by
/// this. Events that come faster than single events can are batches: then the followers fall behind
/// in any case, and appends get more of the processors. Without commits they catch up without a
/// pause.
const LOADED_REST: u32 = 2;

/// Limit of that pause: a batch that is slow because other threads have the processors already
/// gives way.
const LOADED_REST_MAX: Duration = Duration::from_secs(1);

/// Steps of niceness: with too few processors for all threads it gets a tenth of another thread's
/// share, and all time that is left over (sched(7)).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Pause after a failed step, doubled after each failure up to the second constant.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Longest time between two checks without a commit: another process may have left work to do.
const LOOK_AFTER: Duration = Duration::from_secs(30);

/// Longest read of a table: it is the only such thread, and makes no read wait.
const LOOK_TIME_MAX: Duration = Duration::from_mins(5);

/// Starts a thread for each of these paces and each lane. Each thread ends soon after a signal to stop, once it
/// is unparked.
pub(crate) fn spawn_all(
    derivation: &Arc<Derivation>,
    paces: impl Iterator<Item = Pace>,
) -> Result<Vec<JoinHandle<()>>, StoreError> {
    let lanes = derivation.engine.lanes().count();
    let each = paces.flat_map(|pace| (0..lanes).map(move |lane| (pace, lane)));
    each.map(|(pace, lane)| spawn(Arc::clone(derivation), pace, lane)).collect()
}

/// Connects and starts a thread.
fn spawn(
    derivation: Arc<Derivation>,
    pace: Pace,
    lane: usize,
) -> Result<JoinHandle<()>, StoreError> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let waiting = waiting.map_err(StoreError::internal)?;
    let mut runner = Runner::new(derivation, pace, lane);
    runner.reader()?;
    let spawned = std::thread::Builder::new().name(pace.thread().to_owned()).spawn(move || {
        if pace.gives_way() {
            give_way();
        }
        runner.run(&waiting);
    });
    spawned.map_err(StoreError::internal)
}

/// Lowers the calling thread's priority, so that threads with waiting callers run first. On Linux
/// niceness belongs to a thread; on other systems it would apply to the whole process.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        log::debug!("a thread keeps its priority: {error}");
    }
}

struct Runner {
    derivation: Arc<Derivation>,
    pace: Pace,
    /// The tenants that it works for.
    lane: usize,
    /// On a distributed database: tenants that may have a step to make.
    to_look_at: BTreeSet<TenantId>,
    /// The last signal whose tenants are among them.
    seen: u64,
    /// The last look at all tenants of the lane.
    looked: Option<Instant>,
    /// Whether data of another version or setting begins again: a node that was away when the store
    /// opened was left out then.
    has_restarted: bool,
    commits: watch::Receiver<u64>,
    /// The thread's own connection, so that it never waits for a list.
    reader: Option<AnyConnection>,
    /// Tenants whose followers may have upkeep to do. `None` means all: other processes leave
    /// upkeep, too.
    to_maintain: Option<BTreeSet<TenantId>>,
}

impl Runner {
    fn new(derivation: Arc<Derivation>, pace: Pace, lane: usize) -> Self {
        let commits = derivation.signals.commits();
        Runner {
            derivation,
            pace,
            lane,
            to_look_at: BTreeSet::new(),
            seen: 0,
            looked: None,
            has_restarted: false,
            commits,
            reader: None,
            to_maintain: None,
        }
    }

    fn run(mut self, waiting: &tokio::runtime::Runtime) {
        let mut failures = 0;
        loop {
            // Later commits end the wait below, and so does a signal to stop.
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

    /// Takes in the events that are behind, of all tenants in turn; returns whether some are left.
    /// A tenant whose step fails is left out, and the others continue.
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
        let lanes = Arc::clone(derivation.engine.lanes());
        let mut due = if lanes.is_distributed() {
            if !self.has_restarted {
                derivation.restart_where_due(self.lane)?;
                self.has_restarted = true;
            }
            self.gather(&lanes);
            let these = self.to_look_at.clone();
            // A query about no tenant still goes to a node.
            if !these.is_empty() {
                self.to_look_at = derivation.due(self.reader()?, Some(&these), pace)?;
            }
            self.to_look_at.clone()
        } else {
            derivation.due(self.reader()?, None, pace)?
        };
        if self.to_maintain.is_none() {
            self.to_maintain = Some(if lanes.is_distributed() {
                lanes.tenants_of(self.lane)
            } else {
                heads::bounds_of(self.reader()?, None)?.into_keys().collect()
            });
        }
        due.extend(self.to_maintain.iter().flatten());
        Ok(due)
    }

    /// Adds the tenants of the lane that were committed to since the last look: a look at all
    /// tenants of a distributed database asks for each of its shards, so that it is rare.
    fn gather(&mut self, lanes: &Lanes) {
        let (changed, seen) = self.derivation.signals.changed_since(self.seen);
        let is_time = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AFTER);
        match changed {
            Changed::These(tenants) if !is_time => {
                let own = tenants.into_iter().filter(|tenant| lanes.of(*tenant) == self.lane);
                self.to_look_at.extend(own);
            }
            Changed::These(_) | Changed::All => {
                self.to_look_at.extend(lanes.tenants_of(self.lane));
                self.looked = Some(Instant::now());
            }
        }
        self.seen = seen;
    }

    /// Makes a step, and does some upkeep, of one tenant; returns whether there is more to do at
    /// once. Both take turns, so that neither waits for ever for the other's end.
    fn work(&mut self, tenant: TenantId) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let (derivation, pace) = (Arc::clone(&self.derivation), self.pace);
        let is_loaded = self.commits.has_changed().unwrap_or(false);
        let events_max = pace.batch_events_max(is_loaded);
        let progress = derivation.step(self.reader()?, tenant, pace, events_max)?;
        let has_more = match progress {
            Progress::Taken(events) => {
                self.to_maintain.get_or_insert_default().insert(tenant);
                // A thread with low priority waits only for a few events.
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

    /// The pause after a full batch that took this long.
    fn pause_after(&mut self, batch: Duration) -> Duration {
        let is_loaded = self.commits.has_changed().unwrap_or(false);
        // Later commits are noticed the next time. No event is missed: the wait checks which
        // tenants are due.
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

    /// Waits for that time; the close unparks the thread and so ends the wait early.
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
