//! Parses the events of a body, with one adapter for each kind of body.
//!
//! An adapter finds the events in a body and passes each to the [`Checker`]. It contains no rules
//! for events, and nothing of HTTP except the name of its media type, which is in [`BodyKind`].

mod form;
mod json;
mod ndjson;
mod nesting;

use conn_log_core::{Binding, EventDraft, EventPolicy, Faults, Timestamp};

use super::submitted::{BodyFault, Item, ParsedEvent, Submitted};
use crate::http::body::NoRoom;

/// The kinds of bodies that can hold events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// An event, an array of events, or an envelope around either.
    Json,
    /// A form whose field `data` is such JSON.
    Form,
    /// One event per line.
    Ndjson,
}

impl BodyKind {
    /// The kind for a media type given in lower case.
    pub(crate) fn of_media_type(essence: &str) -> Option<Self> {
        match essence {
            "application/json" => Some(BodyKind::Json),
            "application/x-www-form-urlencoded" => Some(BodyKind::Form),
            "application/x-ndjson" => Some(BodyKind::Ndjson),
            _ => None,
        }
    }

    /// The events of a body.
    pub(crate) fn read(
        self,
        body: &[u8],
        checker: &Checker<'_>,
        hold: Hold<'_>,
    ) -> Result<Submitted, BodyFault> {
        match self {
            BodyKind::Json => json::read(body, checker, hold),
            BodyKind::Form => form::read(body, checker, hold),
            BodyKind::Ndjson => ndjson::read(body, checker, hold),
        }
    }
}

/// Reserves room for that many bytes of events in total, before they are allocated.
pub(crate) type Hold<'a> = &'a mut dyn FnMut(usize) -> Result<(), NoRoom>;

/// Checks each event of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checker<'a> {
    pub(crate) policy: &'a EventPolicy,
    /// The device and the application that the token is bound to.
    pub(crate) binding: &'a Binding,
    pub(crate) now: Timestamp,
    pub(crate) events_max: usize,
}

impl Checker<'_> {
    /// Parses one event's JSON and checks it against the policy.
    fn event(&self, json: &str) -> Result<ParsedEvent, Faults> {
        self.check(EventDraft::from_json(json)?)
    }

    /// Applies the token's binding to one event's draft and checks it against the policy.
    fn check<'e>(&'e self, mut draft: EventDraft<'e>) -> Result<ParsedEvent, Faults> {
        draft.bind(self.binding);
        let edition = draft.edition();
        Ok(ParsedEvent { edition, event: self.policy.check(draft, self.now)? })
    }

    /// Parses a batch of events. It reads at most one event beyond the limit.
    fn batch(
        &self,
        items: impl Iterator<Item = Item>,
        hold: Hold<'_>,
    ) -> Result<Submitted, BodyFault> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for item in items {
            if batch.len() == self.events_max {
                return Err(self.too_many());
            }
            bytes += item.bytes();
            hold(bytes)?;
            batch.push(item);
        }
        if batch.is_empty() {
            return Err(BodyFault::NoEvent);
        }
        Ok(Submitted::Batch(batch))
    }

    fn too_many(&self) -> BodyFault {
        BodyFault::TooManyEvents { events_max: self.events_max }
    }
}
