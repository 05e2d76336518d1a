//! `/`: a description of the server and links to its other pages.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::html;
use crate::http::accept;
use crate::http::problem::Problem;

const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// The name, version and addresses of this server.
#[derive(Serialize, ToSchema)]
pub(crate) struct About {
    #[schema(example = "conn-log")]
    name: &'static str,
    version: &'static str,
    /// The address for registering and reading events.
    #[schema(example = "/api/v1/device_app_connection_log/")]
    events: &'static str,
    /// A page to read the contract and to try it.
    #[schema(example = "/docs")]
    docs: &'static str,
    #[schema(example = "/openapi.json")]
    openapi: &'static str,
    /// Every kind of problem, explained.
    #[schema(example = "/problems/")]
    problems: &'static str,
    #[schema(example = "/healthz")]
    health: &'static str,
    #[schema(example = "/readyz")]
    ready: &'static str,
    #[schema(example = "/metrics")]
    metrics: &'static str,
}

const ABOUT: About = About {
    name: "conn-log",
    version: env!("CARGO_PKG_VERSION"),
    events: "/api/v1/device_app_connection_log/",
    docs: "/docs",
    openapi: "/openapi.json",
    problems: "/problems/",
    health: "/healthz",
    ready: "/readyz",
    metrics: "/metrics",
};

/// The name, version and addresses of this server: HTML for browsers, JSON for programs.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "home",
    tag = "Running",
    responses((status = 200, description = "The name, version and addresses of this server",
        content((About = "application/json"), (String = "text/html")))),
)]
pub(crate) async fn home(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut response = if accept::prefers(&request, HTML, JSON) {
        let body = include_str!("home.html");
        html::page(
            ABOUT.name,
            &body.replace("{version}", ABOUT.version).replace("{events}", ABOUT.events),
        )
    } else {
        accept::require(&request, JSON)?;
        let mut response = HttpResponse::Ok();
        response.json(ABOUT)
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
