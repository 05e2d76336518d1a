//! The facade: opens a database, starts the store's threads, and passes each question to the module
//! that answers it.

mod notifications;
mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use conn_log_core::{EventQuery, Record, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::{delta, now};
use crate::control::{NewToken, Secret, SecretHash, Tenant, Token, TokenPlace, tenants, tokens};
use crate::derive::alerts::Alerting;
use crate::derive::index;
use crate::derive::presence::{self, Application, Device, DeviceFilter};
use crate::derive::sessions::{self, Session, SessionFilter, SessionPlace};
use crate::derive::statistics::{self, StatisticsAnswer, StatisticsError, StatisticsQuery};
use crate::derive::{self, Derivation, Pace, Progress, UnknownFollower};
use crate::engine::{AnyConnection, DatabaseUrl, Engine, Role, Signals, Turns};
use crate::error::{AppendError, OpenError, StoreError};
use crate::log::heads::{self, LogBounds};
use crate::log::idempotency::{self, Kind};
use crate::log::read::find_in;
use crate::log::rejects::{self, Reject, RejectFilter, RejectPlace};
use crate::log::scan::Deadline;
use crate::log::sequencer::{Outcome, Pending, Queues, Submission, Writer, spawn};
use crate::observer::{Lag, Stats};
use crate::options::StoreOptions;
use crate::page::{EventPage, Page, PageQuery};
use crate::tenant_id::TenantId;

/// Longest wait for accepted events to be stored when the store closes: more than all of the
/// writer's attempts.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Submissions of up to this many events are prepared on the caller's thread: some tenths of a
/// millisecond.
const PREPARED_AT_ONCE: usize = 128;

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
        let followers = derive::followers(&options, session_timeout);
        let derivation =
            Arc::new(Derivation::new(engine.clone(), signals.clone(), followers, session_timeout));
        derivation.settle_lost_events(options.accept_lost_events)?;
        // A lane that is left out is done by its threads.
        engine.each_lane(|lane| derivation.restart_where_due(lane))?;
        let alerting = Alerting::new(engine.clone(), signals.clone(), options.observer.clone());
        let alerting = Arc::new(alerting);
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
            threads.extend(derive::alerts::spawn_all(alerting).map_err(StoreError::internal)?);
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

/// The log.
impl Store {
    /// Stores events. Returns once they are on disk, or are known not to be stored.
    pub async fn append(&self, submission: Submission) -> Result<Outcome, AppendError> {
        // Hashing many events takes a while.
        let (pending, answer) = if submission.events.len() > PREPARED_AT_ONCE {
            let prepared = tokio::task::spawn_blocking(|| Pending::new(submission)).await;
            prepared.map_err(|_| AppendError::Internal)?
        } else {
            Pending::new(submission)
        };
        if let Err(error) = self.0.queues.of(pending.tenant).push(pending) {
            if let (AppendError::Overloaded, Some(observer)) = (error, &self.0.options.observer) {
                observer.overloaded();
            }
            return Err(error);
        }
        answer.await.unwrap_or(Err(AppendError::Internal))
    }

    /// Changes after each commit that stored events, of any tenant and any process. It only tells
    /// that there may be new events, and not which.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.signals.commits()
    }

    /// The record with that id. Blocks the thread.
    pub fn event_get(&self, tenant: TenantId, id: i64) -> Result<Option<Record>, StoreError> {
        self.0.engine.read(|| {
            Ok(find_in(&mut *self.0.engine.reader_of(tenant)?, tenant, &[id], None)?.pop())
        })
    }

    /// A page of the log. Blocks the thread.
    pub fn event_list(
        &self,
        tenant: TenantId,
        query: &EventQuery,
    ) -> Result<EventPage, StoreError> {
        self.event_page(tenant, query, None)
    }

    /// A page of the log up to an id: even if the filter lets few events through, the read ends at
    /// this id. For a reader that goes through the log in its order, span by span. Blocks the
    /// thread.
    pub fn event_list_to(
        &self,
        tenant: TenantId,
        query: &EventQuery,
        last: i64,
    ) -> Result<EventPage, StoreError> {
        self.event_page(tenant, query, Some(last))
    }

    fn event_page(
        &self,
        tenant: TenantId,
        query: &EventQuery,
        last: Option<i64>,
    ) -> Result<EventPage, StoreError> {
        let deadline = Deadline::after(self.0.engine.read_time_max());
        let engine = &self.0.engine;
        engine.read(|| {
            engine.snapshot(tenant, engine.plans_by_key(), |connection| {
                index::page(connection, tenant, query, last, deadline)
            })
        })
    }

    /// The first and last id of a log. Blocks the thread.
    pub fn log_bounds(&self, tenant: TenantId) -> Result<LogBounds, StoreError> {
        let engine = &self.0.engine;
        engine.read(|| {
            if engine.lanes().is_distributed() {
                // A node that hangs must not take the connections that tokens need.
                return heads::bounds(&mut *engine.reader_of(tenant)?, tenant);
            }
            heads::bounds(&mut *engine.watcher()?, tenant)
        })
    }

    /// The last id of the log; 0 for a new log. Blocks the thread.
    pub fn log_size(&self, tenant: TenantId) -> Result<i64, StoreError> {
        Ok(self.log_bounds(tenant)?.size)
    }

    /// Deletes the idempotency keys and event ids whose window has passed, at most `limit` in one
    /// transaction. Returns their number. Blocks the thread.
    pub fn idempotency_expire(&self, limit: u32) -> Result<usize, StoreError> {
        let windows = [
            (Kind::Request, self.0.options.idempotency_window),
            (Kind::Event, self.0.options.event_id_window),
        ];
        let mut count = 0;
        for (kind, window) in windows {
            let until = now().plus(-delta(window));
            count += idempotency::expire(&self.0.engine, kind, until, i64::from(limit))?;
        }
        Ok(count)
    }

    /// Creates the partitions of this moment and of the next `ahead` spans, if the database has
    /// partitions. The writer creates a missing partition itself; with partitions created ahead, no
    /// append waits for it. Blocks the thread.
    pub fn partitions_ensure(&self, ahead: u32) -> Result<(), StoreError> {
        let size = self.0.options.partition;
        self.0.engine.write(move |connection| {
            connection.in_txn(|connection| {
                let mut time = now();
                for _ in 0..=ahead {
                    match connection.ensure_partition_in_txn(time, size)? {
                        Some(partition) => time = partition.end,
                        None => break,
                    }
                }
                Ok(())
            })
        })
    }
}

