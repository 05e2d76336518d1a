//! The OpenAPI document, assembled from the handlers and the types of their requests and answers.
//!
//! Each module describes its own requests and answers; the answers common to all are here. Tests
//! compare the document with the server's routes and its real answers.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

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
        crate::control::tokens::list,
        crate::control::tokens::create,
        crate::control::tokens::revoke,
        crate::control::rules::list,
        crate::control::rules::create,
        crate::control::rules::preview,
        crate::control::rules::install,
        crate::control::rules::get,
        crate::control::rules::change,
        crate::control::rules::delete,
        crate::alerts::list,
        crate::alerts::get,
        crate::alerts::acknowledge,
        crate::alerts::resolve,
        crate::site::home::home,
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
    ("429", "The client's address has failed to authenticate too often; Retry-After"),
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
                    add_problems(operation, OF_REGISTRATIONS);
                    add_problems(operation, OF_ALL);
                }
                if let Some(operation) = &mut item.patch {
                    add_problems(operation, OF_REGISTRATIONS);
                    add_problems(operation, OF_ALL);
                }
                if let Some(operation) = &mut item.delete {
                    add_problems(operation, OF_ALL);
                }
            }
        }
    }
}

/// Adds the problems that the operation does not describe itself.
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

/// A problem (RFC 9457).
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct Problem {
    /// The address of a page that explains the problem.
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
    /// Only with event-id-conflict: the id of the stored event that has this event_id.
    #[schema(nullable = false, example = 12847)]
    id: Option<i64>,
}

/// One fault.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct ProblemError {
    /// A JSON Pointer to the fault in the event or the body (RFC 6901).
    #[schema(nullable = false, example = "/device_id")]
    pointer: Option<String>,
    /// The name of the query parameter at fault.
    #[schema(nullable = false)]
    parameter: Option<String>,
    #[schema(example = "missing")]
    code: String,
    detail: String,
}
