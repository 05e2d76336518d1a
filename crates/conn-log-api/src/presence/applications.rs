//! `GET /applications/` and `GET /applications/{application_id}/`: presence of applications.

use actix_web::{HttpRequest, HttpResponse, web};
use conn_log_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::derived_list;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;

/// An application, as the log knows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Application<'a> {
    application_id: &'a str,
    /// The earliest timestamp of its events.
    #[schema(value_type = DateTime<Utc>)]
    first_seen: Timestamp,
    /// The latest: a late event does not move it back.
    #[schema(value_type = DateTime<Utc>)]
    last_seen: Timestamp,
    /// Devices that it was used from.
    devices: i64,
    events: i64,
    /// Events with another status than success.
    failures: i64,
    open_sessions: i64,
}

impl<'a> From<&'a conn_log_store::Application> for Application<'a> {
    fn from(application: &'a conn_log_store::Application) -> Self {
        Application {
            application_id: &application.application_id,
            first_seen: application.first_seen,
            last_seen: application.last_seen,
            devices: application.devices,
            events: application.events,
            failures: application.failures,
            open_sessions: application.open_sessions,
        }
    }
}

/// A page of applications.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct ApplicationPage<'a> {
    results: Vec<Application<'a>>,
    #[schema(required)]
    next: Option<String>,
    #[schema(required)]
    previous: Option<String>,
}

/// The applications that the log knows, by id.
#[utoipa::path(
    get,
    path = "/api/v1/applications/",
    tag = "Presence",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 1,000; 100 unless given"),
        ("cursor" = Option<String>, Query, description = "From a page's next or previous"),
    ),
    responses(
        (status = 200, description = "A page", body = ApplicationPage<'_>),
        (status = 400, description = "A parameter is unknown or has a value it does not take",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let query = derived_list::page_query(&mut parameters, derived_list::name_of)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page = App::of(&request).read(move |store| store.application_list(tenant, &asked)).await?;
    Ok(derived_list::respond(
        &request,
        &query,
        &page,
        |application| application.application_id.clone().into_bytes(),
        Application::from,
    ))
}

/// One application.
#[utoipa::path(
    get,
    path = "/api/v1/applications/{application_id}/",
    tag = "Presence",
    params(("application_id" = String, Path, description = "The application's id")),
    responses(
        (status = 200, description = "The application", body = Application<'_>),
        (status = 404, description = "No event of such an application is in the token's log",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let no_such =
        || Problem::new(ProblemKind::NotFound, "there is no such application in this log");
    let id = derived_list::name_of(id.as_bytes()).ok_or_else(no_such)?;
    let application =
        App::of(&request).read(move |store| store.application_get(caller.tenant(), &id)).await?;
    Ok(HttpResponse::Ok().json(Application::from(&application.ok_or_else(no_such)?)))
}
