//! What is decided about a request's events before the append: which are for the store.

use conn_log_core::{Edition, Event};
use conn_log_store::Appended;
use serde_json::value::RawValue;

use super::outcome::EventOutcome;
use super::rejection::{Rejection, Rejections};
use super::request::Preferences;
use super::submitted::{Item, ParsedEvent, Submitted};
use crate::http::request_id;

/// Bytes of one event's result without its problem: `{"index":99999,"line":999999,"status":201,"id":…},`.
const RESULT_BYTES_MAX: usize = 80;

/// Bytes of the problem of an event that was not attempted, or whose `event_id` is in conflict.
const REFUSAL_BYTES_MAX: usize = 200;

/// What is to happen to one event.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is the store's next one.
    Store,
    /// It is at fault.
    Reject(Rejection),
    /// Another event of its atomic batch is.
    NotAttempted,
}

/// One event's place in the request.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) line: Option<usize>,
    pub(crate) verdict: Verdict,
}

/// What the answer is about.
#[derive(Debug)]
pub(crate) enum Form {
    /// One event. The edition is unknown where it is at fault.
    Single(Option<Edition>),
    /// A list of results.
    Batch(Batch),
}

/// What a batch's answer says beside the events' own results.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Every fault, where none of the events is for the store.
    pub(crate) errors: Vec<Box<RawValue>>,
    /// Events for the store that it may refuse: each with an `event_id`, and all of an atomic batch that has one.
    pub(crate) refusable: usize,
    pub(crate) minimal: bool,
}

/// The decisions about a request's events, in their order.
#[derive(Debug)]
pub(crate) struct Decisions {
    /// The id of the request, for a problem's `instance`: the writer's thread, which makes answers, knows it from here.
    pub(crate) instance: String,
    pub(crate) form: Form,
    pub(crate) slots: Vec<Slot>,
}

/// Decides about a request's events; gives those for the store, in order.
pub(crate) fn decide(submitted: Submitted, preferences: Preferences) -> (Decisions, Vec<Event>) {
    match submitted {
        Submitted::Single(Ok(ParsedEvent { edition, event })) => {
            (Decisions::single(Some(edition), Verdict::Store), vec![event])
        }
        Submitted::Single(Err(faults)) => {
            (Decisions::single(None, Verdict::Reject(Rejection::alone(&faults))), Vec::new())
        }
        Submitted::Batch(items) => batch(items, preferences),
    }
}

fn batch(items: Vec<Item>, preferences: Preferences) -> (Decisions, Vec<Event>) {
    let none = preferences.atomic && items.iter().any(|item| item.parsed.is_err());
    let mut events = Vec::with_capacity(items.len());
    let mut slots = Vec::with_capacity(items.len());
    let mut rejections = Rejections::new();
    for (index, Item { line, parsed }) in items.into_iter().enumerate() {
        let verdict = match parsed {
            Err(faults) => Verdict::Reject(rejections.reject(index, &faults)),
            Ok(_) if none => Verdict::NotAttempted,
            Ok(parsed) => {
                rejections.one_is_good();
                events.push(parsed.event);
                Verdict::Store
            }
        };
        slots.push(Slot { line, verdict });
    }
    let batch = Batch {
        errors: rejections.into_errors(),
        refusable: refusable(&events, preferences),
        minimal: preferences.minimal,
    };
    (Decisions::new(Form::Batch(batch), slots), events)
}

fn refusable(events: &[Event], preferences: Preferences) -> usize {
    let named = events.iter().filter(|event| event.fields().event_id.is_some()).count();
    if preferences.atomic && named > 0 { events.len() } else { named }
}

impl Decisions {
    fn single(edition: Option<Edition>, verdict: Verdict) -> Self {
        Decisions::new(Form::Single(edition), vec![Slot { line: None, verdict }])
    }

    fn new(form: Form, slots: Vec<Slot>) -> Self {
        Decisions { instance: request_id::current(), form, slots }
    }

    /// What became of each event, by its index: of those for the store as far as it has answered.
    pub(crate) fn outcomes<'a>(
        &'a self,
        appended: &'a [Appended],
    ) -> impl Iterator<Item = (usize, EventOutcome<'a>)> {
        let mut appended = appended.iter();
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let outcome = match &slot.verdict {
                Verdict::Store => appended.next()?.into(),
                Verdict::Reject(rejection) => EventOutcome::Rejected(rejection),
                Verdict::NotAttempted => EventOutcome::NotAttempted,
            };
            Some((index, outcome))
        })
    }

    /// The size of the answer at most. That to a single event is counted with its connection.
    pub(crate) fn answer_bytes_max(&self) -> usize {
        let Form::Batch(batch) = &self.form else {
            return 0;
        };
        let not_attempted =
            self.slots.iter().filter(|slot| matches!(slot.verdict, Verdict::NotAttempted));
        // The problems stand in it twice where nothing is stored.
        self.slots.len() * RESULT_BYTES_MAX
            + (not_attempted.count() + batch.refusable) * REFUSAL_BYTES_MAX
            + 2 * self.bytes()
    }

    /// About the memory that they take.
    pub(crate) fn bytes(&self) -> usize {
        let problems = self.slots.iter().map(|slot| match &slot.verdict {
            Verdict::Reject(rejection) => rejection.problem.get().len(),
            Verdict::Store | Verdict::NotAttempted => 0,
        });
        let errors = match &self.form {
            Form::Single(_) => 0,
            Form::Batch(batch) => batch.errors.iter().map(|error| error.get().len()).sum(),
        };
        size_of_val(&self.slots[..]) + problems.sum::<usize>() + errors
    }
}