/// Rejects.
impl Store {
    /// A page of a tenant's rejects, newest first. Blocks the thread.
    pub fn reject_list(
        &self,
        tenant: TenantId,
        filter: &RejectFilter,
        query: &PageQuery<RejectPlace>,
    ) -> Result<Page<Reject>, StoreError> {
        self.0.engine.read(|| rejects::page(&self.0.engine, tenant, filter, query))
    }

    /// The reject with that number. Blocks the thread.
    pub fn reject_get(&self, tenant: TenantId, id: i64) -> Result<Option<Reject>, StoreError> {
        self.0.engine.read(|| rejects::get(&self.0.engine, tenant, id))
    }

    /// Removes a reject. Fails with [`StoreError::NotFound`] if there is no such reject. Blocks the
    /// thread.
    pub fn reject_delete(&self, tenant: TenantId, id: i64) -> Result<(), StoreError> {
        rejects::delete(&self.0.engine, tenant, id)
    }

    /// Removes rejects that are older than [`REJECT_AGE_MAX`](crate::REJECT_AGE_MAX), at most
    /// `limit` of each tenant. Returns their number; 0 means that there are no more. Blocks the
    /// thread.
    pub fn rejects_expire(&self, limit: u32) -> Result<usize, StoreError> {
        rejects::expire(&self.0.engine, rejects::expiry(now()), i64::from(limit))
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
        Stats { queue_events, queue_bytes, readers, readers_idle, available }
    }

    /// The lag of derived data. Blocks the thread.
    pub fn lag(&self) -> Result<Lag, StoreError> {
        let (index_events, projections_events) = self.0.derivation.lag()?;
        Ok(Lag { projections_events, index_events })
    }
}

/// Derived data.
impl Store {
    /// A device. Blocks the thread.
    pub fn device_get(&self, tenant: TenantId, id: &str) -> Result<Option<Device>, StoreError> {
        self.0.engine.read(|| presence::device_get(&self.0.derivation, tenant, id))
    }

    /// A page of the devices, by id. Blocks the thread.
    pub fn device_list(
        &self,
        tenant: TenantId,
        filter: &DeviceFilter,
        query: &PageQuery<String>,
    ) -> Result<Page<Device>, StoreError> {
        self.0.engine.read(|| presence::device_list(&self.0.derivation, tenant, filter, query))
    }

    /// An application. Blocks the thread.
    pub fn application_get(
        &self,
        tenant: TenantId,
        id: &str,
    ) -> Result<Option<Application>, StoreError> {
        self.0.engine.read(|| presence::application_get(&self.0.derivation, tenant, id))
    }

    /// A page of the applications, by id. Blocks the thread.
    pub fn application_list(
        &self,
        tenant: TenantId,
        query: &PageQuery<String>,
    ) -> Result<Page<Application>, StoreError> {
        self.0.engine.read(|| presence::application_list(&self.0.derivation, tenant, query))
    }

    /// A page of the sessions, newest first. Blocks the thread.
    pub fn session_list(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        query: &PageQuery<SessionPlace>,
    ) -> Result<Page<Session>, StoreError> {
        self.0.engine.read(|| sessions::session_list(&self.0.derivation, tenant, filter, query))
    }

