//! `/webhooks/`: the webhooks of a tenant.
//!
//! A secret appears only in the answer to the request that made it.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::{Created, Scope, TenantId};
use uuid::Uuid;

use super::body;
use super::shapes::{self, Webhook, WebhookWithSecret};
use crate::control::rules;
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::{Admin, Reader};
use crate::http::cursor::ListTag;
use crate::http::entity_tag::IfMatch;
use crate::http::idempotency::{self, CreatedAnswer, IdempotencyKey, Keyed};
use crate::http::json_object::{self, Members};
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::patch;
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;

/// The address of the webhooks.
const ADDRESS: &str = "/api/v1/webhooks/";

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'W');

/// The place of the rules that a webhook is told of.
const FILTERED_RULES: &str = "/filter/rule_id";

/// The id in the path of a webhook. One that is no UUID names none.
pub(super) fn parse_id(id: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| Problem::new(ProblemKind::NotFound, "there is no such webhook"))
}

/// The tenant's webhooks, newest first, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/",
    operation_id = "webhook_list",
    tag = "Webhooks",
    params(PageParameters),
    responses((status = 200, description = "A page", body = shapes::WebhookPage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let is_admin = caller.token().allows(Scope::Admin);
    let page = App::of(&request).read(move |store| store.webhook_list(tenant, &asked)).await?;
    let key = conn_log_store::Webhook::place;
    let links = PageLinks::of(&request, LIST, &query.start, &page, key);
    Ok(links.respond(page.items.iter().map(|webhook| json(&Webhook::of(webhook, is_admin)))))
}

/// Creates a webhook, which is told of the changes that come after. Only this answer contains the
/// secret.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/",
    operation_id = "webhook_create",
    tag = "Webhooks",
    params(IdempotencyKey),
    request_body = shapes::NewWebhook,
    responses(
        (status = 201, description = "The webhook, with its secret", body = WebhookWithSecret),
        (status = 422, description = "A value is invalid, the address is inside the deployment, there is no such \
            rule, the tenant has the maximum number of webhooks, or the key belongs to another body",
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
    let keyed = Keyed::of(&request, ADDRESS, &body)?;
    if let Some(answer) = keyed.answered(&app, tenant).await? {
        return replayed(&app, tenant, answer).await;
    }
    let new = body::read_new(Members::parse(&body)?, app.notifier.guard())?;
    rules::require(&app, tenant, FILTERED_RULES, new.filter.rule_ids.clone()).await?;
    let once = keyed.once(|webhook| created(webhook).to_bytes());
    match app.read(move |store| store.webhook_create_once(tenant, new, once)).await? {
        Created::New(webhook) => Ok(told_once(created(&webhook), &webhook)),
        Created::Repeated(repeated) => replayed(&app, tenant, idempotency::replay(repeated)?).await,
    }
}

/// The answer that is kept for a repeat. The secret is kept with the webhook only.
fn created(webhook: &conn_log_store::Webhook) -> CreatedAnswer {
    CreatedAnswer {
        location: format!("{ADDRESS}{}/", webhook.id),
        etag: Some(shapes::tag(webhook)),
        body: json(&Webhook::of(webhook, true)),
    }
}

/// The answer to a new webhook's request, with its secret.
fn told_once(mut answer: CreatedAnswer, webhook: &conn_log_store::Webhook) -> HttpResponse {
    let secret = json(&webhook.secret.reveal());
    if let Some(members) = answer.body.strip_suffix('}') {
        answer.body = format!(r#"{members},"secret":{secret}}}"#);
    }
    let mut response = answer.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a repeat, with the secret that the webhook has now.
async fn replayed(
    app: &App,
    tenant: TenantId,
    answer: CreatedAnswer,
) -> Result<HttpResponse, Problem> {
    let id = answer.location.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let id = parse_id(id)?;
    let webhook = app.read(move |store| store.webhook_get(tenant, id)).await?;
    let mut response = told_once(answer, &webhook);
    idempotency::mark_replayed(&mut response);
    Ok(response)
}

fn with_secret(
    response: &mut actix_web::HttpResponseBuilder,
    webhook: &conn_log_store::Webhook,
) -> HttpResponse {
    let secret = webhook.secret.reveal().to_owned();
    let answer = WebhookWithSecret { webhook: Webhook::of(webhook, true), secret };
    response
        .insert_header((header::ETAG, shapes::tag(webhook)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(json(&answer))
}

/// A webhook, without its secret.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{id}/",
    operation_id = "webhook_get",
    tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "The webhook", body = Webhook),
        (status = 404, description = "The tenant has no such webhook",
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
    let webhook = App::of(&request).read(move |store| store.webhook_get(tenant, id)).await?;
    Ok(answer(&webhook, caller.token().allows(Scope::Admin)))
}

fn answer(webhook: &conn_log_store::Webhook, is_admin: bool) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::ETAG, shapes::tag(webhook)))
        .content_type("application/json")
        .body(json(&Webhook::of(webhook, is_admin)))
}

/// Changes a webhook. A body of the type application/merge-patch+json (RFC 7396) is merged into the filter, JSON
/// replaces it. One that is disabled has its pending deliveries cancelled. With If-Match a webhook that was
/// changed meanwhile stays as it is.
#[utoipa::path(
    patch,
    path = "/api/v1/webhooks/{id}/",
    operation_id = "webhook_update",
    tag = "Webhooks",
    params(
        ("id" = Uuid, Path, description = "The webhook's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the webhook that is meant"),
    ),
    request_body = shapes::WebhookChange,
    responses(
        (status = 200, description = "The webhook as it is now", body = Webhook),
        (status = 409, description = "The webhook was changed meanwhile",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The tenant has no such webhook",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value is invalid, the address is inside the deployment, or there is no such rule",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn update(
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, id) = (caller.tenant(), parse_id(&id)?);
    let (body, patch) = patch::read(&request, &mut payload).await?;
    let members = Members::parse(&body)?;
    let (app, if_match) = (App::of(&request), IfMatch::of(&request));
    let webhook = app.read(move |store| store.webhook_get(tenant, id)).await?;
    if_match.require(&shapes::tag(&webhook))?;
    let change = body::read_change(members, &webhook, patch, app.notifier.guard())?;
    if let Some(filter) = &change.filter {
        // A rule may have been deleted since the webhook was told of it.
        let is_new = |id: &&serde_json::Value| !webhook.filter.rule_ids.contains(id);
        let new = filter.rule_ids.iter().filter(is_new).cloned().collect();
        rules::require(&app, tenant, FILTERED_RULES, new).await?;
    }
    let change = move |webhook: &conn_log_store::Webhook| {
        if_match.require(&shapes::tag(webhook)).map(|()| change)
    };
    let webhook = app.read(move |store| store.webhook_update(tenant, id, change)).await??;
    app.notifier.wake();
    Ok(answer(&webhook, true))
}

/// Deletes a webhook with its deliveries. With If-Match a webhook that was changed meanwhile stays.
#[utoipa::path(
    delete,
    path = "/api/v1/webhooks/{id}/",
    operation_id = "webhook_delete",
    tag = "Webhooks",
    params(
        ("id" = Uuid, Path, description = "The webhook's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the webhook that is meant"),
    ),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 409, description = "The webhook was changed meanwhile",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The tenant has no such webhook",
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
    let (store, if_match) = (App::of(&request).store.clone(), IfMatch::of(&request));
    let check = move |webhook: &conn_log_store::Webhook| if_match.require(&shapes::tag(webhook));
    // Runs to the end even if the client disconnects.
    web::block(move || store.webhook_delete(tenant, id, check)).await?.map_err(Problem::from)??;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives a webhook a new secret. For 24 hours the one before it signs too. Only this answer contains
/// the new secret.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/rotate_secret/",
    operation_id = "webhook_rotate_secret",
    tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "The webhook, with its new secret", body = WebhookWithSecret),
        (status = 404, description = "The tenant has no such webhook",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn rotate_secret(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, id) = (caller.tenant(), parse_id(&id)?);
    let app = App::of(&request);
    let webhook = app.read(move |store| store.webhook_rotate_secret(tenant, id)).await?;
    Ok(with_secret(&mut HttpResponse::Ok(), &webhook))
}
