//! `/silences/`: alerts of which no webhook is told for a time.

mod body;
mod shapes;

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::Created;
use uuid::Uuid;

use self::shapes::Silence;
use crate::control::rules;
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::{Admin, Reader};
use crate::http::cursor::ListTag;
use crate::http::idempotency::{self, CreatedAnswer, IdempotencyKey, Keyed};
use crate::http::json_object::{self, Members};
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'Q');

/// The tenant's silences, newest first. Those that are over stay for 30 days.
#[utoipa::path(
    get,
    path = "/api/v1/silences/",
    operation_id = "silence_list",
    tag = "Webhooks",
    params(PageParameters),
    responses((status = 200, description = "A page", body = shapes::SilencePage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page = App::of(&request).read(move |store| store.silence_list(tenant, &asked)).await?;
    let links = PageLinks::of(&request, LIST, &query.start, &page, conn_log_store::Silence::place);
    Ok(links.respond(page.items.iter().map(|silence| json(&Silence::from(silence)))))
}

/// Creates a silence: no webhook is told of the alerts that it covers, until its end. The alerts
/// are recorded all the same, and the end of an alert that a webhook was told of is told.
#[utoipa::path(
    post,
    path = "/api/v1/silences/",
    operation_id = "silence_create",
    tag = "Webhooks",
    params(IdempotencyKey),
    request_body = shapes::NewSilence,
    responses(
        (status = 201, description = "The silence", body = Silence<'_>),
        (status = 422, description = "A value is invalid, there is no such rule, the tenant has the maximum number of silences, or the key belongs to another body",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn create(
    request: HttpRequest,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let body = json_object::read(&request, &mut payload).await?;
    let (app, tenant) = (App::of(&request), caller.tenant());
    let keyed = Keyed::of(&request, "/api/v1/silences/", &body)?;
    if let Some(answer) = keyed.answered(&app, tenant).await? {
        return Ok(answer.into_replayed());
    }
    let now = Timestamp::from(chrono::Utc::now());
    let new = body::read(Members::parse(&body)?, caller.token().id, now)?;
    rules::require(&app, tenant, "/rule_id", new.rule_id.iter().cloned().collect()).await?;
    let once = keyed.once(|silence| created(silence).to_bytes());
    match app.read(move |store| store.silence_create_once(tenant, new, once)).await? {
        Created::New(silence) => Ok(created(&silence).into_response()),
        Created::Repeated(repeated) => Ok(idempotency::replay(repeated)?.into_replayed()),
    }
}

fn created(silence: &conn_log_store::Silence) -> CreatedAnswer {
    CreatedAnswer {
        location: format!("/api/v1/silences/{}/", silence.id),
        etag: None,
        body: json(&Silence::from(silence)),
    }
}

/// A silence. One that is over stays for 30 days.
#[utoipa::path(
    get,
    path = "/api/v1/silences/{id}/",
    operation_id = "silence_get",
    tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The silence's id")),
    responses(
        (status = 200, description = "The silence", body = Silence<'_>),
        (status = 404, description = "The tenant has no such silence",
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
    let (tenant, id) = (caller.tenant(), parse_id(&id)?);
    let silence = App::of(&request).read(move |store| store.silence_get(tenant, id)).await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(json(&Silence::from(&silence))))
}

/// Ends a silence at once.
#[utoipa::path(
    delete,
    path = "/api/v1/silences/{id}/",
    operation_id = "silence_delete",
    tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The silence's id")),
    responses(
        (status = 204, description = "It is over"),
        (status = 404, description = "The tenant has no such silence",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    let (tenant, id) = (caller.tenant(), parse_id(&id)?);
    App::of(&request).read(move |store| store.silence_delete(tenant, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The id in the path of a silence. One that is no UUID names none.
fn parse_id(id: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| Problem::new(ProblemKind::NotFound, "there is no such silence"))
}