    /// Answers a question about events; the counts include the last event. Blocks the thread.
    pub fn statistics(
        &self,
        tenant: TenantId,
        query: &StatisticsQuery,
    ) -> Result<StatisticsAnswer, StatisticsError> {
        self.0.engine.read(|| statistics::statistics(&self.0.derivation, tenant, query))
    }

    /// Returns the texts that no event of a log has as the name of its device, application,
    /// connection type, status or network: a filter with such a text is likely mistyped. Blocks the
    /// thread.
    pub fn names_unknown(
        &self,
        tenant: TenantId,
        texts: &[String],
    ) -> Result<Vec<String>, StoreError> {
        self.0.engine.read(|| statistics::unknown_names(&self.0.derivation, tenant, texts))
    }

    /// Makes a follower of the log, such as `presence` or `index`, delete a tenant's data and build
    /// it again in the background. Meanwhile reads of this data help with the work, or fail and
    /// must be tried again later. Blocks the thread.
    pub fn rebuild(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Result<(), UnknownFollower>, StoreError> {
        self.0.derivation.rebuild(tenant, name)
    }

    /// Makes the followers of a tenant's log, the index excepted, take in up to that many more
    /// events each. The store's own thread does this as events come. Blocks the thread.
    pub fn projections_step(
        &self,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Progress, StoreError> {
        let events_max = i64::try_from(events_max).unwrap_or(i64::MAX);
        let reader = &mut *self.0.engine.reader_of(tenant)?;
        self.0.derivation.step(reader, tenant, Pace::Patient, events_max)
    }

    /// Events of a tenant's log that one of its followers has not taken in. Blocks the thread.
    pub fn behind(&self, tenant: TenantId, name: &str) -> Result<i64, StoreError> {
        self.0.derivation.behind(tenant, name)
    }

    /// Events of a tenant's log that the slowest of its followers, the index excepted, has not
    /// taken in. Blocks the thread.
    pub fn projections_behind(&self, tenant: TenantId) -> Result<i64, StoreError> {
        self.0.derivation.behind_slowest(tenant, Pace::Patient)
    }

    /// Events of a tenant's log that the index does not have yet; reads go through these one by
    /// one. Blocks the thread.
    pub fn index_lag(&self, tenant: TenantId) -> Result<i64, StoreError> {
        self.behind(tenant, index::INDEX)
    }
}

/// Tenants and tokens.
impl Store {
    /// Creates a tenant with an empty log. Fails with [`StoreError::NameTaken`] if the name is
    /// taken.
    pub fn tenant_create(&self, name: &str) -> Result<Tenant, StoreError> {
        tenants::create(&self.0.engine, name)
    }

    /// All tenants, oldest first.
    pub fn tenant_list(&self) -> Result<Vec<Tenant>, StoreError> {
        tenants::list(&self.0.engine)
    }

    /// The tenant of that name.
    pub fn tenant_find_by_name(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        tenants::find_by_name(&self.0.engine, name)
    }

    /// Creates a token, and returns its secret, which is not shown again. Fails with
    /// [`StoreError::NotFound`] if there is no such tenant, with [`StoreError::Full`] if the tenant
    /// already has the most valid tokens that it may have.
    pub fn token_create(&self, new: NewToken) -> Result<(Token, Secret), StoreError> {
        tokens::create(&self.0.engine, new)
    }

    /// Creates an admin token for the tenant `default` if there is no token at all; only once, even
    /// with several processes at the same time.
    pub fn first_token(&self) -> Result<Option<(Token, Secret)>, StoreError> {
        tokens::create_first(&self.0.engine)
    }

    /// The tokens of a tenant, or of all tenants; oldest first.
    pub fn token_list(&self, tenant: Option<TenantId>) -> Result<Vec<Token>, StoreError> {
        tokens::list(&self.0.engine, tenant)
    }

    /// A page of a tenant's tokens, newest first. Blocks the thread.
    pub fn token_page(
        &self,
        tenant: TenantId,
        query: &PageQuery<TokenPlace>,
    ) -> Result<Page<Token>, StoreError> {
        self.0.engine.read(|| tokens::page(&self.0.engine, tenant, query))
    }

    /// Revokes a token, of that tenant or of any. A token that is already revoked stays unchanged.
    /// Fails with [`StoreError::NotFound`] if there is no such token.
    pub fn token_revoke(&self, tenant: Option<TenantId>, id: Uuid) -> Result<Token, StoreError> {
        tokens::revoke(&self.0.engine, tenant, id)
    }

    /// The token with that secret, even if it is expired or revoked.
    pub fn token_find(&self, hash: &SecretHash) -> Result<Option<Token>, StoreError> {
        tokens::find(&self.0.engine, hash)
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
