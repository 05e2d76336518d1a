//! The writer's thread: takes groups, commits them, and handles a database that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Pending;
use super::group::{Attempt, Settings, Trace, store_in_txn, was_committed};
use super::queue::{Queue, Work};
use super::trial::{self, Culprit};
use crate::clock::{SteadyClock, delta};
use crate::engine::{AnyConnection, Engine, Fault, PartitionSpan, Role, Signals, Turn};
use crate::error::{AppendError, StoreError};
use crate::log::texts::Packer;
use crate::observer::{GroupCommitted, Observer};
use crate::options::StoreOptions;
use crate::tenant_id::TenantId;

/// Pauses before the second and later attempts. A client waits for their sum, a second and a half,
/// during a failover before it is told to try again.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

/// No further attempt starts after this time: an attempt that waits for a lock or a connection can
/// take seconds itself.
const RETRY_TIME_MAX: Duration = Duration::from_secs(5);

/// Attempts that may fail with an unclear error before the writer looks for the cause: a conflict
/// with another transaction is over by then.
const UNCLEAR_ATTEMPTS_MAX: u32 = 2;

/// Pause between attempts to reach a database that is not available.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Longest time for which a node that no longer syncs its commits goes unnoticed. To ask is one
/// round trip within an append.
const DURABILITY_ASKED_EVERY: Duration = Duration::from_secs(10);

/// If the log's time is ahead of the clock by less, it is not reported: servers' clocks differ.
const AHEAD_MIN: Duration = Duration::from_secs(1);

/// Pause between two reports about it.
const AHEAD_PAUSE: Duration = Duration::from_mins(1);

/// The writer; it owns the write connection.
pub(crate) struct Writer {
    engine: Arc<Engine>,
    clock: SteadyClock,
    /// The last report that the log's time is ahead of the clock.
    ahead_told: Option<Instant>,
    settings: Settings,
    connection: Option<AnyConnection>,
    /// When a transaction on the connection last found that commits wait for the disk.
    durable_at: Option<Instant>,
    partitions: Vec<PartitionSpan>,
    packer: Packer,
    queue: Arc<Queue>,
    /// A tenant of the writer's lane, whose head a trial writes.
    tenant: TenantId,
    signals: Signals,
    observer: Option<Arc<dyn Observer>>,
}

/// The reason why a group was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The database cannot be reached, or cannot write.
    Away,
    /// The events themselves are the cause.
    Lasting,
}

/// The reason why one attempt failed.
enum AttemptError {
    BeforeCommit(StoreError),
    /// It may have been committed or not: the trace tells, once the database can be asked.
    InCommit(StoreError, Option<Box<(Trace, Attempt)>>),
    Panic,
}

/// Starts the thread.
pub(crate) fn spawn(writer: Writer) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("conn-log-writer".to_owned()).spawn(move || writer.run())
}

/// Tells the queue when the thread ends, even by a panic.
struct EndOfWriter(Arc<Queue>);

impl Drop for EndOfWriter {
    fn drop(&mut self) {
        self.0.set_dead();
        // Nothing of them was stored, and nothing more will be by this process.
        fail_all(self.0.drain().0, AppendError::Unavailable);
    }
}

impl Writer {
    /// Connects at once, so that readers do not take the database's last connection.
    pub(crate) fn new(
        options: &StoreOptions,
        engine: Arc<Engine>,
        queue: Arc<Queue>,
        signals: Signals,
    ) -> Result<Self, StoreError> {
        let connection = engine.connect(Role::Appender)?;
        Ok(Writer {
            engine,
            clock: SteadyClock::new(),
            ahead_told: None,
            settings: Settings {
                idempotency_window: delta(options.idempotency_window),
                event_id_window: delta(options.event_id_window),
                partition: options.partition,
            },
            connection: Some(connection),
            durable_at: None,
            partitions: Vec::new(),
            packer: Packer::default(),
            queue,
            tenant: TenantId::DEFAULT,
            signals,
            observer: options.observer.clone(),
        })
    }

    fn run(mut self) {
        let _end = EndOfWriter(Arc::clone(&self.queue));
        while let Work::Some { group, turn } = self.queue.take() {
            if !group.is_empty() {
                self.settle(group);
            }
            if let Some(turn) = turn {
                self.give_turn(turn);
            }
        }
    }

