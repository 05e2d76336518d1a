//! The store: opens a database, owns the threads and pools, and gives turns to write.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use tokio::sync::watch;

use crate::checkpointer::{self, Checkpointer};
use crate::clock::now;
use crate::connection::{AnyConnection, Role};
use crate::derived::{Derived, strangers};
use crate::error::{AppendError, OpenError, StoreError};
use crate::idempotency::{self, Kind};
use crate::options::StoreOptions;
use crate::pool::{self, Connections, Pooled};
use crate::projections::{self, NameCache, Runner};
use crate::sequencer::{Outcome, Pending, Queue, Submission, Writer, spawn};
use crate::stats::{Lag, Stats};
use crate::url::DatabaseUrl;
use crate::{index, listener, migrations, partitions, tenants};

/// How long what was accepted may take to be stored at the end: more than all of the writer's attempts.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Events of a submission that are prepared where it is made: some tenths of a millisecond.
const PREPARED_AT_ONCE: usize = 128;

/// A connection log. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    options: StoreOptions,
    queue: Arc<Queue>,
    readers: Connections,
    watchers: Connections,
    beside: Beside,
    commits: Arc<watch::Sender<u64>>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    names: Arc<NameCache>,
    /// Held by the read that helps the projections along.
    help: Mutex<()>,
}

/// What writes beside the writer.
enum Beside {
    /// SQLite: all that is not derived takes turns on the writer's own connection.
    Embedded(Arc<Derived>),
    /// PostgreSQL: a pool.
    Server(Connections),
}

/// A store that does not keep itself open.
pub(crate) struct WeakStore(Weak<Inner>);

impl WeakStore {
    pub(crate) fn upgrade(&self) -> Option<Store> {
        self.0.upgrade().map(Store)
    }
}

impl Inner {
    /// Takes no more events, and ends the threads once they have done what they must.
    fn stop(&self) {
        self.queue.close();
        self.stop.store(true, Ordering::Relaxed);
        // Who waits for commits looks up.
        self.commits.send_modify(|count| *count += 1);
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            thread.thread().unpark();
        }
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

impl Store {
    /// Opens a log: makes the folder and file of an embedded one, applies migrations, makes the
    /// tenant `default`, and starts to take events in.
    pub fn open(options: StoreOptions) -> Result<Store, OpenError> {
        for name in Store::migrate(&options.url)? {
            log::info!("applied the migration {name}");
        }
        let beside = match &options.url {
            DatabaseUrl::Sqlite(_) => {
                let derived = Derived::new(options.url.clone());
                forget_strangers(&options, &derived)?;
                Beside::Embedded(Arc::new(derived))
            }
            DatabaseUrl::Postgres(_) => Beside::Server(pool::writers(&options)),
        };

        let queue = Arc::new(Queue::new(
            options.queue_events_max,
            options.queue_bytes_max,
            options.group_events_max,
        ));
        let commits = Arc::new(watch::Sender::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(&options, Arc::clone(&queue), Arc::clone(&commits));
        let thread = |result: std::io::Result<JoinHandle<()>>| {
            result.map_err(|error| StoreError::Internal(format!("cannot start a thread: {error}")))
        };
        let mut threads = vec![thread(spawn(writer))?];
        match &beside {
            Beside::Server(_) => {
                let (commits, stop) = (Arc::clone(&commits), Arc::clone(&stop));
                threads.push(thread(listener::spawn(options.url.clone(), commits, stop))?);
            }
            Beside::Embedded(_) => {
                let (queue, stop) = (Arc::clone(&queue), Arc::clone(&stop));
                let checkpointer = Checkpointer { url: options.url.clone(), queue, stop };
                threads.push(thread(checkpointer::spawn(checkpointer))?);
            }
        }
        let (indexing, projections) = (options.indexing, options.projections);
        let smallest = i64::from(options.index_run_events.max(1));
        let store = Store(Arc::new(Inner {
            readers: pool::readers(&options),
            watchers: pool::watchers(&options),
            beside,
            options,
            queue,
            commits,
            stop,
            threads: Mutex::new(threads),
            names: Arc::default(),
            help: Mutex::default(),
        }));
        if indexing {
            let worker = index::Worker::new(
                WeakStore(Arc::downgrade(&store.0)),
                store.commits(),
                Arc::clone(&store.0.stop),
                index::Sizes { smallest },
            );
            let worker = thread(index::spawn(worker))?;
            store.threads().push(worker);
        }
        if projections {
            let runner = Runner {
                store: WeakStore(Arc::downgrade(&store.0)),
                commits: store.commits(),
                stop: Arc::clone(&store.0.stop),
            };
            let runner = thread(projections::spawn(runner))?;
            store.threads().push(runner);
        }
        Ok(store)
    }

    /// Applies migrations and nothing else. Gives the names of those applied.
    pub fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        let mut connection = open_for_writing(url)?;
        let mut applied = migrations::run(&mut connection)?;
        tenants::ensure_default(&mut connection)?;
        if let Some(derived) = url.derived() {
            let beside = migrations::run_derived(&mut open_for_writing(&derived)?)?;
            applied.extend(beside.iter().map(|name| format!("{name} (of what is derived)")));
        }
        Ok(applied)
    }

