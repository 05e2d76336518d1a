//! `GET /device_app_connection_log/{id}/`: one record.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;

/// One record, by its id or by the first edition's `log_<id>`.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/{id}/",
    operation_id = "event_get",
    tag = "Events",
    params(("id" = String, Path, pattern = "^(log_)?[0-9]+$", description = "The record's id, such as 12 or log_12")),
    responses(
        (status = 200, description = "The record", body = crate::log::shapes::EventRecord),
        (status = 404, description = "No such record in the token's log",
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
    let no_such = || Problem::new(ProblemKind::NotFound, "there is no such record in this log");
    let id = parse_id(&id).ok_or_else(no_such)?;
    let record = App::of(&request).read(move |store| store.event_get(caller.tenant(), id)).await?;
    let record = record.ok_or_else(no_such)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(record.to_json()))
}

/// Parses an id in the form of either edition.
pub(crate) fn parse_id(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("log_").unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}
