//! `/healthz` and `/readyz`: for supervisors and load balancers.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::Store;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::problem::{Problem, ProblemKind};

/// Time limit of the readiness check. A load balancer has given up by then.
const READY_TIME_MAX: Duration = Duration::from_secs(3);

/// That the process lives.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: String,
}

/// That requests can be served.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct Readiness {
    #[schema(example = "ready")]
    status: String,
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "Running",
    responses((status = 200, description = "The process answers", body = Health)))]
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ok"}"#)
}

/// Ready: the store answers, and its migrations are this program's.
#[utoipa::path(get, path = "/readyz", operation_id = "readiness", tag = "Running",
    responses(
        (status = 200, description = "Requests can be served", body = Readiness),
        (status = 503, description = "The store cannot be reached",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn readyz(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
    let Ok(ready) = timeout(READY_TIME_MAX, app.read(Store::ready)).await else {
        let detail = "the store does not answer in time";
        return Err(Problem::new(ProblemKind::StoreUnavailable, detail)
            .with_header(header::RETRY_AFTER, "5"));
    };
    ready?;
    Ok(HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ready"}"#))
}
