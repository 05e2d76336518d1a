//! `/webhooks/{id}/deliveries/`: what a webhook was told, tests, and telling it again.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::{DeliveryKey, DeliveryState, Webhook};

use super::handlers::parse_id;
use super::shapes::{self, Delivery, DeliveryAttempt, DeliveryWithAttempts, RedeliveredWebhook};
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::{Admin, Reader};
use crate::http::cursor::ListTag;
use crate::http::json_object::{self, Members};
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;
use crate::log::query::{RFC3339, RFC3339_IN_QUERY};

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'V');

/// The deliveries of a webhook, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{id}/deliveries/",
    operation_id = "webhook_delivery_list",
    tag = "Webhooks",
    params(
        ("id" = Uuid, Path, description = "The webhook's id"),
        ("state" = inline(Option<shapes::DeliveryStateName>), Query, description = "Only deliveries in this state"),
        PageParameters,
    ),
    responses(
        (status = 200, description = "A page", body = shapes::DeliveryPage),
        (status = 404, description = "The tenant has no such webhook",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn list(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let names: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.name()).collect();
    let state = parameters.parsed("state", &format!("one of {}", names.join(", ")))?;
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, id) = (caller.tenant(), parse_id(&id)?);
    let asked = query.clone();
    let page =
        App::of(&request).read(move |store| store.delivery_list(tenant, id, state, &asked)).await?;
    let key = |delivery: &conn_log_store::Delivery| delivery.key.id;
    let links = PageLinks::of(&request, LIST, &query.start, &page, key);
    Ok(links.respond(page.items.into_iter().map(|delivery| json(&Delivery::from(delivery)))))
}

