//! A registered event: the event, its place in its log, and the exact JSON that stands for it.

use std::net::IpAddr;

use crate::{Event, EventParts, LeafInput, Timestamp};

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The event's place in its log: 1, 2, 3 … with no gap.
    pub id: i64,
    /// When the log took it in.
    pub created_at: Timestamp,
    /// What was registered.
    pub event: Event,
}

impl Record {
    /// The record as the API answers it: members in the contract's order.
    pub fn to_json(&self) -> String {
        let parts = self.event.parts();
        let mut json = Members::with_capacity(parts);
        json.raw("id", itoa::Buffer::new().format(self.id));
        json.text("device_id", &parts.device_id);
        json.text("application_id", &parts.application_id);
        json.text("connection_type", &parts.connection_type);
        json.text("timestamp", &parts.timestamp.to_string());
        json.address(parts);
        json.optional_text("user_agent", parts.user_agent.as_deref());
        json.text("status", &parts.status);
        json.duration(parts);
        json.text("created_at", &self.created_at.to_string());
        json.raw("metadata", &parts.metadata);
        if let Some(session_id) = own_session_id(parts) {
            json.text("session_id", session_id);
        }
        if let Some(event_id) = &parts.event_id {
            json.text("event_id", event_id);
        }
        json.end()
    }

    /// The record as RFC 8785 canonical JSON: the same members, sorted by name.
    pub fn to_canonical_json(&self) -> String {
        LeafInput::of(&self.event).to_json(self.id, self.created_at)
    }

    /// The record's leaf hash: [`LeafInput::hash`].
    pub fn leaf_hash(&self) -> [u8; 32] {
        LeafInput::of(&self.event).hash(self.id, self.created_at)
    }
}

/// The session id that stands beside the metadata: none where the metadata already shows it.
pub(crate) fn own_session_id(parts: &EventParts) -> Option<&str> {
    let session_id = parts.session_id.as_deref()?;
    (crate::metadata::session_id(&parts.metadata).as_deref() != Some(session_id))
        .then_some(session_id)
}

/// Writes the members of one JSON object, in the order they are given.
pub(crate) struct Members(String);

impl Members {
    pub(crate) fn with_capacity(parts: &EventParts) -> Self {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = parts.device_id.len()
            + parts.application_id.len()
            + parts.metadata.len()
            + optional(&parts.user_agent)
            + optional(&parts.session_id)
            + optional(&parts.event_id);
        Members(String::with_capacity(320 + texts))
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn raw(&mut self, name: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
        self.0.push_str(json);
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, "");
        // A str has no key to sort and no number to write: either is RFC 8785's form.
        if value.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            self.0.push_str(&serde_json::Value::from(value).to_string());
        } else {
            self.0.push('"');
            self.0.push_str(value);
            self.0.push('"');
        }
    }

    pub(crate) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    pub(crate) fn address(&mut self, parts: &EventParts) {
        // An address has no character that JSON escapes.
        match parts.ip_address {
            // Four numbers: through a formatter they take as long as the rest of the record.
            Some(IpAddr::V4(address)) => {
                let mut before = '"';
                self.raw("ip_address", "");
                for octet in address.octets() {
                    self.0.push(before);
                    self.0.push_str(itoa::Buffer::new().format(octet));
                    before = '.';
                }
                self.0.push('"');
            }
            Some(IpAddr::V6(address)) => self.raw("ip_address", &format!("\"{address}\"")),
            None => self.raw("ip_address", "null"),
        }
    }

    pub(crate) fn duration(&mut self, parts: &EventParts) {
        match parts.duration {
            Some(seconds) => self.raw("duration", ryu_js::Buffer::new().format(seconds)),
            None => self.raw("duration", "null"),
        }
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
