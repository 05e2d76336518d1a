//! Problems in the OpenAPI document: their schema, and the problems that many operations share.
//!
//! An operation describes only the problems that are its own, such as its 404. The others come from
//! what it is: with a token, with a body, or any.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, ToSchema};

use crate::http::problem::PROBLEM_JSON;

/// Statuses with their descriptions.
type Described = &'static [(&'static str, &'static str)];

/// The problems of every operation.
const OF_ALL: Described = &[
    ("406", "Accept or Accept-Encoding leaves out what this answers with"),
    ("500", "The server failed; its log has the cause under the request id"),
];

/// The problems of every operation that needs a token.
const WITH_TOKEN: Described = &[
    ("400", "The request's shape is wrong, or a parameter is not taken"),
    ("401", "No valid token"),
    ("403", "The token lacks the scope"),
    ("429", "Over a rate: the token's, or that of failed authentications from this address"),
    ("503", "Too much to do, or the store cannot be reached"),
];

/// The problems of every operation that takes a body.
const WITH_BODY: Described = &[
    ("408", "The body took too long to arrive"),
    ("413", "Too many bytes, as sent or decompressed, or too many events"),
    ("415", "The body's type or encoding is not taken"),
    ("422", "The shape is right, and a value is not taken"),
];

/// Adds to each operation the common problems that it does not describe itself.
pub(super) struct CommonProblems;

impl Modify for CommonProblems {
    fn modify(&self, document: &mut OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            if operation.request_body.is_some() {
                add_problems(operation, WITH_BODY);
            }
            if operation.security.is_some() {
                add_problems(operation, WITH_TOKEN);
            }
            add_problems(operation, OF_ALL);
            add_headers(operation);
        }
    }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

fn add_problems(operation: &mut Operation, problems: Described) {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    for (status, description) in problems {
        let problem = ResponseBuilder::new().description(*description);
        let problem = problem.content(PROBLEM_JSON, content.clone()).build();
        operation.responses.responses.entry((*status).to_owned()).or_insert(problem.into());
    }
}

/// Adds the headers that go with a status.
fn add_headers(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let (name, of_type, description) = match status.as_str() {
            "401" => ("WWW-Authenticate", Type::String, "Bearer"),
            "429" | "503" => ("Retry-After", Type::Integer, "Seconds to wait before another try"),
            _ => continue,
        };
        if let RefOr::T(response) = response {
            let schema = ObjectBuilder::new().schema_type(of_type).build();
            let header = HeaderBuilder::new().description(Some(description)).schema(Some(schema));
            response.headers.entry(name.to_owned()).or_insert(RefOr::T(header.build()));
        }
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
    #[schema(minimum = 400, maximum = 599)]
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
