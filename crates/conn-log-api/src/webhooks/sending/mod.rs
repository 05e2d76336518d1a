//! Sends deliveries: a thread for each lane of the store begins the attempts that are due, and each attempt has a
//! thread of its own. A node of a distributed database that hangs holds up the deliveries of its own
//! tenants.
//!
//! The bounds keep receivers apart. A receiver that hangs holds its own few threads, and for 15
//! seconds at most. Receivers that failed last time share half of all threads: however many of them
//! hang, the other half is for those that answer.
//!
//! Nothing here reads a clock, except the time that an attempt takes: [`Notifier::step`] is given
//! the time.

mod attempt;
mod signature;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use conn_log_core::Timestamp;
use conn_log_store::{ClaimedDelivery, DeliveryKey, Store, StoreError, Webhook};
use uuid::Uuid;

use super::guard::Guard;
use super::metrics::DeliveryMetrics;
use attempt::Client;

/// Attempts at one time, which the lanes share. Each has a thread that mostly waits.
const ATTEMPTS_MAX: usize = 64;

/// Those of webhooks whose last attempt failed.
const FAILING_ATTEMPTS_MAX: usize = ATTEMPTS_MAX / 2;

/// A lane has at least so many.
const LANE_ATTEMPTS_MIN: usize = 4;

/// Those of one webhook.
const WEBHOOK_ATTEMPTS_MAX: usize = 4;

/// How often the tables are looked at if nothing happens: what another process did is seen then.
const EVERY: Duration = Duration::from_secs(1);

/// The least time from one step to the next while changes come one after another: a step's
/// transactions then serve several of them. The first change after a quiet moment does not wait.
const STEP_PAUSE: Duration = Duration::from_millis(10);

/// How long a server that stops waits for its attempts. One that is cut off is sent again.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// The stack of an attempt's thread: several times what TLS and a message take.
const STACK_BYTES: usize = 512 << 10;

/// Tells webhooks of the changes of alerts.
pub struct Notifier {
    store: Store,
    guard: Guard,
    client: Client,
    metrics: DeliveryMetrics,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Attempts under way of each webhook, and whether it was failing when they began.
    running: HashMap<Uuid, Running>,
    /// Webhooks whose fault the log has.
    faulty: HashSet<Uuid>,
    /// Counts the steps.
    turn: usize,
    /// The threads of lanes that have not ended.
    threads: usize,
    /// Lanes with something to do before their next look, as far as is known.
    woken: HashSet<usize>,
    is_stopped: bool,
}

#[derive(Clone, Copy, Default)]
struct Running {
    lane: usize,
    attempts: usize,
    failing: usize,
}

impl State {
    fn attempts(&self) -> usize {
        self.running.values().map(|running| running.attempts).sum()
    }

    /// The attempts that may begin now, for the tenants of one of so many lanes.
    fn room(&self, lane: usize, lanes: usize) -> Room {
        let own = || self.running.values().filter(|running| running.lane == lane);
        let attempts: usize = own().map(|running| running.attempts).sum();
        let failing: usize = own().map(|running| running.failing).sum();
        let share = |all: usize| (all / lanes.max(1)).max(LANE_ATTEMPTS_MIN);
        Room {
            all: share(ATTEMPTS_MAX).saturating_sub(attempts),
            failing: share(FAILING_ATTEMPTS_MAX).saturating_sub(failing),
            running: self.running.clone(),
        }
    }
}

/// The attempts that may begin.
struct Room {
    all: usize,
    failing: usize,
    running: HashMap<Uuid, Running>,
}

impl Room {
    /// The attempts that a webhook may begin. A failing one has one at a time: its first success
    /// brings the others back.
    fn of(&self, webhook: &Webhook) -> usize {
        let own = self.running.get(&webhook.id).map_or(0, |running| running.attempts);
        if webhook.failing_since.is_none() {
            self.all.min(WEBHOOK_ATTEMPTS_MAX.saturating_sub(own))
        } else {
            self.all.min(self.failing).min(1_usize.saturating_sub(own))
        }
    }

