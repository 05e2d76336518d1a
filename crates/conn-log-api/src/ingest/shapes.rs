//! The types of a registration's body and answer for the OpenAPI document. The server does not use
//! these types for anything else.
//!
//! The document has one schema for each body and answer, for generators
//! ([decision 024](../../../../docs/decisions/024-one-schema-for-a-body.md)).

#![allow(dead_code, reason = "fields of these types are only described")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use super::render::EventResult;
use crate::http::openapi::problems::ProblemError;

/// An event. Unknown fields move into its metadata.
#[derive(ToSchema)]
#[schema(example = json!({
    "device_id": "dev_12345", "application_id": "app_67890", "connection_type": "established",
    "timestamp": "2024-01-15T10:30:00Z", "ip_address": "192.168.1.100", "status": "success",
    "metadata": {"protocol": "TLS 1.3"}
}))]
pub(crate) struct Event {
    /// No control characters, no white space at the start or the end.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    device_id: String,
    /// No control characters, no white space at the start or the end.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    application_id: String,
    #[schema(example = "established")]
    connection_type: String,
    /// Not more than 5 minutes ahead of the server, not before 1970.
    timestamp: DateTime<Utc>,
    #[schema(example = "success")]
    status: String,
    /// IPv4 or IPv6.
    #[schema(max_length = 45, pattern = "^[0-9A-Fa-f:.]+$")]
    ip_address: Option<String>,
    #[schema(max_length = 1024, pattern = r"^[^\u0000]*$")]
    user_agent: Option<String>,
    /// Seconds.
    #[schema(minimum = 0)]
    duration: Option<f64>,
    /// At most 16 KiB and 8 levels. Values under sensitive names are redacted.
    metadata: Option<BTreeMap<String, serde_json::Value>>,
    /// Also read from metadata.session_id.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]+$")]
    session_id: Option<String>,
    /// A unique identifier chosen by the client. An event that repeats it is not stored again.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\u0000]+$")]
    event_id: Option<String>,
}

/// Events, at most 10,000 unless the server is configured otherwise.
#[derive(ToSchema)]
#[schema(min_items = 1)]
pub(crate) struct EventBatch(Vec<Event>);

/// What becomes of refused events.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnReject {
    Keep,
    Refuse,
}

/// A problem (RFC 9457) of a batch of which nothing was stored. The members of results are there if
/// the batch could be read.
#[derive(ToSchema)]
pub(crate) struct BatchProblem {
    /// The address of a page that explains the problem.
    #[schema(example = "/problems/invalid-event")]
    r#type: String,
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    detail: String,
    /// The request's id, also in X-Request-Id.
    #[schema(nullable = false)]
    instance: Option<String>,
    #[schema(nullable = false)]
    errors: Option<Vec<ProblemError>>,
    #[schema(nullable = false)]
    accepted: Option<u64>,
    #[schema(nullable = false)]
    duplicates: Option<u64>,
    #[schema(nullable = false)]
    rejected: Option<u64>,
    #[schema(nullable = false)]
    results: Option<Vec<EventResult<'static>>>,
}
