//! The sequencer: the only code that adds events to the log.
//!
//! Submissions wait in a bounded [`queue`]. One thread, the [`writer`], owns the connection that
//! writes. It takes all waiting submissions, up to a group's size, and stores them in one
//! transaction ([`group`]): it locks the head row of each tenant, in ascending order; finds repeats
//! by idempotency key and `event_id` ([`event_ids`]); gives the next ids; inserts rows, leaf hashes
//! and keys; and moves the heads on. After COMMIT it answers each caller in the group and wakes the
//! readers. There is no timer: while one group is written to disk the next group gathers, so that a
//! single event never waits for more events.
//!
//! **Invariants**
//! - An id is given only while its tenant's head row is locked: ids have no gap and follow commit
//!   order, with any number of processes on one PostgreSQL.
//! - A submission is answered "stored" only after COMMIT has returned, or was found to have worked.
//! - Each submission is answered: one that is dropped, for any reason, answers `Internal`.
//! - A submission is never split: it is stored as a whole, with consecutive ids, or not at all.
//! - The sequencer reads from a log only the data that finding repeats needs, and knows no HTTP.

mod event_ids;
mod group;
mod lanes;
mod queue;
mod trial;
mod writer;

use std::fmt;

use conn_log_core::{Event, LeafInput, Record, Timestamp};
use tokio::sync::oneshot;

use crate::error::AppendError;
use crate::log::rejects::NewReject;
use crate::tenant_id::TenantId;

pub(crate) use lanes::Queues;
pub(crate) use queue::Queue;
pub(crate) use writer::{Writer, spawn};

/// Events of one tenant that are stored together.
#[derive(Debug)]
pub struct Submission {
    /// The tenant of the log that the events go into.
    pub tenant: TenantId,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Whether one event in conflict keeps all events of the submission out of the log.
    pub atomic: bool,
    /// The request's idempotency key, if it has one.
    pub claim: Option<Claim>,
    /// The refused events of the request, if they are to be kept.
    pub rejects: Option<Rejects>,
}

/// The refused events of a request: those that its caller refused, and those that the store may
/// still refuse.
pub struct Rejects {
    /// Makes the rejects from the outcomes of the request's events. They are stored in the
    /// transaction that stores the events. The store calls this on the writer's thread and inside
    /// the transaction: it must be quick, and may be called more than once.
    pub make: MakeRejects,
    /// The number of events that the caller refused: they are not among the submission's events.
    pub refused: usize,
    /// About the bytes of memory that `make` holds until it is dropped.
    pub bytes: usize,
}

/// Makes a request's rejects from the outcomes of its events.
pub type MakeRejects = Box<dyn Fn(&[Appended]) -> Vec<NewReject> + Send>;

impl fmt::Debug for Rejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejects").field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// A request's idempotency key, and the way to remember the request's answer.
pub struct Claim {
    /// The key as the client sent it.
    pub key: String,
    /// A hash of the request: the same key with another hash is refused.
    pub fingerprint: [u8; 32],
    /// Makes the answer for a repeat, as bytes that the store does not read. The answer is stored
    /// in the transaction that stores the events. The store calls this on the writer's thread and
    /// inside the transaction: it must be quick, and may be called more than once.
    pub answer: Answer,
    /// About the bytes of memory that `answer` holds until it is dropped.
    pub answer_bytes: usize,
}

/// Makes a request's answer from the outcomes of its events.
pub type Answer = Box<dyn Fn(&[Appended]) -> Vec<u8> + Send>;

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The outcome of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The outcome of each event, in order.
    Appended(Vec<Appended>),
    /// The same key with the same fingerprint was used before: its answer. Nothing was stored.
    Replayed(Vec<u8>),
    /// The same key was used before with another fingerprint. Nothing was stored.
    KeyReused,
}

/// The outcome of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// The event is in the log, as this record.
    Stored(Record),
    /// Its `event_id` belongs to this record, with the same content. It was not stored again.
    Duplicate(Record),
    /// Its `event_id` belongs to an event with other content: the event with this id, or, without
    /// an id, an earlier event of the same atomic submission. It was not stored.
    Conflict(Option<i64>),
    /// Another event of the same atomic submission is in conflict. It was not stored.
    NotAttempted,
}

impl Appended {
    /// The record in the log, new or not. `None` for an event that is not in the log.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Appended::Stored(record) | Appended::Duplicate(record) => Some(record),
            Appended::Conflict(_) | Appended::NotAttempted => None,
        }
    }
}

