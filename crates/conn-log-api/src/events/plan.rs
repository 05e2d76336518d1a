//! What a POST comes to: which of its events are to be stored, and how its answer is made once
//! the store has said what became of them.

use conn_log_core::{Edition, Event, Record};
use conn_log_store::Appended;
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::submitted::{Item, ParsedEvent, Submitted};
use crate::problem::{Problem, ProblemKind, raw};
use crate::request_id;

/// What the client asks for beside the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// All events of a batch, or none.
    pub(crate) atomic: bool,
    /// A batch's counts and rejected events only.
    pub(crate) minimal: bool,
}

/// The events to store, and the answer to come.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) events: Vec<Event>,
    pub(crate) render: Render,
    /// Events that the body holds, good or bad.
    pub(crate) received: usize,
}

/// Makes the answer.
#[derive(Debug)]
pub(crate) enum Render {
    /// One event is to be stored.
    Single(Edition),
    /// The body's only event is at fault.
    Rejected { status: u16, body: String },
    /// A list of results.
    Batch(Batch),
}

/// A batch's events in order: each is at fault, or is the store's next one.
#[derive(Debug)]
pub(crate) struct Batch {
    slots: Vec<Slot>,
    /// What is wrong with the batch as a whole, where none of its events can be stored: the faults that the
    /// slots' problems list.
    errors: Vec<Box<RawValue>>,
    minimal: bool,
    /// The id of the request, for a problem's `instance`.
    instance: String,
}

#[derive(Debug)]
struct Slot {
    line: Option<usize>,
    rejected: Option<Rejected>,
}

#[derive(Debug)]
struct Rejected {
    status: u16,
    problem: Box<RawValue>,
}

impl Rejected {
    fn new(problem: &Problem) -> Self {
        Rejected { status: problem.status().as_u16(), problem: problem.to_json(None) }
    }
}

impl Plan {
    pub(crate) fn of(submitted: Submitted, wishes: Wishes) -> Self {
        match submitted {
            Submitted::Single(Ok(ParsedEvent { edition, event })) => {
                Plan { events: vec![event], render: Render::Single(edition), received: 1 }
            }
            Submitted::Single(Err(faults)) => {
                let problem = Problem::faults(&faults);
                let status = problem.status().as_u16();
                Plan {
                    events: Vec::new(),
                    render: Render::Rejected { status, body: problem.body() },
                    received: 1,
                }
            }
            Submitted::Batch(items) => batch(items, wishes),
        }
    }
}

/// Bytes of a batch's problems that list each fault. Beyond it they say what and how many: an answer
/// is not many times as large as its request, nor what is remembered of it. Where nothing can be stored, the
/// same faults stand once more under the whole problem's `errors`.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

fn batch(items: Vec<Item>, wishes: Wishes) -> Plan {
    let none = wishes.atomic && items.iter().any(|item| item.parsed.is_err());
    let mut events = Vec::with_capacity(items.len());
    let mut slots = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    let mut room = PROBLEM_BYTES_MAX;
    for (index, Item { line, parsed }) in items.into_iter().enumerate() {
        let rejected = match parsed {
            Err(faults) => {
                let mut rejected = Rejected::new(&Problem::faults(&faults));
                if rejected.problem.get().len() > room {
                    rejected = Rejected::new(&Problem::faults(&faults).without_errors());
                } else if events.is_empty() {
                    errors.extend(Problem::errors(&format!("/{index}"), &faults));
                }
                room = room.saturating_sub(rejected.problem.get().len());
                Some(rejected)
            }
            Ok(_) if none => {
                let detail = "another event of this atomic batch was refused";
                Some(Rejected::new(&Problem::new(ProblemKind::NotAttempted, detail)))
            }
            Ok(parsed) => {
                events.push(parsed.event);
                None
            }
        };
        slots.push(Slot { line, rejected });
    }
    if !events.is_empty() {
        errors = Vec::new();
    }
    let received = slots.len();
    let batch = Batch { slots, errors, minimal: wishes.minimal, instance: request_id::current() };
    Plan { events, render: Render::Batch(batch), received }
}

impl Render {
    /// The status of each event that is not for the store.
    pub(crate) fn rejected(&self) -> impl Iterator<Item = u16> {
        let (single, slots) = match self {
            Render::Single(_) => (None, &[][..]),
            Render::Rejected { status, .. } => (Some(*status), &[][..]),
            Render::Batch(batch) => (None, &batch.slots[..]),
        };
        let in_batch = slots.iter().filter_map(|slot| Some(slot.rejected.as_ref()?.status));
        single.into_iter().chain(in_batch)
    }

