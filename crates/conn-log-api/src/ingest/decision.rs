//! The decision for each event of a request, made before the append: store it or not.

use conn_log_core::{Edition, Event};
use conn_log_store::Appended;
use serde_json::value::RawValue;

use super::outcome::EventOutcome;
use super::rejection::{Rejection, Rejections};
use super::request::Preferences;
use super::sent::Sent;
use super::submitted::{Item, ParsedEvent, Submitted};
use crate::http::request_id;

/// Bytes of one event's result without its problem:
/// `{"index":99999,"line":999999,"status":201,"id":…},`.
const RESULT_BYTES_MAX: usize = 80;

/// Bytes of the problem of an event that was not attempted, or whose `event_id` is in conflict.
const REFUSAL_BYTES_MAX: usize = 200;

/// The decision for one event.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The event goes to the store.
    Store,
    /// The event has faults.
    Reject(Rejection),
    /// Another event of its atomic batch has faults.
    NotAttempted,
}

/// One event's place in the request, and the decision for it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) line: Option<usize>,
    pub(crate) verdict: Verdict,
    /// The event as sent, if it is kept when it is refused.
    pub(crate) sent: Option<Sent>,
}

/// Whether the answer covers a single event or a batch.
#[derive(Debug)]
pub(crate) enum Form {
    /// One event. The edition is unknown if the event has faults.
    Single(Option<Edition>),
    /// A batch, answered by a list of results.
    Batch(Batch),
}

/// The parts of a batch's answer other than the events' own results.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Every fault, if no event goes to the store; else empty.
    pub(crate) errors: Vec<Box<RawValue>>,
    /// Number of events that go to the store and that the store may still refuse: each event with
    /// an `event_id`, and every event of an atomic batch that has one.
    pub(crate) refusable: usize,
    pub(crate) minimal: bool,
}

/// The decisions for a request's events, in request order.
#[derive(Debug)]
pub(crate) struct Decisions {
    /// The request id, for a problem's `instance`. The writer's thread makes answers and reads the
    /// id from here.
    pub(crate) instance: String,
    /// Whether refused events are kept, and answered with 200.
    pub(crate) keep: bool,
    /// The handling of optional fields that the request or its token asked for.
    pub(crate) handling: Option<&'static str>,
    pub(crate) form: Form,
    pub(crate) slots: Vec<Slot>,
}

/// Decides on a request's events. Returns the decisions and the events to store, in order.
pub(crate) fn decide(submitted: Submitted, preferences: Preferences) -> (Decisions, Vec<Event>) {
    let single = |edition, verdict, sent| {
        let slots = vec![Slot { line: None, verdict, sent }];
        Decisions::new(Form::Single(edition), slots, preferences)
    };
    match submitted {
        Submitted::Single(Item { parsed: Ok(parsed), sent, .. }) => {
            let ParsedEvent { edition, event } = parsed;
            (single(Some(edition), Verdict::Store, sent), vec![event])
        }
        Submitted::Single(Item { parsed: Err(faults), sent, .. }) => {
            (single(None, Verdict::Reject(Rejection::alone(&faults)), sent), Vec::new())
        }
        Submitted::Unreadable(fault, sent) => {
            let verdict = Verdict::Reject(Rejection::of_body(fault));
            (single(None, verdict, Some(sent)), Vec::new())
        }
        Submitted::Batch(items) => batch(items, preferences),
    }
}

fn batch(items: Vec<Item>, preferences: Preferences) -> (Decisions, Vec<Event>) {
    let none = preferences.atomic && items.iter().any(|item| item.parsed.is_err());
    let mut events = Vec::with_capacity(items.len());
    let mut slots = Vec::with_capacity(items.len());
    let mut rejections = Rejections::new(preferences.keep);
    for (index, Item { line, parsed, sent }) in items.into_iter().enumerate() {
        let verdict = match parsed {
            Err(faults) => Verdict::Reject(rejections.reject(index, &faults)),
            Ok(_) if none => Verdict::NotAttempted,
            Ok(parsed) => {
                rejections.one_is_good();
                events.push(parsed.event);
                Verdict::Store
            }
        };
        slots.push(Slot { line, verdict, sent });
    }
    let batch = Batch {
        errors: rejections.into_errors(),
        refusable: refusable(&events, preferences),
        minimal: preferences.minimal,
    };
    (Decisions::new(Form::Batch(batch), slots, preferences), events)
}

fn refusable(events: &[Event], preferences: Preferences) -> usize {
    let named = events.iter().filter(|event| event.fields().event_id.is_some()).count();
    if preferences.atomic && named > 0 { events.len() } else { named }
}

impl Decisions {
    fn new(form: Form, slots: Vec<Slot>, preferences: Preferences) -> Self {
        let Preferences { keep, handling, .. } = preferences;
        Decisions { instance: request_id::current(), keep, handling, form, slots }
    }

    /// The outcome of each decided event, with its index. An event that goes to the store has an
    /// outcome only if `appended` holds one for it.
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

    /// The maximum size of the answer in bytes. It is 0 for a single event: that answer is counted
    /// with its connection.
    pub(crate) fn answer_bytes_max(&self) -> usize {
        let Form::Batch(batch) = &self.form else {
            return 0;
        };
        let not_attempted =
            self.slots.iter().filter(|slot| matches!(slot.verdict, Verdict::NotAttempted));
        // If nothing is stored, the answer holds each problem twice.
        self.slots.len() * RESULT_BYTES_MAX
            + (not_attempted.count() + batch.refusable) * REFUSAL_BYTES_MAX
            + 2 * self.bytes()
    }

    /// The approximate memory that the decisions take, in bytes.
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
