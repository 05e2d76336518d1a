//! A registration's head: the kind of its body, its preferences and its idempotency key.

use actix_web::HttpRequest;

use super::adapters::BodyKind;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;
use crate::http::{accept, content_type};

/// The client's preferences for its events and for the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preferences {
    /// Store all events of a batch, or none.
    pub(crate) atomic: bool,
    /// Answer a batch with its counts and its rejected events only.
    pub(crate) minimal: bool,
}

/// A registration without its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) kind: BodyKind,
    pub(crate) preferences: Preferences,
    pub(crate) key: Option<String>,
}

impl Head {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// 400 for a parameter or a header that is not accepted, 406 for a client that does not accept
    /// JSON, 415 for another content type or none.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let preferences = preferences(request)?;
        let key = idempotency_key(request)?;
        accept::require(request, "application/json")?;
        let kind = body_kind(request)?;
        Ok(Head { kind, preferences, key })
    }
}

/// The media types accepted for events.
const TAKEN: &str = "application/json, application/x-www-form-urlencoded or application/x-ndjson";

fn body_kind(request: &HttpRequest) -> Result<BodyKind, Problem> {
    let media_type = content_type::media_type(request, TAKEN)?;
    BodyKind::of_media_type(&media_type)
        .ok_or_else(|| content_type::not_taken("this content type is not taken", TAKEN))
}

fn preferences(request: &HttpRequest) -> Result<Preferences, Problem> {
    let mut query = QueryString::of(request)?;
    let atomic = query.parsed("atomic", "true or false")?.unwrap_or(false);
    query.finish()?;
    Ok(Preferences { atomic, minimal: prefers_minimal(request) })
}

/// Whether the client sends `Prefer: return=minimal` (RFC 7240, section 4.2). Unknown preferences
/// are ignored, as the RFC requires.
fn prefers_minimal(request: &HttpRequest) -> bool {
    let values = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';'])).any(|preference| {
        preference.trim().replace([' ', '"'], "").eq_ignore_ascii_case("return=minimal")
    })
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all("idempotency-key");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let visible = bytes.iter().all(u8::is_ascii_graphic) && (1..=255).contains(&bytes.len());
    match (value.to_str(), values.next()) {
        (Ok(key), None) if visible => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            ProblemKind::InvalidHeader,
            "Idempotency-Key is given once and has 1 to 255 visible ASCII characters",
        )),
    }
}