    /// About the memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Render::Single(_) => 0,
            Render::Rejected { body, .. } => body.len(),
            Render::Batch(batch) => {
                let problems = batch.slots.iter().filter_map(|slot| slot.rejected.as_ref());
                size_of_val(&batch.slots[..])
                    + problems.map(|rejected| rejected.problem.get().len()).sum::<usize>()
                    + batch.errors.iter().map(|error| error.get().len()).sum::<usize>()
            }
        }
    }

    /// The answer, once the store has taken the plan's events.
    pub(crate) fn answer(&self, appended: &[Appended]) -> Answer {
        match (self, appended) {
            (Render::Rejected { status, body }, _) => Answer::new(*status, body.clone()),
            (Render::Batch(batch), appended) => batch.answer(appended),
            (Render::Single(edition), [Appended::Stored(record)]) => single(*edition, record, 201),
            (Render::Single(edition), [Appended::Duplicate(record)]) => {
                single(*edition, record, 200)
            }
            (Render::Single(_), _) => {
                let problem = Problem::internal("the store answered for another number of events");
                Answer::new(500, problem.body())
            }
        }
    }
}

/// The address of one record.
pub(crate) fn location(id: i64) -> String {
    format!("/api/v1/device_app_connection_log/{id}/")
}

fn single(edition: Edition, record: &Record, status: u16) -> Answer {
    let body = match edition {
        Edition::First => format!(
            r#"{{"id":"log_{}","status":"created","timestamp":"{}"}}"#,
            record.id, record.created_at
        ),
        Edition::Second => record.to_json(),
    };
    Answer { location: Some(location(record.id)), ..Answer::new(status, body) }
}

/// One event's result.
#[derive(Serialize)]
struct EventResult<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a RawValue>,
}

/// A batch's answer, and the members that its problem carries.
#[derive(Default, Serialize)]
struct BatchResults<'a> {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_id: Option<i64>,
    results: Vec<EventResult<'a>>,
}

impl Batch {
    fn answer(&self, appended: &[Appended]) -> Answer {
        let results = self.results(appended);
        let mut answer = match (results.accepted, results.duplicates, results.rejected) {
            (1.., 0, 0) => Answer::new(201, raw(&results).get().to_owned()),
            (0, _, 0) => Answer::new(200, raw(&results).get().to_owned()),
            (0, 0, _) => self.none_stored(&results),
            _ => Answer::new(207, raw(&results).get().to_owned()),
        };
        answer.minimal = self.minimal;
        answer
    }

    fn results(&self, appended: &[Appended]) -> BatchResults<'_> {
        let mut appended = appended.iter();
        let mut all = BatchResults::default();
        for (index, slot) in self.slots.iter().enumerate() {
            let (status, id, problem) = match &slot.rejected {
                Some(Rejected { status, problem }) => {
                    all.rejected += 1;
                    (*status, None, Some(&**problem))
                }
                None => match appended.next() {
                    Some(Appended::Stored(record)) => {
                        all.accepted += 1;
                        all.first_id = all.first_id.or(Some(record.id));
                        all.last_id = Some(record.id);
                        (201, Some(record.id), None)
                    }
                    Some(Appended::Duplicate(record)) => {
                        all.duplicates += 1;
                        (200, Some(record.id), None)
                    }
                    None => continue,
                },
            };
            if problem.is_some() || !self.minimal {
                all.results.push(EventResult { index, line: slot.line, status, id, problem });
            }
        }
        if !self.minimal {
            (all.first_id, all.last_id) = (None, None);
        }
        all
    }

    /// The problem that stands for a batch of which nothing was stored.
    fn none_stored(&self, results: &BatchResults<'_>) -> Answer {
        let rejected = self.slots.iter().filter_map(|slot| slot.rejected.as_ref());
        let of_shape = rejected.filter(|rejected| rejected.status != 424).all(|r| r.status == 400);
        let kind = if of_shape { ProblemKind::InvalidBody } else { ProblemKind::InvalidEvent };
        let problem = Problem::new(kind, "no event of the batch was stored")
            .with_member("errors", &self.errors)
            .with_member("accepted", &results.accepted)
            .with_member("duplicates", &results.duplicates)
            .with_member("rejected", &results.rejected)
            .with_member("results", &results.results);
        Answer::new(kind.status().as_u16(), problem.to_json(Some(&self.instance)).get().to_owned())
    }
}