    /// Stores a group and answers each submission in it.
    fn settle(&mut self, mut group: Vec<Pending>) {
        match self.store(&mut group) {
            Ok(()) => group.into_iter().for_each(Pending::answer),
            Err(Failure::Away) => self.turn_away(group),
            Err(Failure::Lasting) if group.len() == 1 => {
                fail_all(group, AppendError::Internal);
            }
            // Some event in it cannot be stored: store them one by one, so that only that one
            // fails.
            Err(Failure::Lasting) => {
                let mut rest = group.into_iter();
                while let Some(pending) = rest.next() {
                    let mut alone = vec![pending];
                    match self.store(&mut alone) {
                        Ok(()) => alone.into_iter().for_each(Pending::answer),
                        Err(Failure::Lasting) => {
                            fail_all(alone, AppendError::Internal);
                        }
                        Err(Failure::Away) => {
                            return self.turn_away(alone.into_iter().chain(rest));
                        }
                    }
                }
            }
        }
    }

    /// Stores a group in one transaction, with a bounded number of attempts.
    fn store(&mut self, group: &mut [Pending]) -> Result<(), Failure> {
        if let Some(first) = group.first() {
            self.tenant = first.tenant;
        }
        let mut in_doubt: Option<(Trace, Attempt)> = None;
        let mut pauses = RETRY_PAUSES.iter();
        let mut unclear = 0;
        let mut is_suspected = false;
        let begun = Instant::now();
        loop {
            let error = match self.resolve(&mut in_doubt) {
                Ok(true) => return Ok(()),
                Ok(false) => match self.attempt(group) {
                    Ok(()) => return Ok(()),
                    Err(AttemptError::Panic) => return Err(Failure::Lasting),
                    Err(AttemptError::BeforeCommit(error)) => error,
                    Err(AttemptError::InCommit(error, doubt)) => {
                        in_doubt = doubt.map(|doubt| *doubt);
                        error
                    }
                },
                Err(error) => error,
            };
            log::warn!("storing {} submissions failed: {error}", group.len());
            if in_doubt.is_none() {
                match Fault::of_store(&error) {
                    Fault::Passing | Fault::Outage => {}
                    Fault::Lasting => return Err(Failure::Lasting),
                    Fault::Unclear => {
                        unclear += 1;
                        if unclear >= UNCLEAR_ATTEMPTS_MAX {
                            match self.find_failure(group.iter().map(|one| one.bytes).sum()) {
                                // The cause may have passed before the trial: memory was short, or
                                // the server was stopping. One more attempt tells.
                                Some(Failure::Lasting) if !is_suspected => is_suspected = true,
                                Some(failure) => return Err(failure),
                                None => {}
                            }
                        }
                    }
                }
            }
            match pauses.next() {
                Some(pause) if begun.elapsed() < RETRY_TIME_MAX => {
                    // Closing does not end this pause early: accepted submissions must be answered.
                    std::thread::sleep(*pause);
                }
                _ => return Err(Failure::Away),
            }
        }
    }

    /// Finds the cause of attempts to store about that many bytes, which fail with an unclear error.
    /// `None` if the next attempt may work.
    fn find_failure(&mut self, bytes: usize) -> Option<Failure> {
        let tenant = self.tenant;
        let culprit = self.connected().map(|it| trial::culprit(it, tenant, bytes));
        // The trial may have left the connection in any state, so the next attempt opens a new one.
        self.connection = None;
        match culprit {
            Ok(Culprit::Disk) => Some(Failure::Away),
            // A retry does not repair damaged or missing tables.
            Ok(Culprit::Events | Culprit::Tables) => Some(Failure::Lasting),
            Ok(Culprit::Unknown) | Err(_) => None,
        }
    }

    /// Settles an attempt whose COMMIT was not answered. `true` if it was committed.
    fn resolve(&mut self, in_doubt: &mut Option<(Trace, Attempt)>) -> Result<bool, StoreError> {
        let Some((trace, _)) = in_doubt else {
            return Ok(false);
        };
        let trace = *trace;
        let result = self.connected().and_then(|connection| was_committed(connection, &trace));
        let result = result.and_then(|is_committed| self.engine.check_log().map(|()| is_committed));
        if result.is_err() {
            self.connection = None;
        }
        let is_committed = result?;
        if let Some((_, attempt)) = in_doubt.take()
            && is_committed
        {
            log::info!("a commit whose answer was lost had worked");
            self.wake_readers(attempt);
        }
        Ok(is_committed)
    }

