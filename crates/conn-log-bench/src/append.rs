//! Times the store's append alone: submissions from several tasks, no HTTP.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conn_log_core::{Event, EventDraft, EventPolicy, Timestamp};
use conn_log_store::{
    DatabaseUrl, GroupCommitted, Observer, Store, StoreOptions, Submission, TenantId,
};

use crate::events::Shape;

#[derive(clap::Args)]
pub(crate) struct Append {
    /// Where to
    database_url: DatabaseUrl,
    #[command(flatten)]
    shape: Shape,
    /// Events in a submission
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// Submissions that wait at one time: four make a commit while four gather
    #[arg(long, default_value_t = 8)]
    tasks: usize,
    /// Make the events while they are appended, to fill a log beyond what memory holds. Otherwise
    /// they are made before the clock starts
    #[arg(long)]
    stream: bool,
}

/// Batches ready in advance while events are made: enough that the store never waits.
const BATCHES_AHEAD: usize = 64;

/// The time that the writer has spent.
#[derive(Default)]
struct Writer(Mutex<(Duration, Duration, usize)>);

impl Observer for Writer {
    fn group_committed(&self, group: GroupCommitted) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0 += group.elapsed;
        sum.1 += group.commit;
        sum.2 += 1;
    }
}

type Batches = Arc<Mutex<mpsc::Receiver<Vec<Event>>>>;

impl Append {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let writer = Arc::new(Writer::default());
        let options = StoreOptions {
            observer: Some(writer.clone()),
            ..StoreOptions::new(self.database_url.clone())
        };
        let store = Store::open(options)?;
        let count = self.shape.count;
        let (tasks, stream) = (self.tasks, self.stream);
        let (batches, maker) = self.make();
        if !stream {
            maker.join().map_err(|_| anyhow::anyhow!("an event was not taken"))?;
        }

        let begun = Instant::now();
        let threads: Vec<_> = (0..tasks)
            .map(|_| {
                let (store, batches) = (store.clone(), Arc::clone(&batches));
                thread::spawn(move || submit(&store, &batches))
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a submission panicked"))??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        store.close();

        let (busy, commit, commits) = *writer.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
        let (per_second, group) = (count as f64 / seconds, count as f64 / commits as f64);
        println!(
            "events_per_second={per_second:.0} seconds={seconds:.2} events_per_commit={group:.0} \
             writer_seconds={:.2} commit_seconds={:.2}",
            busy.as_secs_f64(),
            commit.as_secs_f64(),
        );
        Ok(())
    }

    /// Makes the events batch by batch, in the form in which the server holds them.
    fn make(self) -> (Batches, JoinHandle<()>) {
        let (sender, receiver) = if self.stream {
            let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
            (Sender::Bounded(sender), receiver)
        } else {
            let (sender, receiver) = mpsc::channel();
            (Sender::Unbounded(sender), receiver)
        };
        let maker = thread::spawn(move || {
            let policy = EventPolicy::default();
            let now = Timestamp::from(chrono::Utc::now());
            let mut events = self.shape.events().map(|json| {
                #[expect(clippy::expect_used, reason = "the generator keeps the rules")]
                EventDraft::from_json(&json)
                    .and_then(|draft| policy.check(draft, now))
                    .expect("a good event")
            });
            loop {
                let batch: Vec<Event> = events.by_ref().take(self.batch).collect();
                if batch.is_empty() || !sender.send(batch) {
                    return;
                }
            }
        });
        (Arc::new(Mutex::new(receiver)), maker)
    }
}

enum Sender {
    Bounded(mpsc::SyncSender<Vec<Event>>),
    Unbounded(mpsc::Sender<Vec<Event>>),
}

impl Sender {
    fn send(&self, batch: Vec<Event>) -> bool {
        match self {
            Sender::Bounded(sender) => sender.send(batch).is_ok(),
            Sender::Unbounded(sender) => sender.send(batch).is_ok(),
        }
    }
}

fn submit(store: &Store, batches: &Batches) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    loop {
        let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(events) = batch else {
            return Ok(());
        };
        let submission = Submission {
            tenant: TenantId::DEFAULT,
            events,
            atomic: false,
            claim: None,
            rejects: None,
        };
        runtime.block_on(store.append(submission)).context("a submission was refused")?;
    }
}
