//! The OpenAPI document, assembled from the handlers and the types of their requests and answers.
//!
//! Each module describes its own requests and answers. The problems common to many operations are in
//! [`problems`], and the names that a deployment adds come in by [`document`]. Tests compare the
//! document with the server's routes, its limits and its real answers.

pub(crate) mod problems;

use conn_log_core::EventPolicy;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Required, Schema};
use utoipa::{Modify, OpenApi};

use self::problems::CommonProblems;
pub(crate) use self::problems::Problem;

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
        crate::ingest::register::register_batch,
        crate::log::get::get,
        crate::log::stream::stream,
        crate::log::export::export,
        crate::statistics::stats,
        crate::presence::devices::list,
        crate::presence::devices::get,
        crate::presence::applications::list,
        crate::presence::applications::get,
        crate::sessions::list,
        crate::rejects::list,
        crate::rejects::get,
        crate::rejects::delete,
        crate::control::tokens::list,
        crate::control::tokens::create,
        crate::control::tokens::revoke,
        crate::webhooks::handlers::list,
        crate::webhooks::handlers::create,
        crate::webhooks::handlers::get,
        crate::webhooks::handlers::update,
        crate::webhooks::handlers::delete,
        crate::webhooks::handlers::rotate_secret,
        crate::webhooks::deliveries::test,
        crate::webhooks::deliveries::redeliver_all,
        crate::webhooks::deliveries::list,
        crate::webhooks::deliveries::get,
        crate::webhooks::deliveries::redeliver,
        crate::silences::list,
        crate::silences::create,
        crate::silences::get,
        crate::silences::delete,
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
    modifiers(&Bearer, &CommonProblems, &NoNullParameters, &OptionalBodies),
)]
struct ApiDoc;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
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

/// Says of which operations the body may be left out.
struct OptionalBodies;

impl Modify for OptionalBodies {
    fn modify(&self, document: &mut Document) {
        for operation in document.paths.paths.values_mut().flat_map(problems::operations) {
            let id = operation.operation_id.as_deref().unwrap_or_default();
            if ["alert_acknowledge", "alert_resolve", "webhook_redeliver"].contains(&id)
                && let Some(RefOr::T(body)) = &mut operation.request_body
            {
                body.required = Some(Required::False);
            }
        }
    }
}

/// Takes `null` out of the types of parameters. An optional parameter is left out; none is null.
struct NoNullParameters;

impl Modify for NoNullParameters {
    fn modify(&self, document: &mut Document) {
        let operations = document.paths.paths.values_mut().flat_map(problems::operations);
        let parameters = operations.flat_map(|operation| operation.parameters.iter_mut().flatten());
        let schemas = parameters.filter_map(|parameter| match parameter {
            RefOr::T(parameter) => parameter.schema.as_mut(),
            RefOr::Ref(_) => None,
        });
        for schema in schemas {
            if let Some(Object { schema_type: SchemaType::Array(types), .. }) = object(schema) {
                types.retain(|of_type| *of_type != Type::Null);
            }
        }
    }
}

/// The document of a server with this policy, as JSON. The names of connection types and statuses
/// that an event may have are the policy's. Records may have others, from the time of another
/// policy.
///
/// # Errors
/// None is known: every part of the document can be written as JSON.
pub(crate) fn document(policy: &EventPolicy) -> Result<String, serde_json::Error> {
    let mut document = ApiDoc::openapi();
    take_names(&mut document, "connection_type", policy.connection_types());
    take_names(&mut document, "status", policy.statuses());
    serde_json::to_string(&document)
}

/// Sets the values that a member of an event may have.
fn take_names<'n>(document: &mut Document, member: &str, names: impl Iterator<Item = &'n str>) {
    if let Some(member) = event_member(document, member) {
        member.enum_values = Some(names.map(serde_json::Value::from).collect());
    }
}

fn event_member<'d>(document: &'d mut Document, name: &str) -> Option<&'d mut Object> {
    let event = object(document.components.as_mut()?.schemas.get_mut("Event")?)?;
    object(event.properties.get_mut(name)?)
}

fn object(schema: &mut RefOr<Schema>) -> Option<&mut Object> {
    match schema {
        RefOr::T(Schema::Object(object)) => Some(object),
        _ => None,
    }
}
