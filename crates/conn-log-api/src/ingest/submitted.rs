//! The events parsed from a body, each checked against the rules on its own.

use conn_log_core::{Edition, Event, Faults};

use super::sent::Sent;
use crate::http::body::NoRoom;

/// Bytes of an event in memory, without its texts.
const EVENT_BYTES: usize = 512;

/// Bytes of a fault, with its pointer and its detail. 10,000 events with 32 faults each fit beside
/// a body of 64 MiB.
const FAULT_BYTES: usize = 160;

/// A parsed event, and the edition that its client uses.
#[derive(Debug)]
pub(crate) struct ParsedEvent {
    /// The edition, which decides the form of the answer.
    pub(crate) edition: Edition,
    pub(crate) event: Event,
}

/// One event of a body, or its faults.
#[derive(Debug)]
pub(crate) struct Item {
    /// The event's line number in a body of lines, counted from 1.
    pub(crate) line: Option<usize>,
    pub(crate) parsed: Result<ParsedEvent, Faults>,
    /// The event as sent, if it is kept when it is refused.
    pub(crate) sent: Option<Sent>,
}

impl Item {
    /// Bytes of memory that the item takes, without the texts of its body.
    pub(super) fn bytes(&self) -> usize {
        let sent = self.sent.as_ref().map_or(0, |sent| sent.body.len());
        match &self.parsed {
            Ok(_) => EVENT_BYTES + sent,
            Err(faults) => EVENT_BYTES + faults.as_slice().len() * FAULT_BYTES + sent,
        }
    }
}

/// The events of a body.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart where it is made")]
pub(crate) enum Submitted {
    /// One event. The answer is its record.
    Single(Item),
    /// One or more events. The answer is a list of results.
    Batch(Vec<Item>),
    /// No event could be read. The body is kept.
    Unreadable(BodyFault, Sent),
}

impl Submitted {
    /// The same events as a batch, also if it is only one.
    pub(super) fn into_batch(self) -> Self {
        match self {
            Submitted::Single(item) => Submitted::Batch(vec![item]),
            other => other,
        }
    }
}

/// The reason why a whole body is refused.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// The body does not decompress.
    NotCompressed(String),
    /// The body is not the expected JSON.
    Json(Faults),
    /// The body is not a form.
    NotAForm(&'static str),
    /// The form has no `data` field.
    NoData,
    /// The form has two `data` fields.
    DataTwice,
    /// An envelope or a form holds an envelope.
    NestedEnvelope,
    /// The body has no event.
    NoEvent,
    /// The body has more than `events_max` events.
    TooManyEvents { events_max: usize },
    /// More than `brackets_max` brackets are open at once in the body.
    NestsDeep { brackets_max: usize },
    /// There is no room in memory for the parsed events.
    NoRoom(NoRoom),
}

impl BodyFault {
    /// Whether the body itself is at fault, and not its size.
    pub(crate) fn is_of_content(&self) -> bool {
        !matches!(self, BodyFault::TooManyEvents { .. } | BodyFault::NoRoom(_))
    }
}

impl From<NoRoom> for BodyFault {
    fn from(no_room: NoRoom) -> Self {
        BodyFault::NoRoom(no_room)
    }
}
