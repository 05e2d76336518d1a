//! The types of a registration's body and answer for the OpenAPI document. The server does not use
//! these types for anything else.

#![allow(dead_code, reason = "fields of these types are only described")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use super::render::{BatchResults, FirstEditionAnswer};
use crate::log::shapes::Record;

/// The body of a registration, in one of its shapes.
#[derive(ToSchema)]
#[schema(title = "EventBody")]
#[serde(untagged)]
pub(crate) enum EventBody {
    /// One event.
    Event(Event),
    /// One event of the first edition.
    FirstEdition(FirstEditionEvent),
    /// A batch of events. Each event is stored or refused independently.
    Events(Vec<Event>),
    /// JSON within JSON, as the first edition sends it.
    Envelope(Envelope),
}

/// An event. Unknown fields move into its metadata.
#[derive(ToSchema)]
#[schema(example = json!({
    "device_id": "dev_12345", "application_id": "app_67890", "connection_type": "established",
    "timestamp": "2024-01-15T10:30:00Z", "ip_address": "192.168.1.100", "status": "success",
    "metadata": {"protocol": "TLS 1.3"}
}))]
pub(crate) struct Event {
    #[schema(min_length = 1, max_length = 255)]
    device_id: String,
    #[schema(min_length = 1, max_length = 255)]
    application_id: String,
    /// attempted, authenticated, established, resumed, suspended, terminated, or a name configured
    /// on the server.
    #[schema(example = "established")]
    connection_type: String,
    /// Not more than 5 minutes ahead of the server, not before 1970.
    timestamp: DateTime<Utc>,
    /// success, failure, denied, timeout, error, or a name configured on the server.
    #[schema(example = "success")]
    status: String,
    /// IPv4 or IPv6.
    ip_address: Option<String>,
    #[schema(max_length = 1024)]
    user_agent: Option<String>,
    /// Seconds.
    #[schema(minimum = 0)]
    duration: Option<f64>,
    /// At most 16 KiB and 8 levels. Values under sensitive names are redacted.
    metadata: Option<BTreeMap<String, serde_json::Value>>,
    /// Also read from metadata.session_id.
    #[schema(min_length = 1, max_length = 255)]
    session_id: Option<String>,
    /// A unique identifier chosen by the client. An event that repeats it is not stored again.
    #[schema(min_length = 1, max_length = 64)]
    event_id: Option<String>,
}

/// An event in the format of the first edition.
#[derive(ToSchema)]
pub(crate) struct FirstEditionEvent {
    device_id: String,
    app_id: String,
    /// The kind of network.
    #[schema(example = "wifi")]
    connection_type: String,
    /// connected, disconnected, failed, error, denied, timeout.
    #[schema(example = "connected")]
    connection_status: String,
    timestamp: DateTime<Utc>,
    ip_address: Option<String>,
    signal_strength: Option<f64>,
    data_transferred: Option<f64>,
}

/// JSON within JSON.
#[derive(ToSchema)]
pub(crate) struct Envelope {
    /// The JSON text of an event or an array of events.
    data: String,
}

/// A form.
#[derive(ToSchema)]
pub(crate) struct Form {
    /// The JSON text of an event or an array of events.
    data: String,
}

/// The answer to a registration.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Registered<'a> {
    /// A single event.
    Record(Record),
    /// A single event of the first edition.
    FirstEdition(FirstEditionAnswer),
    /// A batch.
    Batch(BatchResults<'a>),
}