/// A submission in the queue or the writer, with the channel for its answer.
pub(crate) struct Pending {
    pub(crate) tenant: TenantId,
    pub(crate) events: Vec<Appended>,
    /// The input of each event's leaf hash, so that the writer need not make it.
    leaves: Vec<LeafInput>,
    /// See [`Submission::atomic`].
    atomic: bool,
    /// Events that an attempt does not store, by index: after a failed attempt the next one starts
    /// with them.
    set_aside: Vec<(usize, Record)>,
    claim: Option<Claim>,
    rejects: Option<Rejects>,
    decision: Decision,
    reply: Reply,
    /// An estimate of the memory that the submission takes.
    bytes: usize,
}

/// The outcomes of an attempt for a submission; only valid if the attempt is committed.
#[derive(Debug, Default)]
enum Decision {
    #[default]
    Undecided,
    Append {
        /// For the claim, if there is one.
        answer: Option<Vec<u8>>,
    },
    Replay(Vec<u8>),
    KeyReused,
}

/// The channel for the answer; sends `Internal` if it is dropped without an answer.
struct Reply(Option<oneshot::Sender<Result<Outcome, AppendError>>>);

impl Reply {
    fn send(&mut self, result: Result<Outcome, AppendError>) {
        if let Some(sender) = self.0.take() {
            // A caller that no longer waits needs no answer.
            sender.send(result).ok();
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send(Err(AppendError::Internal));
    }
}

impl Pending {
    pub(crate) fn new(
        submission: Submission,
    ) -> (Self, oneshot::Receiver<Result<Outcome, AppendError>>) {
        let (sender, receiver) = oneshot::channel();
        let claim_bytes = submission.claim.as_ref().map_or(0, |claim| claim.answer_bytes);
        let reject_bytes = submission.rejects.as_ref().map_or(0, |rejects| rejects.bytes);
        let leaves: Vec<LeafInput> = submission.events.iter().map(LeafInput::of).collect();
        let bytes = submission.events.iter().map(bytes_of).sum::<usize>()
            + leaves.iter().map(LeafInput::bytes).sum::<usize>()
            + claim_bytes
            + reject_bytes;
        let events = submission
            .events
            .into_iter()
            .map(|event| Appended::Stored(Record { id: 0, created_at: Timestamp::EPOCH, event }))
            .collect();
        let pending = Pending {
            tenant: submission.tenant,
            events,
            leaves,
            atomic: submission.atomic,
            set_aside: Vec::new(),
            claim: submission.claim,
            rejects: submission.rejects,
            decision: Decision::Undecided,
            reply: Reply(Some(sender)),
            bytes,
        };
        (pending, receiver)
    }

    /// Its weight in the queue: the number of rows to insert for its events, stored or refused, or
    /// one if it has only a key to remember.
    fn weight(&self) -> usize {
        let refused = self.rejects.as_ref().map_or(0, |rejects| rejects.refused);
        (self.events.len() + refused).max(1)
    }

    /// Events that an attempt found in the log.
    fn duplicates(&self) -> usize {
        let outcomes = self.set_aside.iter().map(|(index, _)| &self.events[*index]);
        outcomes.filter(|outcome| matches!(outcome, Appended::Duplicate(_))).count()
    }

    /// Resets the outcomes of an attempt.
    fn reset(&mut self) {
        self.decision = Decision::Undecided;
        for (index, record) in self.set_aside.drain(..) {
            self.events[index] = Appended::Stored(record);
        }
    }

    /// Answers the submission after its commit.
    fn answer(mut self) {
        let outcome = match std::mem::take(&mut self.decision) {
            Decision::Append { .. } => Ok(Outcome::Appended(std::mem::take(&mut self.events))),
            Decision::Replay(answer) => Ok(Outcome::Replayed(answer)),
            Decision::KeyReused => Ok(Outcome::KeyReused),
            Decision::Undecided => Err(AppendError::Internal),
        };
        self.reply.send(outcome);
    }

    fn fail(mut self, error: AppendError) {
        self.reply.send(Err(error));
    }
}

/// An estimate of the memory that a waiting event takes.
fn bytes_of(event: &Event) -> usize {
    /// The event itself and its allocations' overhead.
    const EVENT_BYTES: usize = 512;
    let parts = event.fields();
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    EVENT_BYTES
        + parts.device_id.len()
        + parts.application_id.len()
        + parts.metadata.len()
        + optional(&parts.user_agent)
        + optional(&parts.session_id)
        + optional(&parts.event_id)
}