    /// Stores events. Returns once they are on disk, or are known not to be.
    pub async fn append(&self, submission: Submission) -> Result<Outcome, AppendError> {
        // Making the leaves of many takes a while.
        let (pending, answer) = if submission.events.len() > PREPARED_AT_ONCE {
            let prepared = tokio::task::spawn_blocking(|| Pending::new(submission)).await;
            prepared.map_err(|_| AppendError::Internal)?
        } else {
            Pending::new(submission)
        };
        if let Err(error) = self.0.queue.push(pending) {
            if let (AppendError::Overloaded, Some(observer)) = (error, &self.0.options.observer) {
                observer.overloaded();
            }
            return Err(error);
        }
        answer.await.unwrap_or(Err(AppendError::Internal))
    }

    /// Changes after each commit that stored events, of any tenant and any process. Tells that
    /// there may be something to read, and not what.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.commits.subscribe()
    }

    /// Whether the store can be reached and written to, and is as far as this program. Blocks the
    /// thread.
    pub fn ready(&self) -> Result<(), StoreError> {
        if !self.0.queue.is_available() {
            return Err(StoreError::Unavailable("the writer cannot write".to_owned()));
        }
        migrations::check(&mut *self.watcher()?)
    }

    /// How things stand.
    pub fn stats(&self) -> Stats {
        let (queue_events, queue_bytes) = self.0.queue.depth();
        let readers = self.0.readers.state();
        Stats {
            queue_events,
            queue_bytes,
            readers: readers.connections,
            readers_idle: readers.idle_connections,
            available: self.0.queue.is_available(),
        }
    }

    /// How far what is derived is behind. Blocks the thread.
    pub fn lag(&self) -> Result<Lag, StoreError> {
        let connection = &mut *self.watcher()?;
        let behind = projections::behind_by_tenant(connection)?;
        let index_events = index::behind(connection)?;
        Ok(Lag { projections_events: behind.values().sum(), index_events })
    }

    /// Forgets idempotency keys and event ids whose window has passed, at most `limit` of each.
    /// Gives how many; fewer than `limit` means that there are no more. Blocks the thread.
    pub fn idempotency_expire(&self, limit: u32) -> Result<usize, StoreError> {
        let windows = [
            (Kind::Request, self.0.options.idempotency_window),
            (Kind::Event, self.0.options.event_id_window),
        ];
        let mut count = 0;
        for (kind, window) in windows {
            let window = chrono::TimeDelta::from_std(window).unwrap_or(chrono::TimeDelta::MAX);
            let until = now().plus(-window);
            count += self.write(move |connection| {
                Ok(idempotency::expire(connection, kind, until, i64::from(limit))?)
            })?;
        }
        Ok(count)
    }

    /// Makes the partitions of this moment and of the next `ahead` spans, for PostgreSQL. The
    /// writer makes one that is missing itself; made ahead, no append waits for it. Blocks the
    /// thread.
    pub fn partitions_ensure(&self, ahead: u32) -> Result<(), StoreError> {
        let size = self.0.options.partition;
        self.write(move |connection| {
            let AnyConnection::Postgres(_) = connection else {
                return Ok(());
            };
            connection.in_txn(|connection| {
                let AnyConnection::Postgres(postgres) = connection else {
                    return Ok(());
                };
                let mut time = now();
                for _ in 0..=ahead {
                    time = partitions::ensure_in_txn(postgres, time, size)?.end;
                }
                Ok(())
            })
        })
    }

