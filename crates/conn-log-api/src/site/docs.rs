//! `/openapi.json` and `/docs`: the contract for programs, and a page to try it.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::Config;

use crate::http::answers::HeldAnyway;
use crate::http::app::App;
use crate::http::openapi;
use crate::http::problem::{Problem, ProblemKind};

/// The OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi_get", tag = "Running",
    responses((status = 200, description = "This document",
        body = BTreeMap<String, serde_json::Value>)))]
pub(crate) async fn openapi_json(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
    let make = || openapi::document(&app.options.policy).map(Bytes::from);
    let document = app.openapi.get_or_init(make).as_ref().map_err(Problem::internal)?.clone();
    Ok(held_anyway(HttpResponse::Ok().content_type("application/json").body(document)))
}

/// A page to read the contract and to try it.
#[utoipa::path(get, path = "/docs", operation_id = "docs_page", tag = "Running",
    responses((status = 200, description = "A page to try the API", content_type = "text/html")))]
pub(crate) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(PAGE)
}

/// The page's own files, all of them built in.
#[utoipa::path(get, path = "/docs/{file}", operation_id = "docs_file", tag = "Running",
    params(("file" = String, Path, description = "A file of the page")),
    responses(
        (status = 200, description = "The file"),
        (status = 404, description = "The page has no such file",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn file(file: web::Path<String>) -> Result<HttpResponse, Problem> {
    if file.as_str() == "start.js" {
        return Ok(HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(START));
    }
    let served = utoipa_swagger_ui::serve(&file, Arc::new(Config::from("/openapi.json")));
    match served.map_err(|error| Problem::internal(&*error))? {
        Some(file) => {
            let mut response = HttpResponse::Ok();
            response.content_type(file.content_type);
            Ok(match file.bytes {
                Cow::Borrowed(bytes) => held_anyway(response.body(Bytes::from_static(bytes))),
                Cow::Owned(bytes) => response.body(bytes),
            })
        }
        None => Err(Problem::new(ProblemKind::NotFound, "the page has no such file")),
    }
}

/// Marks an answer whose bytes are in memory once, however many clients ask for them.
fn held_anyway(mut response: HttpResponse) -> HttpResponse {
    response.extensions_mut().insert(HeldAnyway);
    response
}

/// The page's HTML. Every address in it is absolute, so that the page works with and without its
/// trailing slash.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>conn-log API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

/// Starts Swagger UI. In a file of its own, so that the page needs no script within it.
const START: &str = include_str!("docs.js");

/// Scripts and requests of this server alone. Swagger UI sets style attributes, and its pictures are in its style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