/// A delivery with all of its attempts.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{id}/deliveries/{delivery_id}/",
    operation_id = "webhook_delivery_get",
    tag = "Webhooks",
    params(
        ("id" = Uuid, Path, description = "The webhook's id"),
        ("delivery_id" = i64, Path, minimum = 1, description = "The delivery's id"),
    ),
    responses(
        (status = 200, description = "The delivery", body = DeliveryWithAttempts),
        (status = 404, description = "The tenant has no such delivery",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn get(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let key = key(caller.tenant(), &path)?;
    let (delivery, attempts) = App::of(&request).read(move |store| store.delivery_get(key)).await?;
    let answer = DeliveryWithAttempts {
        delivery: delivery.into(),
        all_attempts: attempts.into_iter().map(DeliveryAttempt::from).collect(),
    };
    Ok(HttpResponse::Ok().content_type("application/json").body(json(&answer)))
}

fn key(tenant: conn_log_store::TenantId, path: &(String, String)) -> Result<DeliveryKey, Problem> {
    let none_such = |_| Problem::new(ProblemKind::NotFound, "there is no such delivery");
    Ok(DeliveryKey { tenant, webhook: parse_id(&path.0)?, id: path.1.parse().map_err(none_such)? })
}

/// Sends a delivery again, whatever its state. Its message id stays the same.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver/",
    operation_id = "webhook_delivery_redeliver",
    tag = "Webhooks",
    params(
        ("id" = Uuid, Path, description = "The webhook's id"),
        ("delivery_id" = i64, Path, minimum = 1, description = "The delivery's id"),
    ),
    responses(
        (status = 202, description = "The delivery, which is pending", body = Delivery),
        (status = 404, description = "The tenant has no such delivery",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The webhook is disabled",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn redeliver(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let key = key(caller.tenant(), &path)?;
    let app = App::of(&request);
    require_enabled(&app, key.tenant, key.webhook).await?;
    let delivery = app.read(move |store| store.delivery_redeliver(key)).await?;
    app.notifier.wake();
    Ok(accepted(&Delivery::from(delivery)))
}

/// Sends what a webhook missed: the changes of a time of which it has no delivery, or one that is
/// failed or cancelled.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/redeliver/",
    operation_id = "webhook_redeliver",
    tag = "Webhooks",
    params(
        ("id" = Uuid, Path, description = "The webhook's id"),
        ("since" = Option<DateTime<Utc>>, Query, description = "In place of the member"),
        ("until" = Option<DateTime<Utc>>, Query, description = "In place of the member"),
    ),
    request_body = shapes::RedeliverWebhook,
    responses(
        (status = 202, description = "Their number", body = RedeliveredWebhook),
        (status = 404, description = "The tenant has no such webhook",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value is invalid, or the webhook is disabled",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn redeliver_all(
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let asked =
        ["since", "until"].map(|name| parameters.read(name, RFC3339_IN_QUERY, Timestamp::parse));
    let [since, until] = asked;
    let asked = (since?, until?);
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (app, tenant, id) = (App::of(&request), caller.tenant(), parse_id(&id)?);
    let webhook = app.read(move |store| store.webhook_get(tenant, id)).await?;
    let (since, until) = if json_object::has_body(&request) {
        let body = json_object::read(&request, &mut payload).await?;
        read_span(Members::parse(&body)?, asked)?
    } else if asked.0.is_none() {
        return Err(Problem::parameter("since", "missing", "since is required".to_owned()));
    } else {
        read_span(Members::default(), asked)?
    };
    check_enabled(&webhook)?;
    let redelivered =
        app.read(move |store| store.deliveries_redeliver(tenant, id, since, until)).await?;
    app.notifier.wake();
    Ok(accepted(&RedeliveredWebhook {
        redelivered: redelivered.count,
        has_more: redelivered.has_more,
    }))
}

/// The time of a body. A time in the query goes before the body's.
fn read_span(
    mut members: Members<'_>,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
) -> Result<(Timestamp, Timestamp), Problem> {
    if since.is_none() && !members.has("since") {
        members.shape("/since".to_owned(), "missing", "this member is required");
    }
    let time = |text: &str| {
        Timestamp::parse(text).ok_or_else(|| ("invalid_timestamp", RFC3339.to_owned()))
    };
    let since = since.or(members.text_as("since", time));
    let until = until.or(members.text_as("until", time)).unwrap_or_else(now);
    if since.is_some_and(|since| since >= until) {
        members.value("/until".to_owned(), "out_of_range", "until is after since".into());
    }
    members.finish()?;
    Ok((since.unwrap_or(until), until))
}

fn now() -> Timestamp {
    Timestamp::from(chrono::Utc::now())
}

/// Sends a test. It is attempted once; the delivery tells what came of it.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/test/",
    operation_id = "webhook_test",
    tag = "Webhooks",
    params(("id" = Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 202, description = "The delivery, which is pending", body = Delivery),
        (status = 404, description = "The tenant has no such webhook",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The webhook is disabled",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn test(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, id) = (caller.tenant(), parse_id(&id)?);
    let app = App::of(&request);
    require_enabled(&app, tenant, id).await?;
    let delivery = app.read(move |store| store.webhook_test(tenant, id)).await?;
    app.notifier.wake();
    Ok(accepted(&Delivery::from(delivery)))
}

fn accepted(answer: &impl serde::Serialize) -> HttpResponse {
    HttpResponse::Accepted().content_type("application/json").body(json(answer))
}

/// A disabled webhook is told nothing.
///
/// # Errors
/// 422 for a webhook that is disabled, 404 for one that does not exist.
async fn require_enabled(
    app: &App,
    tenant: conn_log_store::TenantId,
    id: uuid::Uuid,
) -> Result<(), Problem> {
    check_enabled(&app.read(move |store| store.webhook_get(tenant, id)).await?)
}

fn check_enabled(webhook: &Webhook) -> Result<(), Problem> {
    match webhook.disabled {
        None => Ok(()),
        Some(_) => {
            let detail = "the webhook is disabled: enable it first";
            Err(Problem::new(ProblemKind::InvalidValue, detail))
        }
    }
}
