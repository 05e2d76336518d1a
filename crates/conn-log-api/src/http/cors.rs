//! Browser pages of other origins (CORS): the origins that a deployment names may use the API.
//!
//! actix-cors answers the browser's preflight requests, before authentication, and adds its headers
//! to every answer, errors too. This module says which headers, and turns refusals into problems.
//!
//! Architecture invariant: no answer allows credentials. The API has no cookies, so a page of a
//! named origin has no more rights than the token that it sends.

use std::str::FromStr;

use actix_cors::{Cors, CorsError};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};
use url::Url;

use crate::http::problem::{Problem, ProblemKind};

const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PATCH", "DELETE"];

/// The headers of requests that a page may set, beyond those that every page may.
const ALLOWED_HEADERS: [&str; 8] = [
    "authorization",
    "content-encoding",
    "content-type",
    "idempotency-key",
    "if-match",
    "last-event-id",
    "prefer",
    "x-request-id",
];

/// The headers of answers that a page may read, beyond those that every page may.
const EXPOSED_HEADERS: [&str; 9] = [
    "etag",
    "idempotency-replayed",
    "link",
    "location",
    "preference-applied",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-request-id",
];

/// How long a browser may remember a preflight's answer. Chromium takes no more than two hours.
const REMEMBERED_SECONDS: usize = 2 * 60 * 60;

/// The origin of a browser page, as browsers send it: `https://app.example.org`, with a port where
/// it is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// The reason why a text is not an [`Origin`].
#[derive(Debug, PartialEq, Eq)]
pub struct OriginError(String);

impl FromStr for Origin {
    type Err = OriginError;

    /// Takes only the text that a browser sends: another spelling would never match.
    ///
    /// # Errors
    /// [`OriginError`] also for `*` and `null`. Every page of the world has the one, and every
    /// sandboxed page and local file the other; each could use a server inside the network.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" || text == "null" {
            return Err(OriginError(format!("{text} would let in every page; name each origin")));
        }
        // A star is a character of a host, but no browser sends one.
        let url = Url::parse(text).ok().filter(|_| !text.contains('*'));
        let Some(url) = url.filter(|url| ["http", "https"].contains(&url.scheme())) else {
            let detail = "an origin is such as https://app.example.org or http://127.0.0.1:3000";
            return Err(OriginError(detail.to_owned()));
        };
        let as_sent = url.origin().ascii_serialization();
        if as_sent != text {
            return Err(OriginError(format!("browsers send this origin as {as_sent}")));
        }
        Ok(Origin(as_sent))
    }
}

impl std::fmt::Display for OriginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OriginError {}

/// The middleware for pages of these origins.
pub(crate) fn cors(origins: &[Origin]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(METHODS)
        .allowed_headers(ALLOWED_HEADERS)
        .expose_headers(EXPOSED_HEADERS)
        .max_age(REMEMBERED_SECONDS);
    origins.iter().fold(cors, |cors, Origin(origin)| cors.allowed_origin(origin))
}

/// Middleware around [`cors`]: a preflight that is refused gets a problem that says why.
pub(crate) async fn explain_preflights<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = next.call(request).await?;
    let refused = response.response().error().and_then(|error| error.as_error::<CorsError>());
    let Some(refused) = refused.map(ToString::to_string) else {
        return Ok(response.map_into_left_body());
    };
    let mut answer = Problem::new(ProblemKind::InvalidHeader, refused).error_response();
    if let Some(vary) = response.headers().get("vary") {
        answer.headers_mut().insert(actix_web::http::header::VARY, vary.clone());
    }
    Ok(response.into_response(answer).map_into_right_body())
}
