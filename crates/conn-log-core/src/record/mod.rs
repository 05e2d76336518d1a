//! A registered event: the event, its id in its log, and its exact JSON.

mod json;
mod leaf;

use self::json::{ObjectWriter, own_session_id};
pub use self::leaf::LeafInput;
use crate::{Event, Timestamp};

/// An event in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The event's number in its log: 1, 2, 3 … with no gap.
    pub id: i64,
    /// The time at which the log stored it.
    pub created_at: Timestamp,
    /// The registered event.
    pub event: Event,
}

impl Record {
    /// The record as JSON for the API: members in the contract's order.
    pub fn to_json(&self) -> String {
        let fields = self.event.fields();
        let mut json = ObjectWriter::with_capacity(fields);
        json.raw("id", itoa::Buffer::new().format(self.id));
        json.text("device_id", &fields.device_id);
        json.text("application_id", &fields.application_id);
        json.text("connection_type", &fields.connection_type);
        json.text("timestamp", fields.timestamp.text().as_str());
        json.address(fields);
        json.optional_text("user_agent", fields.user_agent.as_deref());
        json.text("status", &fields.status);
        json.duration(fields);
        json.text("created_at", self.created_at.text().as_str());
        json.raw("metadata", &fields.metadata);
        if let Some(session_id) = own_session_id(fields) {
            json.text("session_id", session_id);
        }
        if let Some(event_id) = &fields.event_id {
            json.text("event_id", event_id);
        }
        json.end()
    }

    /// The record as RFC 8785 canonical JSON: the same members, sorted by name.
    pub fn to_canonical_json(&self) -> String {
        LeafInput::of(&self.event).to_json(self.id, &self.created_at.text())
    }

    /// The record's leaf hash: [`LeafInput::hash`].
    pub fn leaf_hash(&self) -> [u8; 32] {
        LeafInput::of(&self.event).hash(self.id, &self.created_at.text())
    }
}
