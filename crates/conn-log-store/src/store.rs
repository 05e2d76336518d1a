//! The facade: opens a database, starts the store's threads, and passes each question to the module
//! that answers it.

mod derived;
mod events;
mod notifications;
mod once;
mod rules;
mod tokens;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use conn_log_core::Timestamp;

use crate::clock::{delta, now};
use crate::control::tenants;
use crate::derive::alerts::Alerting;
use crate::derive::sessions;
use crate::derive::{self, Derivation, Pace};
use crate::engine::{AnyConnection, DatabaseUrl, Engine, Role, Signals, Turns};
use crate::error::{OpenError, StoreError};
use crate::log::heads;
use crate::log::sequencer::{Queues, Writer, spawn};
use crate::observer::{Lag, Stats};
use crate::options::StoreOptions;

/// Longest wait for accepted events to be stored when the store closes: more than all of the
/// writer's attempts.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// 2026-01-01T00:00:00Z: no log is older, so a clock with an earlier time is wrong.
const CLOCK_MIN_MICROS: i64 = 1_767_225_600_000_000;

/// With a clock further behind the last event, all events of a day would get the same time.
const CLOCK_BEHIND_MAX: Duration = Duration::from_hours(24);

/// A connection log. Clones share it; dropping the last clone closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    options: StoreOptions,
    queues: Queues,
    engine: Arc<Engine>,
    derivation: Arc<Derivation>,
    alerting: Arc<Alerting>,
    signals: Signals,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Inner {
    /// Accepts no more events, and ends the threads once their remaining work is done.
    fn stop(&self) {
        self.queues.close();
        self.signals.stop();
        for thread in self.threads().iter() {
            thread.thread().unpark();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.options.url).finish()
    }
}

/// Opening and closing.
impl Store {
    /// Opens a log: creates the folder and file of an embedded log, applies migrations, creates the
    /// tenant `default`, and starts to accept events.
    pub fn open(options: StoreOptions) -> Result<Store, OpenError> {
        // Before anything is written with a wrong time.
        check_clock(None)?;
        for name in Store::migrate(&options.url)? {
            log::info!("applied the migration {name}");
        }
        let lanes = Arc::new(Engine::find_lanes(&options.url)?);
        let queues = Queues::new(
            Arc::clone(&lanes),
            options.queue_events_max,
            options.queue_bytes_max,
            options.group_events_max,
        );
        let signals = Signals::new();
        let turns: Arc<dyn Turns> = queues.first().clone();
        let engine = Arc::new(Engine::new(&options, lanes, turns)?);
        check_clock(created_at_last(&engine)?)?;
        let session_timeout = sessions::timeout(&engine, options.session_timeout)?;
        let followers = derive::followers(&options, session_timeout, &signals);
        let derivation =
            Arc::new(Derivation::new(engine.clone(), signals.clone(), followers, session_timeout));
        derivation.settle_lost_events(options.accept_lost_events)?;
        // A lane that is left out is done by its threads.
        engine.each_lane(|lane| derivation.restart_where_due(lane))?;
        let alerting = Arc::new(Alerting::new(&options, engine.clone(), signals.clone()));
        let store = Store(Arc::new(Inner {
            options,
            queues,
            alerting,
            engine,
            derivation,
            signals,
            threads: Mutex::default(),
        }));
        store.start_threads()?;
        Ok(store)
    }

    fn start_threads(&self) -> Result<(), StoreError> {
        let Inner { options, queues, engine, derivation, alerting, signals, .. } = &*self.0;
        let mut threads = self.0.threads();
        for queue in queues.all() {
            let writer = Writer::new(options, engine.clone(), queue.clone(), signals.clone())?;
            threads.push(spawn(writer).map_err(StoreError::internal)?);
        }
        threads.push(engine.start(signals)?);
        let paces = [(options.indexing, Pace::Prompt), (options.projections, Pace::Patient)];
        let paces = paces.into_iter().filter(|(is_on, _)| *is_on).map(|(_, pace)| pace);
        threads.extend(derive::spawn_all(derivation, paces)?);
        if options.alerting {
            let started = derive::alerts::spawn_all(alerting, queues);
            threads.extend(started.map_err(StoreError::internal)?);
        }
        Ok(())
    }

