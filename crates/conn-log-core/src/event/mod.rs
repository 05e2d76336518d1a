//! A connection event: what a client registered, checked and redacted.
//!
//! An [`Event`] comes only from [`Rules::parse_event`](crate::Rules::parse_event), which applies every
//! rule, or from [`Event::restore`], for a store that gives back what it took. Code that holds one never
//! checks again.

mod editions;
mod field_reader;
mod field_rules;
pub(crate) mod json_object;
pub(crate) mod member_name;
pub(crate) mod metadata;
mod policy;
mod redaction;

use std::net::IpAddr;

pub use self::editions::{Edition, ParsedEvent};
pub use self::policy::{CONNECTION_TYPES, Rules, STATUSES};
pub use self::redaction::{REDACTED, SensitiveKeys};
use crate::Timestamp;

/// The plain members of an event, for a store to write and to give back.
#[derive(Clone, Debug, PartialEq)]
pub struct EventParts {
    /// 1 to 255 characters.
    pub device_id: String,
    /// 1 to 255 characters.
    pub application_id: String,
    /// One of the vocabulary's connection types, such as `established`.
    pub connection_type: String,
    /// One of the vocabulary's statuses, such as `success`.
    pub status: String,
    /// When it happened, as the client says.
    pub timestamp: Timestamp,
    /// The address that the device connected from.
    pub ip_address: Option<IpAddr>,
    /// At most 1,024 characters.
    pub user_agent: Option<String>,
    /// Seconds; finite, 0 or more.
    pub duration: Option<f64>,
    /// The session that the event belongs to, given as a field or within the metadata.
    pub session_id: Option<String>,
    /// The client's own name for the event, 1 to 64 characters.
    pub event_id: Option<String>,
    /// A JSON object as RFC 8785 canonical text, redacted.
    pub metadata: String,
}

/// A connection event that keeps every rule of the contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(EventParts);

impl Event {
    /// Takes back what a store was given. Nothing is checked: the parts must come from
    /// [`Event::parts`] or [`Event::into_parts`].
    pub fn restore(parts: EventParts) -> Self {
        Event(parts)
    }

    /// The members, to store them.
    pub fn parts(&self) -> &EventParts {
        &self.0
    }

    /// The members, to store them.
    pub fn into_parts(self) -> EventParts {
        self.0
    }
}
