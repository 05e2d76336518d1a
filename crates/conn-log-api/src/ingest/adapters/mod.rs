//! Parses the events of a body, with one adapter for each kind of body.
//!
//! An adapter finds the events in a body and passes each to the [`Checker`]. It contains no rules
//! for events, and nothing of HTTP except the name of its media type, which is in [`BodyKind`].

mod form;
mod json;
mod ndjson;
mod nesting;

use std::borrow::Cow;

use conn_log_core::{Binding, EventDraft, EventPolicy, Faults, Timestamp, utf8};

use super::sent::{Budget, Keep, Sent};
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
    /// The media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            BodyKind::Json => "application/json",
            BodyKind::Form => "application/x-www-form-urlencoded",
            BodyKind::Ndjson => "application/x-ndjson",
        }
    }

    /// The kind for a media type given in lower case.
    pub(crate) fn of_media_type(essence: &str) -> Option<Self> {
        let kinds = [BodyKind::Json, BodyKind::Form, BodyKind::Ndjson];
        kinds.into_iter().find(|kind| kind.media_type() == essence)
    }

    /// The body as a reader of it would see it: a form's escapes are replaced.
    pub(crate) fn as_text(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            BodyKind::Form => {
                let spaced: Vec<u8> =
                    body.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
                Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
            }
            BodyKind::Json | BodyKind::Ndjson => Cow::Borrowed(body),
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
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    pub(crate) policy: &'a EventPolicy,
    /// The device and the application that the token is bound to.
    pub(crate) binding: &'a Binding,
    pub(crate) now: Timestamp,
    pub(crate) events_max: usize,
    /// Whether an optional field with an invalid value does not cost the event.
    pub(crate) lenient: bool,
    /// Which events are kept as sent.
    pub(crate) keep: Keep,
    pub(crate) budget: Budget,
}

impl Checker<'_> {
    /// Parses the JSON of one event of a batch and checks it against the policy.
    fn item(&self, line: Option<usize>, json: &[u8]) -> Item {
        let parsed = utf8(json).and_then(EventDraft::from_json).and_then(|draft| self.check(draft));
        Item { line, sent: self.sent(json, &parsed), parsed }
    }

    /// Checks a request's only event against the policy.
    fn single(&self, json: &[u8], draft: EventDraft<'_>) -> Item {
        let parsed = self.check(draft);
        Item { line: None, sent: self.sent(json, &parsed), parsed }
    }

    /// The event as sent, if it may have to be kept.
    fn sent(&self, json: &[u8], parsed: &Result<ParsedEvent, Faults>) -> Option<Sent> {
        match (self.keep, parsed) {
            (Keep::Nothing, _) => None,
            (_, Err(_)) => Some(Sent::of(json, self.policy)),
            (Keep::Refusable, Ok(parsed)) if parsed.event.fields().event_id.is_none() => None,
            (Keep::Refusable | Keep::All, Ok(_)) => Some(self.budget.keep(json, self.policy)),
        }
    }

    /// Applies the token's binding to one event's draft and checks it against the policy.
    fn check<'e>(&'e self, mut draft: EventDraft<'e>) -> Result<ParsedEvent, Faults> {
        draft.bind(self.binding);
        let edition = draft.edition();
        let event = if self.lenient {
            self.policy.check_leniently(draft, self.now)?
        } else {
            self.policy.check(draft, self.now)?
        };
        Ok(ParsedEvent { edition, event })
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
