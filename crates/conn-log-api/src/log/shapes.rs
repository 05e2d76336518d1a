//! The types of the parameters and answers of reads of the log, for the OpenAPI document. The
//! server does not use these types for anything else.

#![allow(dead_code, reason = "fields of these types are only described")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::{IntoParams, ToSchema};

/// A stored event.
#[derive(ToSchema)]
pub(crate) struct Record {
    /// 1, 2, 3 … with no gap, in commit order.
    #[schema(example = 12847)]
    id: i64,
    device_id: String,
    application_id: String,
    connection_type: String,
    timestamp: DateTime<Utc>,
    #[schema(required)]
    ip_address: Option<String>,
    #[schema(required)]
    user_agent: Option<String>,
    status: String,
    /// Seconds.
    #[schema(required)]
    duration: Option<f64>,
    created_at: DateTime<Utc>,
    metadata: BTreeMap<String, serde_json::Value>,
    #[schema(nullable = false)]
    session_id: Option<String>,
    #[schema(nullable = false)]
    event_id: Option<String>,
}

/// A page of records.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct RecordPage {
    results: Vec<Record>,
    /// The address of the next page.
    #[schema(required)]
    next: Option<String>,
    /// The address of the previous page.
    #[schema(required)]
    previous: Option<String>,
    /// Only in the feed, and only if the oldest events were removed: the first id that may still
    /// have an event.
    first_id: Option<i64>,
}

/// The filters of every read of events, and of statistics.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SelectionParameters {
    /// Repeatable.
    device_id: Option<Vec<String>>,
    /// Repeatable.
    application_id: Option<Vec<String>>,
    /// Repeatable.
    connection_type: Option<Vec<String>>,
    /// Repeatable.
    status: Option<Vec<String>>,
    /// Events with this timestamp or a later one.
    since: Option<DateTime<Utc>>,
    /// Events with an earlier timestamp.
    until: Option<DateTime<Utc>>,
}

/// The further filters of lists, streams and exports.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterParameters {
    /// An address or a CIDR block.
    ip_address: Option<String>,
    session_id: Option<String>,
    /// Seconds.
    min_duration: Option<f64>,
    /// Seconds.
    max_duration: Option<f64>,
}
