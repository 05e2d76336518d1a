//! `/rejects/`: refused events that were kept with their problem, for senders that cannot be taught.

mod codes;
mod shapes;

use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::RejectFilter;
use uuid::Uuid;

use self::shapes::Reject;
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::{Admin, Reader};
use crate::http::cursor::ListTag;
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;
use crate::log::query::RFC3339_IN_QUERY;

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'R');

/// Refused events that were kept, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/rejects/",
    operation_id = "reject_list",
    tag = "Rejects",
    params(
        ("since" = Option<DateTime<Utc>>, Query, description = "Refused at this time or later"),
        ("until" = Option<DateTime<Utc>>, Query, description = "Refused before this time"),
        ("code" = Option<String>, Query,
            description = "The code of a fault, such as unknown_value, or the kind of the problem, such as invalid-event"),
        ("token_id" = Option<Uuid>, Query, description = "Sent with this token"),
        PageParameters,
    ),
    responses((status = 200, description = "A page", body = shapes::RejectPage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let filter = RejectFilter {
        since: parameters.read("since", RFC3339_IN_QUERY, Timestamp::parse)?,
        until: parameters.read("until", RFC3339_IN_QUERY, Timestamp::parse)?,
        code: codes::read(&mut parameters)?,
        token_id: parameters.read("token_id", "a token's id", |text| Uuid::try_parse(text).ok())?,
    };
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page =
        App::of(&request).read(move |store| store.reject_list(tenant, &filter, &asked)).await?;
    let links = PageLinks::of(&request, LIST, &query.start, &page, conn_log_store::Reject::place);
    Ok(links.respond(page.items.iter().map(|reject| json(&Reject::from(reject)))))
}

/// One refused event that was kept.
#[utoipa::path(
    get,
    path = "/api/v1/rejects/{id}/",
    operation_id = "reject_get",
    tag = "Rejects",
    params(("id" = i64, Path, minimum = 1, description = "The reject's id")),
    responses(
        (status = 200, description = "The reject", body = Reject<'_>),
        (status = 404, description = "There is no such reject",
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
    let (tenant, id) = (caller.tenant(), number(&id)?);
    let reject = App::of(&request).read(move |store| store.reject_get(tenant, id)).await?;
    let reject = reject.ok_or_else(none_such)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(json(&Reject::from(&reject))))
}

/// Removes a reject, for example once its event was corrected and sent again.
#[utoipa::path(
    delete,
    path = "/api/v1/rejects/{id}/",
    operation_id = "reject_delete",
    tag = "Rejects",
    params(("id" = i64, Path, minimum = 1, description = "The reject's id")),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "There is no such reject",
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
    let (tenant, id) = (caller.tenant(), number(&id)?);
    App::of(&request).read(move |store| store.reject_delete(tenant, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn number(id: &str) -> Result<i64, Problem> {
    let is_digits = id.bytes().all(|byte| byte.is_ascii_digit());
    id.parse().ok().filter(|_| is_digits).ok_or_else(none_such)
}

fn none_such() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such reject")
}
