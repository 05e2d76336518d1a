//! The threads that evaluate rules, one for each lane.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use conn_log_core::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

pub use super::evaluation::RuleState;
use super::evaluation::{Evaluation, Stepped, Tools};
use super::recall;
use super::stand_back::{Meter, ThreadMeter};
use crate::clock::SteadyClock;
use crate::control::alerts::heads::{self, Head};
use crate::engine::{AnyConnection, Changed, Engine, Role, Signals};
use crate::error::StoreError;
use crate::log::heads as log_heads;
use crate::log::sequencer::Queues;
use crate::observer::Observer;
use crate::options::StoreOptions;
use crate::tenant_id::TenantId;

/// Pause between two rounds. The first event after a quiet moment does not wait.
const ROUND_PAUSE: Duration = Duration::from_millis(10);

/// Pause between two looks while rules stand back.
const BACK_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two looks for rules while no log has any.
const NO_RULES_PAUSE: Duration = Duration::from_millis(250);

/// Longest time between two rounds while there are rules: another process may have changed them.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// For this long a process that evaluates a log's rules keeps others away; it asks again after half
/// of it. After a crash another process takes over when it has passed.
const HELD_SECONDS: i64 = 10;

/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Steps of one log before the next log has its turn.
const STEPS_AT_ONCE: usize = 20;

/// The time of a rule that is slowed, before all others have their turn.
const SLOWED_TIME: Duration = Duration::from_millis(100);

/// Longest read for a late event.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// The state of the evaluation in this process, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertingState {
    /// How each rule fares.
    pub rules: HashMap<(TenantId, i64), RuleState>,
    /// The last id that the rules of each log have taken in.
    pub taken: HashMap<TenantId, i64>,
    /// Groups in memory.
    pub groups: usize,
    /// Events that the slowest log's rules have not taken in. Slowed rules do not count.
    pub behind_events: i64,
    /// The same of slowed rules.
    pub slowed_behind_events: i64,
}

/// The evaluation of all logs' rules in this process.
pub(crate) struct Alerting {
    engine: Arc<Engine>,
    signals: Signals,
    /// The name of this process.
    holder: String,
    observer: Option<Arc<dyn Observer>>,
    /// See [`StoreOptions::alerting_wait_max`].
    wait_max: Duration,
    /// By lane.
    states: Mutex<BTreeMap<usize, AlertingState>>,
}

impl Alerting {
    pub(crate) fn new(options: &StoreOptions, engine: Arc<Engine>, signals: Signals) -> Self {
        Alerting {
            engine,
            signals,
            holder: Uuid::new_v4().to_string(),
            observer: options.observer.clone(),
            wait_max: options.alerting_wait_max,
            states: Mutex::default(),
        }
    }

