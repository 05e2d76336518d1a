//! The types of the parameters and answers of reads of the log, for the OpenAPI document. The
//! server does not use these types for anything else.

#![allow(dead_code, reason = "these types are only described")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

/// A stored event.
#[derive(ToSchema)]
pub(crate) struct EventRecord {
    /// 1, 2, 3 … with no gap, in commit order.
    #[schema(minimum = 1, example = 12847)]
    id: i64,
    #[schema(min_length = 1, max_length = 255)]
    device_id: String,
    #[schema(min_length = 1, max_length = 255)]
    application_id: String,
    /// attempted, authenticated, established, resumed, suspended, terminated, or a name that is or
    /// was configured on the server.
    #[schema(min_length = 1)]
    connection_type: String,
    timestamp: DateTime<Utc>,
    /// IPv4 or IPv6, in canonical form.
    #[schema(required, max_length = 45, pattern = "^[0-9a-f:.]+$")]
    ip_address: Option<String>,
    #[schema(required, max_length = 1024)]
    user_agent: Option<String>,
    /// success, failure, denied, timeout, error, or a name that is or was configured on the server.
    #[schema(min_length = 1)]
    status: String,
    /// Seconds.
    #[schema(required, minimum = 0)]
    duration: Option<f64>,
    created_at: DateTime<Utc>,
    metadata: BTreeMap<String, serde_json::Value>,
    /// Only if the event has one.
    #[schema(nullable = false, min_length = 1, max_length = 255)]
    session_id: Option<String>,
    /// Only if the event has one.
    #[schema(nullable = false, min_length = 1, max_length = 64)]
    event_id: Option<String>,
}

/// A page of records.
#[derive(ToSchema)]
pub(crate) struct EventPage {
    results: Vec<EventRecord>,
    /// The address of the next page.
    #[schema(required)]
    next: Option<String>,
    /// The address of the previous page.
    #[schema(required)]
    previous: Option<String>,
    /// Only in the feed, and only if the oldest events were removed: the first id that may still
    /// have an event.
    #[schema(nullable = false, minimum = 1)]
    first_id: Option<i64>,
}

/// One value of a repeatable filter.
#[derive(ToSchema)]
#[schema(min_length = 1, pattern = r"^[^\u0000]+$")]
pub(crate) struct FilterValue(String);

/// The filters of every read of events, and of statistics.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SelectionParameters {
    /// Repeatable.
    #[param(inline, max_items = 100)]
    device_id: Option<Vec<FilterValue>>,
    /// Repeatable.
    #[param(inline, max_items = 100)]
    application_id: Option<Vec<FilterValue>>,
    /// Repeatable. Names that the server's rules or the log know.
    #[param(inline, max_items = 100)]
    connection_type: Option<Vec<FilterValue>>,
    /// Repeatable. Names that the server's rules or the log know.
    #[param(inline, max_items = 100)]
    status: Option<Vec<FilterValue>>,
    /// Events with this timestamp or a later one.
    since: Option<DateTime<Utc>>,
    /// Events with an earlier timestamp.
    until: Option<DateTime<Utc>>,
}

/// The further filters of lists, streams and exports.
pub(crate) struct FilterParameters;

impl IntoParams for FilterParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = PlainFilterParameters::into_params(|| Some(ParameterIn::Query));
        parameters.push(metadata_filters());
        parameters
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct PlainFilterParameters {
    /// An address or a CIDR block.
    #[param(pattern = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$")]
    ip_address: Option<String>,
    #[param(min_length = 1, pattern = r"^[^\u0000]+$")]
    session_id: Option<String>,
    /// Seconds.
    #[param(minimum = 0)]
    min_duration: Option<f64>,
    /// Seconds.
    #[param(minimum = 0)]
    max_duration: Option<f64>,
}

/// The filters `metadata.<path>=<value>`. An object in the style `form`, exploded, is a parameter for
/// each of its members, so that the members' names are the parameters' own.
fn metadata_filters() -> Parameter {
    let path = r"^metadata(\.([^.\\\u0000]|\\[.\\])+){1,8}$";
    let text =
        |pattern: &str| ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    let filters = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Object))
        .property_names(Some(Schema::Object(text(path).build())))
        .additional_properties(Some(AdditionalProperties::from(RefOr::T(Schema::Object(
            text(r"^[^\u0000]*$").build(),
        )))))
        .max_properties(Some(8))
        .build();
    ParameterBuilder::new()
        .name("metadata")
        .parameter_in(ParameterIn::Query)
        .description(Some(
            "Members of metadata with these values, each a parameter metadata.<path>=<value>. A \
             path is one to eight names from the outside in, with a dot between two; a dot within \
             a name is written \\.",
        ))
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
        .schema(Some(filters))
        .build()
}

/// The order of a list of events.
#[derive(ToSchema)]
pub(crate) enum EventOrder {
    #[serde(rename = "-id")]
    IdDescending,
    #[serde(rename = "id")]
    IdAscending,
    #[serde(rename = "-timestamp")]
    TimestampDescending,
    #[serde(rename = "timestamp")]
    TimestampAscending,
}

/// The format of an export.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExportFormat {
    Ndjson,
    Csv,
    Parquet,
}
