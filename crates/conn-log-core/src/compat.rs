//! The names that other crates still use. This goes with the commit that renames them there.
#![expect(missing_docs, reason = "each is documented under its new name")]

use crate::{Edition, Event, EventDraft, EventFields, EventPolicy, Faults, Timestamp};

pub type Rules = EventPolicy;
pub use crate::event::EventFields as EventParts;

#[derive(Clone, Debug, PartialEq)]
pub struct ParsedEvent {
    pub edition: Edition,
    pub event: Event,
}

impl Event {
    pub fn restore(fields: EventFields) -> Self {
        Event::from_store(fields)
    }

    pub fn parts(&self) -> &EventFields {
        self.fields()
    }

    pub fn into_parts(self) -> EventFields {
        self.into_fields()
    }
}

impl EventPolicy {
    pub fn parse_event(&self, json: &str, now: Timestamp) -> Result<ParsedEvent, Faults> {
        EventDraft::from_json(json)?.check(self, now)
    }
}

impl EventDraft<'_> {
    pub fn check(self, policy: &EventPolicy, now: Timestamp) -> Result<ParsedEvent, Faults> {
        let edition = self.edition();
        Ok(ParsedEvent { edition, event: policy.check(self, now)? })
    }
}