    fn take(&mut self, webhook: &Webhook, attempts: usize) {
        self.all -= attempts.min(self.all);
        if webhook.failing_since.is_some() {
            self.failing -= attempts.min(self.failing);
        }
    }
}

impl Notifier {
    pub(crate) fn new(
        store: Store,
        options: &crate::ApiOptions,
        metrics: DeliveryMetrics,
    ) -> Arc<Self> {
        let guard = Guard::new(options.webhook_allow.clone());
        Arc::new(Notifier {
            client: Client::new(guard.clone(), options.webhook_time_max),
            store,
            guard,
            metrics,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Decides which URLs may be called.
    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Makes deliveries of new changes, and begins the attempts that are due at `now` and have
    /// room. Returns their number. Blocks the thread, but not for the attempts.
    ///
    /// # Errors
    /// Those of the store.
    pub fn step(self: &Arc<Self>, now: Timestamp) -> Result<usize, StoreError> {
        (0..self.store.lanes()).map(|lane| self.step_lane(lane, now)).sum()
    }

    /// The same for the tenants of a lane.
    fn step_lane(self: &Arc<Self>, lane: usize, now: Timestamp) -> Result<usize, StoreError> {
        let mut webhooks = self.store.webhooks_enabled(lane)?;
        let mut room = {
            let mut state = self.state();
            // Each step begins with another webhook, so that none is always the last.
            state.turn = state.turn.wrapping_add(1);
            let first = state.turn % webhooks.len().max(1);
            webhooks.rotate_left(first);
            state.room(lane, self.store.lanes())
        };
        let mut keys: Vec<DeliveryKey> = Vec::new();
        for webhook in &webhooks {
            match self.due(webhook, now, room.of(webhook)) {
                Ok(due) => {
                    room.take(webhook, due.len());
                    keys.extend(due);
                    self.state().faulty.remove(&webhook.id);
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                // A fault of one webhook's rows is no reason not to tell the others.
                Err(error) => {
                    if self.state().faulty.insert(webhook.id) {
                        log::error!("webhook {} is not told of alerts: {error}", webhook.id);
                    }
                }
            }
        }
        let claimed =
            if keys.is_empty() { Vec::new() } else { self.store.deliveries_claim(keys, now)? };
        let begun = claimed.len();
        for delivery in claimed {
            self.begin(lane, delivery, now);
        }
        Ok(begun)
    }

    /// Makes the deliveries of a webhook's new changes, and returns those that are due.
    fn due(
        &self,
        webhook: &Webhook,
        now: Timestamp,
        room: usize,
    ) -> Result<Vec<DeliveryKey>, StoreError> {
        self.store.deliveries_plan(webhook, now)?;
        if room == 0 {
            return Ok(Vec::new());
        }
        let ids = self.store.deliveries_due(webhook, now, room)?;
        let key = |id| DeliveryKey { tenant: webhook.tenant, webhook: webhook.id, id };
        Ok(ids.into_iter().map(key).collect())
    }

    /// Waits until no attempt is under way. Blocks the thread.
    pub fn settle(&self) {
        let state = self.state();
        let is_busy = |state: &mut State| !state.running.is_empty();
        drop(self.changed.wait_while(state, is_busy).unwrap_or_else(PoisonError::into_inner));
    }

    /// Starts the thread of each lane. They end after [`Notifier::stop`].
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        for lane in 0..self.store.lanes() {
            let notifier = Arc::clone(self);
            self.state().threads += 1;
            std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
                notifier.run(lane);
                notifier.state().threads -= 1;
                notifier.changed.notify_all();
            })?;
        }
        Ok(())
    }

    /// Steps with the system's time until [`Notifier::stop`]. Blocks the thread.
    fn run(self: &Arc<Self>, lane: usize) {
        let mut was_failing = false;
        loop {
            let begun = Instant::now();
            let result = self.step_lane(lane, Timestamp::from(chrono::Utc::now()));
            match &result {
                Err(error) if !was_failing => log::warn!("deliveries wait for the store: {error}"),
                _ => {}
            }
            was_failing = result.is_err();
            let state = self.state();
            let is_idle = |state: &mut State| !state.woken.contains(&lane) && !state.is_stopped;
            let (state, _) = self
                .changed
                .wait_timeout_while(state, EVERY, is_idle)
                .unwrap_or_else(PoisonError::into_inner);
            let is_going_on = |state: &mut State| !state.is_stopped;
            let pause = STEP_PAUSE.saturating_sub(begun.elapsed());
            let (mut state, _) = self
                .changed
                .wait_timeout_while(state, pause, is_going_on)
                .unwrap_or_else(PoisonError::into_inner);
            state.woken.remove(&lane);
            if state.is_stopped {
                return;
            }
        }
    }

    /// Says that there may be something to send.
    pub(crate) fn wake(&self) {
        self.state().woken.extend(0..self.store.lanes());
        self.changed.notify_all();
    }

    /// Begins no more attempts, and waits some seconds for those under way, and for the threads of
    /// the lanes: one whose node hangs does not end. Blocks the thread.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        self.changed.notify_all();
        let is_busy = |state: &mut State| !state.running.is_empty() || state.threads > 0;
        let waited = self.changed.wait_timeout_while(state, STOP_TIME_MAX, is_busy);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.attempts() > 0 {
            log::info!("{} deliveries are cut off, and will be sent again", state.attempts());
        }
    }