    /// Takes nothing in any more, stores what was taken in, and returns when that is done, or
    /// after ten seconds. Tells whether it is done: a database that hangs can keep it from that. Who
    /// was not answered by then was not told that anything is stored. Blocks the thread.
    pub fn close(self) -> bool {
        self.0.stop();
        let threads = std::mem::take(&mut *self.threads());
        let (sender, ended) = mpsc::channel();
        // It is left behind where a thread does not end.
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
            log::error!("the database hangs: what it was about to store may be stored or not");
        }
        is_done
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of names that were used lately.
    pub(crate) fn names(&self) -> Arc<NameCache> {
        Arc::clone(&self.0.names)
    }

    /// The turn to help the projections along.
    pub(crate) fn help_alone(&self) -> std::sync::MutexGuard<'_, ()> {
        self.0.help.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that reads.
    pub(crate) fn reader(&self) -> Result<Pooled, StoreError> {
        Ok(self.0.readers.get()?)
    }

    /// A connection of the caller's own.
    pub(crate) fn connect(&self, role: Role) -> Result<AnyConnection, StoreError> {
        AnyConnection::open(&self.0.options.url, role)
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// A connection for short reads that others wait for.
    pub(crate) fn watcher(&self) -> Result<Pooled, StoreError> {
        Ok(self.0.watchers.get()?)
    }

    /// A turn to write something other than events. On SQLite it is the writer's own connection,
    /// between two groups, so that no two ever contend for the lock; on PostgreSQL one of a pool.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.0.beside {
            Beside::Server(writers) => work(&mut *writers.get()?),
            Beside::Embedded(_) => self.0.queue.turn(work),
        }
    }

    /// A transaction that writes what is derived from the log, and reads the log. On SQLite no append
    /// waits for it.
    pub(crate) fn derive<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &self.0.beside {
            Beside::Server(writers) => writers.get()?.in_txn(work),
            Beside::Embedded(derived) => derived.in_txn(work),
        }
    }

    /// Whether the log is an embedded file.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.0.beside, Beside::Embedded(_))
    }

    pub(crate) fn read_time_max(&self) -> Duration {
        self.0.options.read_time_max
    }

    /// Has everyone who waits for a commit look whether there is something to do.
    pub(crate) fn wake(&self) {
        self.0.commits.send_modify(|count| *count += 1);
    }
}

/// Has all that was derived from another log derived anew, from this one. Takes no lock where there is
/// nothing of the kind.
fn forget_strangers(options: &StoreOptions, derived: &Derived) -> Result<(), StoreError> {
    let role = Role::Reader { read_time_max: options.read_time_max };
    let mut reader = AnyConnection::open(&options.url, role)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    if strangers(&mut reader)?.is_empty() {
        return Ok(());
    }
    derived.in_txn(|connection| {
        for (tenant, name) in strangers(connection)? {
            log::warn!("{name} of tenant {} is of another log, and is made anew", tenant.0);
            if name == index::INDEX {
                index::forget_in_txn(connection, tenant)?;
            } else {
                projections::forget_in_txn(connection, tenant, &name)?;
            }
        }
        Ok(())
    })
}

fn open_for_writing(url: &DatabaseUrl) -> Result<AnyConnection, OpenError> {
    if let Some(folder) = url.file().and_then(|path| path.parent())
        && !folder.as_os_str().is_empty()
    {
        // Who made the log reads it, and no one else, whatever the umask.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| OpenError::Folder { folder: folder.display().to_string(), source })?;
    }
    if let Some(file) = url.file() {
        // SQLite gives the files beside it the same mode. What is wrong with the path it tells itself.
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file).ok();
    }
    AnyConnection::open(url, Role::Writer).map_err(|error: ConnectionError| OpenError::Connect {
        url: url.to_string(),
        reason: error.to_string(),
    })
}
