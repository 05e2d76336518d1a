//! The OpenAPI document: put together from the handlers, and the shapes that they take and give.
//!
//! The types here describe; nothing is built from them. Tests hold the document against the
//! server's routes and its real answers.

#![allow(dead_code, reason = "fields of these types are only described")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{IntoParams, Modify, OpenApi, ToSchema};

use crate::http::problem::PROBLEM_JSON;

/// The whole document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "conn-log",
        description = "A connection log: events between devices and applications, registered \
            durably, read back exactly. Every path works with and without its trailing slash.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        crate::log::list::list,
        crate::ingest::register::register,
        crate::log::get::get,
        crate::log::stream::stream,
        crate::log::export::export,
        crate::statistics::stats,
        crate::presence::devices::list,
        crate::presence::devices::get,
        crate::presence::applications::list,
        crate::presence::applications::get,
        crate::sessions::list,
        crate::running::health::healthz,
        crate::running::health::readyz,
        crate::running::metrics::metrics,
        crate::site::docs::openapi_json,
        crate::site::docs::page,
        crate::site::docs::file,
        crate::site::problems::index,
        crate::site::problems::page,
    ),
    modifiers(&Bearer, &Problems),
)]
pub(crate) struct ApiDoc;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token made by conn-log token create, such as clog_…"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The problems that every operation of the API can answer with, or every registration.
struct Problems;

const OF_ALL: &[(&str, &str)] = &[
    ("400", "The request's shape is wrong, or a parameter is not taken"),
    ("401", "No valid token"),
    ("403", "The token lacks the scope"),
    ("406", "Accept leaves out what this answers with"),
    ("500", "The server failed; its log has the cause under the request id"),
    ("503", "Too much to do, or the store cannot be reached; Retry-After"),
];

const OF_REGISTRATIONS: &[(&str, &str)] = &[
    ("408", "The body took too long to arrive"),
    ("413", "Too many bytes, as sent or decompressed, or too many events"),
    ("415", "The body's type or encoding is not taken"),
    ("429", "Over the token's rate; Retry-After, RateLimit, RateLimit-Policy"),
];

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            if path.starts_with("/api/") {
                if let Some(operation) = &mut item.get {
                    add_problems(operation, OF_ALL);
                }
                if let Some(operation) = &mut item.post {
                    add_problems(operation, OF_ALL);
                    add_problems(operation, OF_REGISTRATIONS);
                }
            }
        }
    }
}

/// Those that the operation does not describe by itself.
fn add_problems(operation: &mut Operation, problems: &[(&str, &str)]) {
    for (status, description) in problems {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            ResponseBuilder::new()
                .description(*description)
                .content(PROBLEM_JSON, content)
                .build()
                .into()
        });
    }
}

/// What the body of a registration may be.
#[derive(ToSchema)]
#[schema(title = "EventBody")]
#[serde(untagged)]
pub(crate) enum EventBody {
    /// One event.
    Event(Event),
    /// One event of the first edition.
    FirstEdition(FirstEditionEvent),
    /// Several events, each standing alone.
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
    /// attempted, authenticated, established, resumed, suspended, terminated, or a name that the
    /// deployment adds.
    #[schema(example = "established")]
    connection_type: String,
    /// Not more than 5 minutes ahead of the server, not before 1970.
    timestamp: DateTime<Utc>,
    /// success, failure, denied, timeout, error, or a name that the deployment adds.
    #[schema(example = "success")]
    status: String,
    /// IPv4 or IPv6.
    ip_address: Option<String>,
    #[schema(max_length = 1024)]
    user_agent: Option<String>,
    /// Seconds.
    #[schema(minimum = 0)]
    duration: Option<f64>,
    /// At most 16 KiB and 8 levels. What stands under sensitive names is redacted.
    metadata: Option<BTreeMap<String, serde_json::Value>>,
    /// Also read from metadata.session_id.
    #[schema(min_length = 1, max_length = 255)]
    session_id: Option<String>,
    /// The client's own name for the event: a repeat is not stored.
    #[schema(min_length = 1, max_length = 64)]
    event_id: Option<String>,
}

/// An event as the first edition has it.
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

/// An event as the log holds it.
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

/// What a registration is answered with.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Registered {
    /// A single event.
    Record(Record),
    /// A single event of the first edition.
    FirstEdition(FirstEditionAnswer),
    /// A batch.
    Batch(BatchResults),
}

/// The first edition's answer.
#[derive(ToSchema)]
pub(crate) struct FirstEditionAnswer {
    #[schema(example = "log_1")]
    id: String,
    #[schema(example = "created")]
    status: String,
    /// When the log took the event in.
    timestamp: DateTime<Utc>,
}

/// What became of a batch's events.
#[derive(ToSchema)]
pub(crate) struct BatchResults {
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    /// With return=minimal only.
    #[schema(nullable = false)]
    first_id: Option<i64>,
    /// With return=minimal only.
    #[schema(nullable = false)]
    last_id: Option<i64>,
    results: Vec<EventResult>,
}

/// What became of one event.
#[derive(ToSchema)]
pub(crate) struct EventResult {
    /// Counts the batch's events from 0.
    index: u64,
    /// Counts an NDJSON body's lines from 1.
    #[schema(nullable = false)]
    line: Option<u64>,
    /// 201 stored, 200 a repeat, else the problem's.
    status: u16,
    #[schema(nullable = false)]
    id: Option<i64>,
    #[schema(nullable = false)]
    problem: Option<Problem>,
}

/// A problem (RFC 9457).
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// Leads to a page that explains it.
    #[schema(example = "/problems/invalid-event")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// The request's id, also in X-Request-Id.
    #[schema(nullable = false)]
    instance: Option<String>,
    #[schema(nullable = false)]
    errors: Option<Vec<ProblemError>>,
}

/// One fault.
#[derive(ToSchema)]
pub(crate) struct ProblemError {
    /// Where in the event (RFC 6901).
    #[schema(nullable = false, example = "/device_id")]
    pointer: Option<String>,
    /// Which query parameter.
    #[schema(nullable = false)]
    parameter: Option<String>,
    #[schema(example = "missing")]
    code: String,
    detail: String,
}

/// The filters of lists, streams and exports.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterParameters {
    /// Repeatable.
    device_id: Option<Vec<String>>,
    /// Repeatable.
    application_id: Option<Vec<String>>,
    /// Repeatable.
    connection_type: Option<Vec<String>>,
    /// Repeatable.
    status: Option<Vec<String>>,
    /// An address or a CIDR block.
    ip_address: Option<String>,
    session_id: Option<String>,
    /// Timestamps from here on.
    since: Option<DateTime<Utc>>,
    /// Timestamps before this.
    until: Option<DateTime<Utc>>,
    /// Seconds.
    min_duration: Option<f64>,
    /// Seconds.
    max_duration: Option<f64>,
}