    fn begin(self: &Arc<Self>, lane: usize, delivery: ClaimedDelivery, now: Timestamp) {
        let (webhook, is_failing) = (delivery.webhook.id, delivery.webhook.failing_since.is_some());
        {
            let mut state = self.state();
            let running = state.running.entry(webhook).or_default();
            running.lane = lane;
            running.attempts += 1;
            running.failing += usize::from(is_failing);
        }
        self.metrics.began();
        let ended = Ended { notifier: Arc::clone(self), lane, webhook, is_failing };
        let thread = std::thread::Builder::new()
            .name("webhook".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || ended.notifier.attempt(&delivery, now));
        if let Err(error) = thread {
            // The claim runs out, and the delivery is due again.
            log::warn!("no thread for a delivery: {error}");
        }
    }

    fn attempt(&self, delivery: &ClaimedDelivery, now: Timestamp) {
        let attempted = self.client.attempt(&self.store, delivery, now);
        let DeliveryKey { webhook, id, .. } = delivery.key;
        let recorded = self.store.delivery_record(delivery.key, delivery.claim, attempted);
        if let Err(error) = &recorded {
            log::warn!("delivery {id} of webhook {webhook} may be sent again: {error}");
        }
        if matches!(recorded, Ok(conn_log_store::Recorded::Disabled)) {
            log::warn!(
                "webhook {webhook} is disabled: its receiver is gone or has failed for days"
            );
        }
        if let Ok(recorded) = recorded {
            self.metrics.recorded(recorded);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an attempt off the count when it ends, also by a panic.
struct Ended {
    notifier: Arc<Notifier>,
    lane: usize,
    webhook: Uuid,
    is_failing: bool,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.notifier.state();
        if let Some(running) = state.running.get_mut(&self.webhook) {
            running.attempts = running.attempts.saturating_sub(1);
            running.failing = running.failing.saturating_sub(usize::from(self.is_failing));
            if running.attempts == 0 {
                state.running.remove(&self.webhook);
            }
        }
        state.woken.insert(self.lane);
        drop(state);
        self.notifier.metrics.ended();
        self.notifier.changed.notify_all();
    }
}

/// The time that has passed since a moment, as a difference of timestamps.
fn passed(since: Instant) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(since.elapsed()).unwrap_or(chrono::TimeDelta::MAX)
}
