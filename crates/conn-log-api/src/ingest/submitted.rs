//! What a body holds: events, each held against the rules on its own.

use conn_log_core::{Faults, ParsedEvent};

/// One event of a body, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where it stands in a body of lines, from 1.
    pub(crate) line: Option<usize>,
    pub(crate) parsed: Result<ParsedEvent, Faults>,
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
    NotAForm(String),
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
}
