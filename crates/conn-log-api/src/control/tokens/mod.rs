//! `/tokens/`: the tokens of a tenant's log. The tenant is the caller's own.
//!
//! A secret appears only in the answer to the request that made its token.

mod new_token;
mod shapes;

use actix_web::http::header;
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use uuid::Uuid;

use self::shapes::{MadeToken, Token};
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Admin;
use crate::http::cursor::ListTag;
use crate::http::json_object::{self, Members};
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'T');

/// The tenant's tokens, newest first, without their secrets. Includes revoked and expired tokens.
#[utoipa::path(
    get,
    path = "/api/v1/tokens/",
    operation_id = "token_list",
    tag = "Tokens",
    params(PageParameters),
    responses((status = 200, description = "A page", body = shapes::TokenPage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Admin) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page = App::of(&request).read(move |store| store.token_page(tenant, &asked)).await?;
    let links = PageLinks::of(&request, LIST, &query.start, &page, conn_log_store::Token::place);
    Ok(links.respond(page.items.iter().map(|token| json(&Token::from(token)))))
}

/// Creates a token for the caller's tenant. Only this answer contains the secret.
#[utoipa::path(
    post,
    path = "/api/v1/tokens/",
    operation_id = "token_create",
    tag = "Tokens",
    request_body = shapes::NewToken,
    responses(
        (status = 201, description = "The token, with its secret", body = MadeToken<'_>),
        (status = 422, description = "A value is invalid, or the tenant has the maximum number of tokens",
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
    let now = Timestamp::from(chrono::Utc::now());
    let new = new_token::read(Members::parse(&body)?, caller.tenant(), now)?;
    new_token::check_given(&new, caller.token())?;
    let (token, secret) = App::of(&request).read(move |store| store.token_create(new)).await?;
    let answer = MadeToken { token: Token::from(&token), secret: secret.reveal() };
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/tokens/{}/", token.id)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(json(&answer)))
}

/// Revokes a token of the caller's tenant: at once on this server, within 5 seconds on the others. A token
/// that is revoked already stays as it is.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}/",
    operation_id = "token_revoke",
    tag = "Tokens",
    params(("id" = Uuid, Path, description = "The token's id")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 404, description = "The tenant has no such token",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn revoke(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    let none_such = |_| Problem::new(ProblemKind::NotFound, "there is no such token");
    let id = Uuid::try_parse(&id).map_err(none_such)?;
    App::of(&request).tokens.revoke(caller.tenant(), id).await?;
    Ok(HttpResponse::NoContent().finish())
}