    /// How the rules fare in this process.
    pub(crate) fn state(&self) -> AlertingState {
        let mut all = AlertingState::default();
        for state in self.lock().values().cloned() {
            all.rules.extend(state.rules);
            all.taken.extend(state.taken);
            all.groups += state.groups;
            all.behind_events = all.behind_events.max(state.behind_events);
            all.slowed_behind_events = all.slowed_behind_events.max(state.slowed_behind_events);
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, AlertingState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a thread for each lane. Each ends soon after a signal to stop, once it is unparked.
pub(crate) fn spawn_all(
    alerting: &Arc<Alerting>,
    queues: &Queues,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let lanes = 0..alerting.engine.lanes().count();
    let spawn = |lane| {
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let meter = ThreadMeter::new(Arc::clone(queues.of_lane(lane)));
        let runner = Runner::new(Arc::clone(alerting), lane, Box::new(meter));
        let thread = std::thread::Builder::new().name("conn-log-alerts".to_owned());
        thread.spawn(move || runner.run(&waiting))
    };
    lanes.map(spawn).collect()
}

pub(crate) struct Runner {
    alerting: Arc<Alerting>,
    /// The tenants whose rules it evaluates.
    lane: usize,
    /// On a distributed database: the last signal whose tenants it has looked at.
    seen: u64,
    /// The last look at all tenants of the lane.
    looked: Option<Instant>,
    commits: watch::Receiver<u64>,
    /// Of the lane's writer.
    meter: Box<dyn Meter>,
    /// The thread's own connection.
    reader: Option<AnyConnection>,
    clock: SteadyClock,
    evaluations: HashMap<TenantId, Evaluation>,
    /// The logs whose rules this process has evaluated.
    has_held: HashSet<TenantId>,
    /// The epoch of the database that the evaluations are of.
    epoch: u64,
}

/// The state after a round.
pub(super) struct Round {
    has_rules: bool,
    has_more: bool,
    /// Whether the rules of a log stand back.
    pub(super) is_any_back: bool,
    deadline: Option<Timestamp>,
}

impl Runner {
    pub(crate) fn new(alerting: Arc<Alerting>, lane: usize, meter: Box<dyn Meter>) -> Self {
        // Opened now: a connection that is opened after a file is gone would make another file.
        let role = Role::Reader { read_time_max: READ_TIME_MAX };
        Runner {
            lane,
            seen: 0,
            looked: None,
            commits: alerting.signals.commits(),
            meter,
            reader: alerting.engine.connect(role).ok(),
            clock: SteadyClock::new(),
            evaluations: HashMap::new(),
            has_held: HashSet::new(),
            epoch: 0,
            alerting,
        }
    }

    fn run(mut self, waiting: &tokio::runtime::Runtime) {
        loop {
            self.commits.mark_unchanged();
            if self.is_stopped() {
                return self.let_go();
            }
            match self.round() {
                Ok(round) if round.has_more => {}
                Ok(round) if round.is_any_back => self.rest(BACK_PAUSE),
                Ok(round) => {
                    let pause = self.pause(&round);
                    let commits = &mut self.commits;
                    waiting
                        .block_on(async { tokio::time::timeout(pause, commits.changed()).await })
                        .ok();
                    let rest = if round.has_rules { ROUND_PAUSE } else { NO_RULES_PAUSE };
                    self.rest(rest);
                }
                Err(error) if self.is_stopped() => log::debug!("the rules stop: {error}"),
                Err(error) => {
                    log::error!("rules could not be evaluated, and will be again: {error}");
                    self.reader = None;
                    self.evaluations.clear();
                    self.rest(RETRY_PAUSE);
                }
            }
        }
    }

    /// The time until the next deadline, at most a second.
    fn pause(&mut self, round: &Round) -> Duration {
        let now = self.clock.now();
        let until = round.deadline.map_or(i64::MAX, |due| due.micros() - now.micros());
        let until = Duration::from_micros(until.max(0).unsigned_abs());
        until.min(LOOK_AFTER)
    }

    /// Waits that long, or until the store stops.
    fn rest(&self, time: Duration) {
        let until = std::time::Instant::now() + time;
        while !self.is_stopped() {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    fn is_stopped(&self) -> bool {
        self.alerting.signals.is_stopped()
    }

    fn reader(&mut self) -> Result<&mut AnyConnection, StoreError> {
        if self.reader.is_none() {
            self.alerting.engine.check_files()?;
            let role = Role::Reader { read_time_max: READ_TIME_MAX };
            self.reader = Some(self.alerting.engine.connect(role)?);
        }
        self.reader.as_mut().ok_or_else(|| StoreError::unavailable("no connection"))
    }

    /// Evaluates the rules of every log for a while.
    pub(super) fn round(&mut self) -> Result<Round, StoreError> {
        self.alerting.engine.check_log()?;
        self.forget_another_database()?;
        let heads = self.heads()?;
        let mut round =
            Round { has_rules: false, has_more: false, is_any_back: false, deadline: None };
        let mut state = AlertingState::default();
        for head in heads {
            let tenant = TenantId(head.tenant);
            match self.evaluate(tenant, &head) {
                Ok(None) => {
                    self.evaluations.remove(&tenant);
                }
                Ok(Some(stepped)) => {
                    round.has_rules = true;
                    match stepped {
                        Stepped::More => round.has_more = true,
                        Stepped::Back => round.is_any_back = true,
                        Stepped::Idle(deadline) => {
                            round.deadline = round.deadline.into_iter().chain(deadline).min();
                        }
                        Stepped::Lost => {
                            self.evaluations.remove(&tenant);
                        }
                    }
                    self.note(tenant, &mut state)?;
                }
                Err(error) => {
                    // The other logs go on; this one begins with what is stored.
                    self.evaluations.remove(&tenant);
                    return Err(error);
                }
            }
            if self.is_stopped() {
                break;
            }
        }
        self.alerting.lock().insert(self.lane, state);
        Ok(round)
    }

    /// The head rows of the lane's logs that may have rules to evaluate. A distributed database is
    /// asked for all of them once a second, and in between for those that were committed to.
    fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let alerting = Arc::clone(&self.alerting);
        let lanes = alerting.engine.lanes();
        if !lanes.is_distributed() {
            return Ok(heads::of(self.reader()?, None)?);
        }
        let (changed, seen) = alerting.signals.changed_since(self.seen);
        let is_time = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AFTER);
        let tenants = match changed {
            Changed::These(tenants) if !is_time => {
                let own = tenants.into_iter().filter(|tenant| lanes.of(*tenant) == self.lane);
                own.chain(self.evaluations.keys().copied()).collect()
            }
            Changed::These(_) | Changed::All => {
                self.looked = Some(Instant::now());
                lanes.tenants_of(self.lane)
            }
        };
        let heads = if tenants.is_empty() {
            Vec::new()
        } else {
            heads::of(self.reader()?, Some(&tenants))?
        };
        self.seen = seen;
        Ok(heads)
    }

    /// Forgets evaluations of a database that is not there any more: its events may be others.
    fn forget_another_database(&mut self) -> Result<(), StoreError> {
        let identity = Arc::clone(self.alerting.engine.identity());
        let epoch = identity.look(self.reader()?)?;
        if self.epoch != epoch {
            self.epoch = epoch;
            self.evaluations.clear();
            self.has_held.clear();
        }
        Ok(())
    }

    fn note(&mut self, tenant: TenantId, state: &mut AlertingState) -> Result<(), StoreError> {
        let size = log_heads::bounds(self.reader()?, tenant)?.size;
        if let Some(evaluation) = self.evaluations.get(&tenant) {
            let mut taken = evaluation.watermark();
            state.behind_events = state.behind_events.max(size - taken);
            for (rule, one) in evaluation.states(size) {
                if one.is_slowed {
                    let behind = one.behind_events;
                    taken = taken.min(size - behind);
                    state.slowed_behind_events = state.slowed_behind_events.max(behind);
                }
                state.rules.insert((tenant, rule), one);
            }
            state.taken.insert(tenant, taken);
            state.groups += evaluation.groups();
        }
        Ok(())
    }

    /// Evaluates the rules of a log for some steps. `None` if it has none, or if another process
    /// does it.
    fn evaluate(&mut self, tenant: TenantId, head: &Head) -> Result<Option<Stepped>, StoreError> {
        let now = self.clock.now();
        if !self.hold(tenant, head, now)? {
            return Ok(None);
        }
        let is_current =
            self.evaluations.get(&tenant).is_some_and(|known| known.revision == head.revision);
        if !is_current {
            self.evaluations.remove(&tenant);
            let wait_max = self.alerting.wait_max;
            let Some(evaluation) = recall::recall(self.reader()?, tenant, head, wait_max)? else {
                return Ok(None);
            };
            self.evaluations.insert(tenant, evaluation);
        }
        self.reader()?;
        let Runner { alerting, reader, evaluations, meter, .. } = self;
        let (Some(reader), Some(evaluation)) = (reader, evaluations.get_mut(&tenant)) else {
            return Ok(None);
        };
        let (engine, holder) = (&alerting.engine, alerting.holder.as_str());
        let (signals, observer) = (&alerting.signals, alerting.observer.as_deref());
        let meter = &**meter;
        let mut tools = Tools { engine, reader, tenant, holder, now, signals, observer, meter };
        let mut stepped = Stepped::More;
        for _ in 0..STEPS_AT_ONCE {
            stepped = evaluation.step(&mut tools)?;
            if stepped != Stepped::More || alerting.signals.is_stopped() {
                break;
            }
        }
        if stepped != Stepped::Lost && !evaluation.write_gathered(&mut tools)? {
            stepped = Stepped::Lost;
        }
        let is_on = !matches!(stepped, Stepped::Lost | Stepped::Back);
        if is_on && !alerting.signals.is_stopped() {
            match evaluation.step_slowed(&mut tools, SLOWED_TIME)? {
                Stepped::Idle(_) => {}
                other => stepped = other,
            }
        }
        Ok(Some(stepped))
    }

    /// Whether this process evaluates the log's rules. It asks for it only if it has reason to.
    fn hold(&mut self, tenant: TenantId, head: &Head, now: Timestamp) -> Result<bool, StoreError> {
        let is_ours = head.holder == self.alerting.holder;
        let left = head.held_until.0.micros() - now.micros();
        if is_ours && left > HELD_SECONDS * 500_000 {
            return Ok(true);
        }
        // A file has one server: the process that held it before has ended.
        let takes_over = self.is_embedded() && !self.has_held.contains(&tenant);
        if !is_ours && left > 0 && !takes_over {
            return Ok(false);
        }
        // A log without an enabled rule needs no one.
        if !self.has_enabled_rules(tenant)? {
            return Ok(false);
        }
        let holder = self.alerting.holder.clone();
        let until = now.plus(TimeDelta::seconds(HELD_SECONDS));
        let now = if takes_over { Timestamp::MAX } else { now };
        let is_held = self
            .alerting
            .engine
            .write(move |connection| Ok(heads::hold(connection, tenant, &holder, now, until)?))?;
        if is_held {
            self.has_held.insert(tenant);
        }
        Ok(is_held)
    }

    fn is_embedded(&self) -> bool {
        self.alerting.engine.derived_is_apart()
    }

    fn has_enabled_rules(&mut self, tenant: TenantId) -> Result<bool, StoreError> {
        let rules = crate::control::alerts::rules::all_in(self.reader()?, tenant)?;
        Ok(rules.iter().any(|rule| rule.rule.is_enabled()))
    }

    /// Lets another process go on at once.
    fn let_go(&self) {
        for tenant in self.evaluations.keys().copied() {
            let holder = self.alerting.holder.clone();
            let done = self.alerting.engine.write(move |connection| {
                let past = Timestamp::EPOCH;
                Ok(heads::hold(connection, tenant, &holder, past, past)?)
            });
            if let Err(error) = done {
                log::debug!("the rules of a log stay with this process for a while: {error}");
            }
        }
    }
}
