//! `/healthz` and `/readyz`: for whoever starts, stops and routes to servers.

use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::problem::Problem;

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "Running",
    responses((status = 200, description = "The process answers")))]
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ok"}"#)
}

/// Ready: the store answers, and its migrations are this program's.
#[utoipa::path(get, path = "/readyz", tag = "Running",
    responses(
        (status = 200, description = "Requests can be served"),
        (status = 503, description = "The store cannot be reached",
            body = crate::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn readyz(request: HttpRequest) -> Result<HttpResponse, Problem> {
    App::of(&request).read(conn_log_store::Store::ready).await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ready"}"#))
}
