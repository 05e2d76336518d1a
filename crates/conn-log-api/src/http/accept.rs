//! The media types and codings that a client accepts (RFC 9110, sections 12.5.1 and 12.5.3).

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, Header as _, Quality};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError as _};

use crate::http::problem::{Problem, ProblemKind};

/// Checks that the client accepts `essence`, such as `application/json`.
///
/// # Errors
/// 406 if its `Accept` header does not include it.
pub(crate) fn require(request: &HttpRequest, essence: &str) -> Result<(), Problem> {
    if accepts(request, essence) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::NotAcceptable, format!("this address answers with {essence}")))
}

/// Middleware around compression. Compression itself refuses a client that accepts none of its
/// codings; this turns that refusal into a problem. No inner handler has seen the request then.
pub(crate) async fn explain_codings<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = next.call(request).await?;
    let is_explained = response.headers().contains_key(header::CONTENT_TYPE);
    if response.status() != StatusCode::NOT_ACCEPTABLE || is_explained {
        return Ok(response.map_into_left_body());
    }
    let detail = "Accept-Encoding leaves out gzip, zstd, deflate and identity";
    let problem = Problem::new(ProblemKind::NotAcceptable, detail);
    Ok(response.into_response(problem.error_response()).map_into_right_body())
}

/// Whether the client accepts `essence`.
pub(crate) fn accepts(request: &HttpRequest, essence: &str) -> bool {
    quality(request, essence) > Quality::ZERO
}

/// Whether the client prefers `essence` to `other`.
pub(crate) fn prefers(request: &HttpRequest, essence: &str, other: &str) -> bool {
    quality(request, essence) > quality(request, other)
}

/// The quality that the client gives `essence`. Without a readable `Accept` header, everything is
/// accepted.
fn quality(request: &HttpRequest, essence: &str) -> Quality {
    if !request.headers().contains_key(header::ACCEPT) {
        return Quality::MAX;
    }
    let Ok(accept) = header::Accept::parse(request) else {
        return Quality::MAX;
    };
    // The most specific range decides, and a quality of 0 excludes the media type.
    let range = accept
        .iter()
        .filter_map(|range| Some((specificity(range.item.essence_str(), essence)?, range.quality)))
        .max_by_key(|(specificity, _)| *specificity);
    match range {
        Some((_, quality)) => quality,
        None if accept.is_empty() => Quality::MAX,
        None => Quality::ZERO,
    }
}

/// How closely a media range names `essence`; `None` if it does not match.
fn specificity(range: &str, essence: &str) -> Option<u8> {
    let main = essence.split('/').next().unwrap_or(essence);
    match range {
        "*/*" => Some(0),
        _ if range.strip_suffix("/*") == Some(main) => Some(1),
        _ if range == essence => Some(2),
        _ => None,
    }
}
