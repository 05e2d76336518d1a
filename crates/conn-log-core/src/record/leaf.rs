//! The input of a record's leaf hash, made before the log gives the event its id.

use sha2::{Digest, Sha256};

use super::json::{ObjectWriter, own_session_id};
use crate::{Event, TimeText};

/// A record's RFC 8785 canonical JSON without the two members that the log gives: `id` and
/// `created_at`. Making it is most of the work of a leaf hash, and can be done before.
#[derive(Clone, Debug)]
pub struct LeafInput {
    json: String,
    /// The position for the text of `created_at`.
    created_at: usize,
    /// The position for `id`, which is further back.
    id: usize,
}

impl LeafInput {
    /// The input of that event's leaf hash, for any id.
    pub fn of(event: &Event) -> Self {
        let fields = event.fields();
        let mut json = ObjectWriter::with_capacity(fields);
        json.text("application_id", &fields.application_id);
        json.text("connection_type", &fields.connection_type);
        json.text("created_at", "");
        // Before the closing quote.
        let created_at = json.len() - 1;
        json.text("device_id", &fields.device_id);
        json.duration(fields);
        if let Some(event_id) = &fields.event_id {
            json.text("event_id", event_id);
        }
        json.raw("id", "");
        let id = json.len();
        json.address(fields);
        json.raw("metadata", &fields.metadata);
        if let Some(session_id) = own_session_id(fields) {
            json.text("session_id", session_id);
        }
        json.text("status", &fields.status);
        json.text("timestamp", fields.timestamp.text().as_str());
        json.optional_text("user_agent", fields.user_agent.as_deref());
        LeafInput { json: json.end(), created_at, id }
    }

    /// About the bytes of memory of this input.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.json.capacity()
    }

    /// The record's leaf hash in its log's Merkle tree: SHA-256 of a zero byte and the canonical
    /// JSON (RFC 6962, section 2.1).
    pub fn hash(&self, id: i64, created_at: &TimeText) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update([0]);
        self.each_part(id, created_at, |part| hash.update(part));
        hash.finalize().into()
    }

    pub(super) fn to_json(&self, id: i64, created_at: &TimeText) -> String {
        let mut json = String::with_capacity(self.json.len() + 64);
        self.each_part(id, created_at, |part| json.push_str(part));
        json
    }

    fn each_part(&self, id: i64, created_at: &TimeText, mut take: impl FnMut(&str)) {
        take(&self.json[..self.created_at]);
        take(created_at.as_str());
        take(&self.json[self.created_at..self.id]);
        take(itoa::Buffer::new().format(id));
        take(&self.json[self.id..]);
    }
}
