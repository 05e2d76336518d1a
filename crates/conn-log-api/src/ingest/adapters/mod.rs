//! From a body's bytes to the events in it: an adapter for each kind of body.
//!
//! An adapter finds the events in a body and hands each to the [`Checker`]. It knows no rule of an
//! event, and nothing of HTTP but the name of its media type, which stands in [`BodyKind`].

mod form;
mod json;
mod ndjson;

use conn_log_core::{Faults, ParsedEvent, Rules, Timestamp};

use super::submitted::{BodyFault, Item, Submitted};

/// The kinds of bodies that events are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// An event, an array of events, or an envelope around either.
    Json,
    /// A form whose field `data` is such JSON.
    Form,
    /// An event a line.
    Ndjson,
}

impl BodyKind {
    /// The kind of a media type, which is given in lower case.
    pub(crate) fn of_media_type(essence: &str) -> Option<Self> {
        match essence {
            "application/json" => Some(BodyKind::Json),
            "application/x-www-form-urlencoded" => Some(BodyKind::Form),
            "application/x-ndjson" => Some(BodyKind::Ndjson),
            _ => None,
        }
    }

    /// The events of a body.
    pub(crate) fn read(self, body: &[u8], checker: &Checker<'_>) -> Result<Submitted, BodyFault> {
        match self {
            BodyKind::Json => json::read(body, checker),
            BodyKind::Form => form::read(body, checker),
            BodyKind::Ndjson => ndjson::read(body, checker),
        }
    }
}

/// What each event of a body is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checker<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) now: Timestamp,
    pub(crate) events_max: usize,
}

impl Checker<'_> {
    /// One event's JSON, held against the rules.
    fn event(&self, json: &str) -> Result<ParsedEvent, Faults> {
        self.rules.parse_event(json, self.now)
    }

    /// A batch of events, read no further than one beyond the limit.
    fn batch(&self, items: impl Iterator<Item = Item>) -> Result<Submitted, BodyFault> {
        let items: Vec<Item> = items.take(self.events_max.saturating_add(1)).collect();
        match items.len() {
            0 => Err(BodyFault::NoEvent),
            n if n > self.events_max => Err(self.too_many()),
            _ => Ok(Submitted::Batch(items)),
        }
    }

    fn too_many(&self) -> BodyFault {
        BodyFault::TooManyEvents { events_max: self.events_max }
    }
}
