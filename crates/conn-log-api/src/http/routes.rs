//! Every address of the server, in one table.
//!
//! `configure` builds the server from it, and a test compares it with the OpenAPI document.

use actix_web::guard;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Responder, Route};

use crate::alerts;
use crate::control::{rules, tokens};
use crate::http::problem::{Problem, ProblemKind};
use crate::ingest::register;
use crate::log::{export, get, list, stream};
use crate::presence::{applications, devices};
use crate::running::{health, metrics};
use crate::site::{docs, home, problems};
use crate::webhooks::{deliveries, handlers as webhooks};
use crate::{rejects, sessions, silences, statistics};

/// One path and method.
pub(crate) struct Endpoint {
    /// The path without a trailing slash, except for the root. The server accepts both.
    pub(crate) path: &'static str,
    pub(crate) method: Method,
    route: Route,
}

const EVENTS: &str = "/api/v1/device_app_connection_log";

/// All endpoints. Those of the same path stand together.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get(EVENTS, list::list),
        post(EVENTS, register::register),
        post("/api/v1/device_app_connection_log/batch", register::register_batch),
        get("/api/v1/device_app_connection_log/export", export::export),
        get("/api/v1/device_app_connection_log/stream", stream::stream),
        // These come before the paths with an id: the first path that matches is used.
        get("/api/v1/device_app_connection_log/stats", statistics::stats),
        get("/api/v1/device_app_connection_log/{id}", get::get),
        get("/api/v1/devices", devices::list),
        get("/api/v1/devices/{device_id}", devices::get),
        get("/api/v1/applications", applications::list),
        get("/api/v1/applications/{application_id}", applications::get),
        get("/api/v1/sessions", sessions::list),
        get("/api/v1/rejects", rejects::list),
        get("/api/v1/rejects/{id}", rejects::get),
        delete("/api/v1/rejects/{id}", rejects::delete),
        get("/api/v1/tokens", tokens::list),
        post("/api/v1/tokens", tokens::create),
        delete("/api/v1/tokens/{id}", tokens::revoke),
        get("/api/v1/webhooks", webhooks::list),
        post("/api/v1/webhooks", webhooks::create),
        get("/api/v1/webhooks/{id}", webhooks::get),
        patch("/api/v1/webhooks/{id}", webhooks::update),
        delete("/api/v1/webhooks/{id}", webhooks::delete),
        post("/api/v1/webhooks/{id}/rotate_secret", webhooks::rotate_secret),
        post("/api/v1/webhooks/{id}/test", deliveries::test),
        post("/api/v1/webhooks/{id}/redeliver", deliveries::redeliver_all),
        get("/api/v1/webhooks/{id}/deliveries", deliveries::list),
        get("/api/v1/webhooks/{id}/deliveries/{delivery_id}", deliveries::get),
        post("/api/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver", deliveries::redeliver),
        get("/api/v1/silences", silences::list),
        post("/api/v1/silences", silences::create),
        get("/api/v1/silences/{id}", silences::get),
        delete("/api/v1/silences/{id}", silences::delete),
        get("/api/v1/alert_rules", rules::list),
        post("/api/v1/alert_rules", rules::create),
        // These come before the path with an id.
        post("/api/v1/alert_rules/preview", rules::preview),
        post("/api/v1/alert_rules/install", rules::install),
        get("/api/v1/alert_rules/{id}", rules::get),
        patch("/api/v1/alert_rules/{id}", rules::change),
        delete("/api/v1/alert_rules/{id}", rules::delete),
        get("/api/v1/alerts", alerts::list),
        get("/api/v1/alerts/{id}", alerts::get),
        post("/api/v1/alerts/{id}/acknowledge", alerts::acknowledge),
        post("/api/v1/alerts/{id}/resolve", alerts::resolve),
        get("/", home::home),
        get("/healthz", health::healthz),
        get("/readyz", health::readyz),
        get("/metrics", metrics::metrics),
        get("/openapi.json", docs::openapi_json),
        get("/docs", docs::page),
        get("/docs/{file}", docs::file),
        get("/problems", problems::index),
        get("/problems/{slug}", problems::page),
    ]
}

fn get<F, Args>(path: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let route = web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler);
    Endpoint { path, method: Method::GET, route }
}

fn post<F, Args>(path: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Endpoint { path, method: Method::POST, route: web::post().to(handler) }
}

fn patch<F, Args>(path: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Endpoint { path, method: Method::PATCH, route: web::patch().to(handler) }
}

fn delete<F, Args>(path: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Endpoint { path, method: Method::DELETE, route: web::delete().to(handler) }
}

/// Adds every route to a server, each with and without its trailing slash.
pub(crate) fn register(config: &mut ServiceConfig) {
    let mut endpoints = endpoints().into_iter().peekable();
    while let Some(Endpoint { path, method, route }) = endpoints.next() {
        let mut resource = web::resource(spellings(path)).route(route);
        let mut methods = vec![method];
        while let Some(more) = endpoints.next_if(|endpoint| endpoint.path == path) {
            resource = resource.route(more.route);
            methods.push(more.method);
        }
        let allow = allow(&methods);
        config.service(
            resource
                .default_service(web::to(move || std::future::ready(method_not_allowed(&allow)))),
        );
    }
    config.default_service(web::to(|| async { not_found() }));
}

/// A path with and without its trailing slash.
fn spellings(path: &str) -> Vec<String> {
    let path = path.trim_end_matches('/');
    if path.is_empty() { vec!["/".to_owned()] } else { vec![path.to_owned(), format!("{path}/")] }
}

fn allow(methods: &[Method]) -> String {
    let names = methods.iter().flat_map(|method| match *method {
        Method::GET => vec!["GET", "HEAD"],
        Method::POST => vec!["POST"],
        Method::PATCH => vec!["PATCH"],
        Method::DELETE => vec!["DELETE"],
        _ => vec![],
    });
    names.collect::<Vec<_>>().join(", ")
}

fn method_not_allowed(allow: &str) -> Result<HttpResponse, Problem> {
    let detail = format!("this address takes {allow}");
    Err(Problem::new(ProblemKind::MethodNotAllowed, detail)
        .with_header(actix_web::http::header::ALLOW, allow))
}

fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::new(ProblemKind::NotFound, "there is nothing at this address"))
}