    fn attempt(&mut self, group: &mut [Pending]) -> Result<(), AttemptError> {
        let settings = self.settings.clone();
        // What an attempt adds to them is true only if it is committed.
        let known = std::mem::take(&mut self.partitions);
        let packer = std::mem::take(&mut self.packer);
        self.connected().map_err(AttemptError::BeforeCommit)?;
        let asks_durable = self.durable_at.is_none_or(|at| at.elapsed() >= DURABILITY_ASKED_EVERY);
        let tenant = self.tenant;
        let Writer { engine, clock, connection: Some(connection), .. } = self else {
            return Err(AttemptError::BeforeCommit(StoreError::unavailable("no connection")));
        };
        let begun = Instant::now();
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            connection.begin()?;
            let attempt = store_in_txn(connection, group, &settings, clock, &known, packer)?;
            if asks_durable {
                // Last: now the session on the node is the one that commits.
                connection.check_durable_in_txn(tenant)?;
            }
            // Stores nothing in a file that no reader would find.
            engine.check_log()?;
            Ok::<_, StoreError>(attempt)
        }));
        let attempt = match attempt {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(error)) => {
                self.recover();
                return Err(AttemptError::BeforeCommit(error));
            }
            Err(_) => {
                self.recover();
                return Err(AttemptError::Panic);
            }
        };
        let commit_begun = Instant::now();
        // If the file is still at its path after the commit, it holds the commit.
        let committed = connection.commit().map_err(StoreError::unavailable);
        if let Err(error) = committed.and_then(|()| engine.check_log()) {
            // Whatever the error was, a new connection sees the result.
            self.connection = None;
            let doubt = attempt.trace.map(|trace| Box::new((trace, attempt)));
            return Err(AttemptError::InCommit(error, doubt));
        }
        if asks_durable {
            self.durable_at = Some(begun);
        }
        if let Some(observer) = &self.observer {
            observer.group_committed(GroupCommitted {
                submissions: group.len(),
                events_stored: attempt.stored,
                events_duplicate: attempt.duplicates,
                rejects_kept: attempt.rejects_kept,
                rejects_evicted: attempt.rejects_evicted,
                elapsed: begun.elapsed(),
                commit: commit_begun.elapsed(),
                ahead_of_clock: attempt.ahead,
            });
        }
        self.tell_ahead(attempt.ahead);
        self.wake_readers(attempt);
        Ok(())
    }

    fn wake_readers(&mut self, attempt: Attempt) {
        self.partitions = attempt.partitions;
        self.packer = attempt.packer;
        if attempt.stored > 0 {
            self.signals.wake_for(&attempt.tenants);
        }
    }

    /// Closes an open transaction; drops the connection if that fails.
    fn recover(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.rollback().is_err()
        {
            self.connection = None;
        }
    }

    fn connected(&mut self) -> Result<&mut AnyConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.durable_at = None;
                self.engine.connect(Role::Appender)?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Refuses submissions because the database is not available, until it is back.
    fn turn_away(&mut self, group: impl IntoIterator<Item = Pending>) {
        self.queue.set_away(true);
        self.tell_availability(false);
        log::error!("the database cannot be written to; submissions are refused until it can");
        fail_all(group, AppendError::Unavailable);
        self.connection = None;
        loop {
            let (waiting, turns) = self.queue.drain();
            fail_all(waiting, AppendError::Unavailable);
            drop(turns);
            let is_closed = self.queue.pause(RECONNECT_PAUSE);
            let answers = self.try_to_write();
            if answers.is_ok() {
                log::info!("the database can be reached again");
                break;
            }
            self.connection = None;
            if is_closed {
                break;
            }
        }
        self.queue.set_away(false);
        self.tell_availability(true);
    }

    fn try_to_write(&mut self) -> Result<(), StoreError> {
        let tenant = self.tenant;
        match trial::write(self.connected()?, tenant) {
            // The last submission was of a tenant that does not exist.
            Err(StoreError::NotFound(_)) => trial::write(self.connected()?, TenantId::DEFAULT)?,
            tried => tried?,
        }
        self.engine.check_log()
    }

    /// Reports that events get a time ahead of the clock: until the clock reaches it, all get the
    /// same time.
    fn tell_ahead(&mut self, ahead: Duration) {
        if ahead < AHEAD_MIN {
            if self.ahead_told.take().is_some() {
                log::info!("the clock has reached the time of the last event again");
            }
        } else if self.ahead_told.is_none_or(|told| told.elapsed() > AHEAD_PAUSE) {
            let seconds = ahead.as_secs();
            log::warn!(
                "the clock is {seconds} s behind the time of the last event: until it is there, all events get that \
                 time as created_at"
            );
            self.ahead_told = Some(Instant::now());
        }
    }

    fn tell_availability(&self, available: bool) {
        if let Some(observer) = &self.observer {
            observer.availability_changed(available);
        }
    }

    fn give_turn(&mut self, turn: Turn) {
        // Without a connection the turn is dropped, which tells its waiting caller.
        if self.engine.check_log().is_ok()
            && let Ok(connection) = self.connected()
            && catch_unwind(AssertUnwindSafe(|| turn(connection))).is_err()
        {
            log::error!("a turn at the write connection panicked");
            self.connection = None;
        }
    }
}

fn fail_all(group: impl IntoIterator<Item = Pending>, error: AppendError) {
    for pending in group {
        pending.fail(error);
    }
}
