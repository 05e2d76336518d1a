//! What a body holds: events, each held against the rules on its own.

use conn_log_core::{Edition, Event, Faults};

use crate::http::body::NoRoom;

/// Bytes of an event in memory, beside its texts.
const EVENT_BYTES: usize = 512;

/// Bytes of a fault, with its pointer and its detail. 10,000 events with 32 each have room beside 64 MiB of body.
const FAULT_BYTES: usize = 160;

/// An event, and the edition that its client speaks.
#[derive(Debug)]
pub(crate) struct ParsedEvent {
    /// Which answer the client expects.
    pub(crate) edition: Edition,
    pub(crate) event: Event,
}

/// One event of a body, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where it stands in a body of lines, from 1.
    pub(crate) line: Option<usize>,
    pub(crate) parsed: Result<ParsedEvent, Faults>,
}

impl Item {
    /// The memory it takes, beside the texts of its body.
    pub(super) fn bytes(&self) -> usize {
        match &self.parsed {
            Ok(_) => EVENT_BYTES,
            Err(faults) => EVENT_BYTES + faults.as_slice().len() * FAULT_BYTES,
        }
    }
}

/// The events of a body.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart where it is made")]
pub(crate) enum Submitted {
    /// One event, answered by its record.
    Single(Result<ParsedEvent, Faults>),
    /// Any number but zero, answered by a list of results.
    Batch(Vec<Item>),
}

/// Why a body as a whole is refused.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// It is not the JSON that it should be.
    Json(Faults),
    /// It is not a form.
    NotAForm(&'static str),
    /// The form has no field data.
    NoData,
    /// The form has two of them.
    DataTwice,
    /// An envelope, or a form, holds an envelope.
    NestedEnvelope,
    /// There is no event in it.
    NoEvent,
    /// There are more events in it than a request may have.
    TooManyEvents { events_max: usize },
    /// More brackets than that are open at once in it.
    NestsDeep { brackets_max: usize },
    /// There is no room for what is made of it.
    NoRoom(NoRoom),
}

impl From<NoRoom> for BodyFault {
    fn from(no_room: NoRoom) -> Self {
        BodyFault::NoRoom(no_room)
    }
}
