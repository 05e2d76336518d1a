//! `/openapi.json` and `/docs`: the contract for programs, and a page to try it.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes};
use utoipa::OpenApi as _;
use utoipa_swagger_ui::Config;

use crate::http::answers::HeldAnyway;
use crate::http::openapi::ApiDoc;
use crate::http::problem::{Problem, ProblemKind};

static DOCUMENT: LazyLock<Result<String, serde_json::Error>> =
    LazyLock::new(|| serde_json::to_string(&ApiDoc::openapi()));

/// The OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "Running",
    responses((status = 200, description = "This document")))]
pub(crate) async fn openapi_json() -> Result<HttpResponse, Problem> {
    let document = DOCUMENT.as_deref().map_err(Problem::internal)?;
    Ok(held_anyway(HttpResponse::Ok().content_type("application/json").body(document)))
}

/// A page to read the contract and to try it.
#[utoipa::path(get, path = "/docs", tag = "Running",
    responses((status = 200, description = "A page to try the API", content_type = "text/html")))]
pub(crate) async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(PAGE)
}

/// The page's own files, all of them built in.
#[utoipa::path(get, path = "/docs/{file}", tag = "Running",
    params(("file" = String, Path, description = "A file of the page")),
    responses((status = 200, description = "The file")))]
pub(crate) async fn file(file: web::Path<String>) -> Result<HttpResponse, Problem> {
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

/// Marks an answer whose bytes are static in the program, however many clients ask for them.
fn held_anyway(mut response: HttpResponse) -> HttpResponse {
    response.extensions_mut().insert(HeldAnyway);
    response
}

/// The page's HTML. Every address in it is absolute, so that the page works with and without its
/// trailing slash.
const PAGE: &str = r##"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>conn-log API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true,
  validatorUrl: null, persistAuthorization: false});
</script>
</body>
</html>
"##;