    /// Only applies migrations. Returns the names of those applied.
    pub fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        let applied = Engine::migrate(url)?;
        let mut connection = AnyConnection::open(url, Role::Writer).map_err(StoreError::from)?;
        tenants::ensure_default(&mut connection)?;
        Ok(applied)
    }

    /// Applies migrations, and puts the tables where they belong on Citus. May be done again at any
    /// time: it does what is left to do. Returns what was done, one sentence each.
    pub fn distribute(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        let applied = Store::migrate(url)?;
        let mut done: Vec<String> =
            applied.into_iter().map(|name| format!("applied {name}")).collect();
        done.extend(Engine::distribute(url)?);
        Ok(done)
    }

    /// Accepts no more events, stores the accepted ones, and returns when this is done, or after
    /// ten seconds. Returns whether it is done: a database that hangs can prevent it. A client
    /// without an answer by then was not told that anything is stored. Blocks the thread.
    pub fn close(self) -> bool {
        self.0.stop();
        let threads = std::mem::take(&mut *self.0.threads());
        let (sender, ended) = mpsc::channel();
        // This thread is left running if another thread does not end.
        std::thread::spawn(move || {
            for thread in threads {
                thread.thread().unpark();
                if thread.join().is_err() {
                    log::error!("a thread of the store ended by a panic");
                }
            }
            sender.send(()).ok();
        });
        let is_done = ended.recv_timeout(CLOSE_TIME_MAX).is_ok();
        if !is_done {
            log::error!("the database hangs: the last events may be stored or not");
        } else if let Err(error) = self.0.engine.close() {
            log::warn!("the write-ahead log was not emptied: {error}");
        }
        is_done
    }
}

/// The state of the store.
impl Store {
    /// Checks that the store can be reached, written to and read from, and has a schema that this program can
    /// work on. Blocks the thread.
    pub fn ready(&self) -> Result<(), StoreError> {
        self.0.engine.check_files()?;
        if !self.0.queues.is_any_available() {
            return Err(StoreError::unavailable("the writer cannot write"));
        }
        self.0.engine.check_schema()?;
        self.0.engine.check_readers()
    }

    /// Longest read. A caller on another thread need not wait longer: a frozen database never ends
    /// a read.
    pub fn read_time_max(&self) -> Duration {
        self.0.engine.read_time_max()
    }

    /// The load of the queue and of the pool.
    pub fn stats(&self) -> Stats {
        let (queue_events, queue_bytes) = self.0.queues.depth();
        let (readers, readers_idle) = self.0.engine.readers_state();
        let available = self.0.queues.are_all_available();
        let has_fsync = self.0.engine.has_fsync();
        Stats { queue_events, queue_bytes, readers, readers_idle, available, has_fsync }
    }

    /// The lag of derived data. Blocks the thread.
    pub fn lag(&self) -> Result<Lag, StoreError> {
        let (index_events, projections_events) = self.0.derivation.lag()?;
        Ok(Lag { projections_events, index_events })
    }
}

/// The time of the last event of all logs, those of nodes that are away excepted.
fn created_at_last(engine: &Engine) -> Result<Option<Timestamp>, StoreError> {
    let mut last = None;
    engine.each_lane(|lane| {
        let of_lane = engine.in_lane(lane, |connection, tenants| {
            Ok(heads::created_at_last(connection, tenants)?)
        })?;
        last = last.max(of_lane);
        Ok(())
    })?;
    Ok(last)
}

/// Fails if the clock must be wrong, to judge by the time of the log's last event.
fn check_clock(last: Option<Timestamp>) -> Result<(), OpenError> {
    let least = Timestamp::from_micros(CLOCK_MIN_MICROS);
    let last = last.unwrap_or(least).max(least);
    let now = now();
    if now < least || now.plus(delta(CLOCK_BEHIND_MAX)) < last {
        return Err(OpenError::Clock { now, last });
    }
    Ok(())
}
