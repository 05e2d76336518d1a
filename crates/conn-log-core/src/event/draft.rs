//! An event before the check: typed, and borrowed if possible.
//!
//! A draft may break any rule. [`EventPolicy::check`](crate::EventPolicy::check) makes an event of
//! it, or returns its faults. JSON is one source of drafts (`editions`).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;
use serde_json::value::RawValue;

use super::editions::{Edition, FieldNames};
use super::lenient::OPTIONAL;
use crate::Timestamp;
use crate::fault::{Fault, FaultList};

/// A connection event that a client wants to register.
///
/// Any field may be missing or wrong: the check reports it.
///
/// ```
/// use conn_log_core::{EventDraft, EventPolicy, Timestamp};
/// use serde_json::json;
///
/// let now = Timestamp::parse("2024-01-15T10:30:05Z").unwrap();
/// let draft = EventDraft {
///     device_id: Some("dev_12345".into()),
///     application_id: Some("app_67890".into()),
///     connection_type: Some("established".into()),
///     status: Some("success".into()),
///     timestamp: Some(now),
///     metadata: Some(json!({"protocol": "TLS 1.3", "access_token": "hunter2"}).into()),
///     ..EventDraft::default()
/// };
/// let event = EventPolicy::default().check(draft, now).unwrap();
/// assert_eq!(
///     event.fields().metadata,
///     r#"{"access_token":"[REDACTED]","protocol":"TLS 1.3"}"#,
/// );
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventDraft<'a> {
    /// Required.
    pub device_id: Option<Cow<'a, str>>,
    /// Required.
    pub application_id: Option<Cow<'a, str>>,
    /// Required.
    pub connection_type: Option<Cow<'a, str>>,
    /// Required.
    pub status: Option<Cow<'a, str>>,
    /// Required. The time of the event.
    pub timestamp: Option<Timestamp>,
    /// The address that the device connected from.
    pub ip_address: Option<IpAddr>,
    /// The name of the program that connected, as the program gives it.
    pub user_agent: Option<Cow<'a, str>>,
    /// In seconds.
    pub duration: Option<f64>,
    /// The session of the event. If it is `None`, the metadata's `session_id` is taken.
    pub session_id: Option<Cow<'a, str>>,
    /// The client's own id for the event.
    pub event_id: Option<Cow<'a, str>>,
    /// A JSON object.
    pub metadata: Option<MetadataJson<'a>>,
    /// Members that move into the metadata. An existing member of the same name is kept.
    pub extra_metadata: Vec<(Cow<'a, str>, MetadataJson<'a>)>,
    /// The source of the draft. The default is right for a draft that code builds field by field.
    pub source: DraftSource<'a>,
}

impl EventDraft<'_> {
    /// The edition of the request that the draft was read from: the shape of the answer that its
    /// client expects. A draft from another source counts as [`Edition::Second`].
    pub fn edition(&self) -> Edition {
        self.source.edition
    }

    /// Adds a fault that was found while the draft was made. The check returns it with its own
    /// faults, so that the client sees all of them at once.
    pub fn add_fault(&mut self, fault: Fault) {
        self.source.faults.push(fault);
    }
}

/// Data about a draft's source that the check needs: the client's names of the fields, and the
/// faults that were found in reading.
#[derive(Clone, Debug, Default)]
pub struct DraftSource<'a> {
    pub(super) edition: Edition,
    pub(super) names: FieldNames,
    pub(super) faults: FaultList,
    /// The optional fields as sent, in the order of [`OPTIONAL`].
    pub(super) sent: [Option<&'a RawValue>; OPTIONAL.len()],
}

/// JSON for an event's metadata, not yet parsed.
#[derive(Clone)]
pub enum MetadataJson<'a> {
    /// JSON text.
    Text(Cow<'a, RawValue>),
    /// A JSON value.
    Value(Value),
}

impl<'a> From<&'a RawValue> for MetadataJson<'a> {
    fn from(text: &'a RawValue) -> Self {
        MetadataJson::Text(Cow::Borrowed(text))
    }
}

impl From<Box<RawValue>> for MetadataJson<'_> {
    fn from(text: Box<RawValue>) -> Self {
        MetadataJson::Text(Cow::Owned(text))
    }
}

impl From<Value> for MetadataJson<'_> {
    fn from(value: Value) -> Self {
        MetadataJson::Value(value)
    }
}

/// Shows no content: it may contain secrets, which only the check redacts.
impl fmt::Debug for MetadataJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetadataJson(..)")
    }
}
