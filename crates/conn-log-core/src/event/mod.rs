//! A connection event that a client registered, checked and redacted.
//!
//! Architecture invariant: an [`Event`] keeps every rule. It comes from
//! [`EventPolicy::check`](crate::EventPolicy::check), which makes it from an [`EventDraft`], or
//! from a store, which gives back its stored event through [`Event::from_store`]. Code with an
//! event never checks it again.

mod binding;
mod draft;
mod editions;
mod field_reader;
mod field_rules;
pub(crate) mod json_object;
mod lenient;
pub(crate) mod member_name;
pub(crate) mod metadata;
mod policy;
mod redacted_text;
mod redaction;

use std::net::IpAddr;

pub use self::binding::Binding;
pub use self::draft::{DraftSource, EventDraft, MetadataJson};
pub use self::editions::Edition;
pub use self::policy::{CONNECTION_TYPES, EventPolicy, STATUSES};
pub use self::redaction::{REDACTED, SensitiveKeys};
use crate::Timestamp;

/// The fields of an event, which a store writes and reads.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFields {
    /// 1 to 255 characters.
    pub device_id: String,
    /// 1 to 255 characters.
    pub application_id: String,
    /// One of the vocabulary's connection types, such as `established`.
    pub connection_type: String,
    /// One of the vocabulary's statuses, such as `success`.
    pub status: String,
    /// The time of the event, as the client gives it.
    pub timestamp: Timestamp,
    /// The address that the device connected from.
    pub ip_address: Option<IpAddr>,
    /// At most 1,024 characters.
    pub user_agent: Option<String>,
    /// In seconds; finite, 0 or more.
    pub duration: Option<f64>,
    /// The session of the event, given as a field or in the metadata.
    pub session_id: Option<String>,
    /// The client's own id for the event, 1 to 64 characters.
    pub event_id: Option<String>,
    /// A JSON object as RFC 8785 canonical text, redacted.
    pub metadata: String,
}

/// A connection event that keeps every rule of the contract.
///
/// Code reads its fields and takes them out:
///
/// ```
/// use conn_log_core::{Event, EventFields};
///
/// fn device(event: &Event) -> &str { &event.fields().device_id }
/// fn fields(event: Event) -> EventFields { event.into_fields() }
/// ```
///
/// Code cannot put fields in,
///
/// ```compile_fail
/// use conn_log_core::{Event, EventFields};
///
/// fn forge(fields: EventFields) -> Event { Event(fields) }
/// ```
///
/// nor convert them,
///
/// ```compile_fail
/// use conn_log_core::{Event, EventFields};
///
/// fn forge(fields: EventFields) -> Event { Event::from(fields) }
/// ```
///
/// nor change an existing one,
///
/// ```compile_fail
/// use conn_log_core::Event;
///
/// fn forge(mut event: Event) -> Event { event.fields().device_id.clear(); event }
/// ```
///
/// nor begin with an empty one,
///
/// ```compile_fail
/// use conn_log_core::Event;
///
/// fn forge() -> Event { Event::default() }
/// ```
///
/// nor read one without the check of the rules:
///
/// ```compile_fail
/// use conn_log_core::Event;
///
/// fn forge(json: &str) -> Event { serde_json::from_str(json).unwrap() }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event(EventFields);

impl Event {
    /// Makes an event from stored fields. **Only for a store**, and only with fields that the store
    /// has written itself: nothing is checked here. All other code makes an [`EventDraft`] and
    /// calls [`EventPolicy::check`].
    pub fn from_store(fields: EventFields) -> Self {
        Event(fields)
    }

    /// Its fields.
    pub fn fields(&self) -> &EventFields {
        &self.0
    }

    /// Its fields, for code that does not need the event itself.
    pub fn into_fields(self) -> EventFields {
        self.0
    }
}
