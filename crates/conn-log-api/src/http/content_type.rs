//! The media type that a client declares for its body (RFC 9110, section 8.3).

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::http::problem::{Problem, ProblemKind};

/// The media type of the body, in lower case and without its parameters; empty if there is none.
///
/// # Errors
/// 415 for a charset other than UTF-8, which many clients write `utf8`; `taken` names the media types that the address accepts.
pub(crate) fn media_type(request: &HttpRequest, taken: &str) -> Result<String, Problem> {
    let value = request.headers().get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        Some(charset) if !["utf-8", "utf8"].iter().any(|it| charset.eq_ignore_ascii_case(it)) => {
            Err(not_taken("the charset is utf-8", taken))
        }
        _ => Ok(essence.trim().to_ascii_lowercase()),
    }
}

/// 415 for a body of a media type that is not accepted.
pub(crate) fn not_taken(why: &str, taken: &str) -> Problem {
    Problem::new(ProblemKind::UnsupportedMediaType, format!("{why}; send {taken}"))
}
