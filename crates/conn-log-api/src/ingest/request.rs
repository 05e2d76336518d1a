//! A registration's head: the kind of its body, its preferences and its idempotency key.

use actix_web::HttpRequest;
use conn_log_store::{Handling, OnReject, Token};

use super::adapters::BodyKind;
use crate::http::problem::Problem;
use crate::http::query_string::QueryString;
use crate::http::{accept, content_type, idempotency};

/// The client's preferences for its events and for the answer.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "preferences are independent of each other")]
pub(crate) struct Preferences {
    /// Store all events of a batch, or none.
    pub(crate) atomic: bool,
    /// Answer a batch with its counts and its rejected events only.
    pub(crate) minimal: bool,
    /// Keep the refused events, and answer with 200 and the counts in place of an error.
    pub(crate) keep: bool,
    /// Take an event although an optional field of it has an invalid value.
    pub(crate) lenient: bool,
    /// The handling that the request or its token asks for, as a preference.
    pub(crate) handling: Option<&'static str>,
}

/// A registration without its body.
#[derive(Debug)]
pub(crate) struct Head {
    /// Whether the answer is a batch's, also for one event alone.
    pub(crate) as_batch: bool,
    pub(crate) kind: BodyKind,
    pub(crate) preferences: Preferences,
    pub(crate) key: Option<String>,
}

impl Head {
    /// Reads the head of a request. Where it does not say how to handle its events, the token does.
    ///
    /// # Errors
    /// 400 for a parameter or a header that is not accepted, 406 for a client that does not accept
    /// JSON, 415 for another content type or none.
    pub(crate) fn of(request: &HttpRequest, token: &Token) -> Result<Self, Problem> {
        let preferences = preferences(request, token)?;
        let key = idempotency::key(request)?;
        accept::require(request, "application/json")?;
        let kind = body_kind(request)?;
        Ok(Head { as_batch: false, kind, preferences, key })
    }
}

/// The media types accepted for events.
const TAKEN: &str = "application/json, application/x-www-form-urlencoded or application/x-ndjson";

fn body_kind(request: &HttpRequest) -> Result<BodyKind, Problem> {
    let media_type = content_type::media_type(request, TAKEN)?;
    BodyKind::of_media_type(&media_type)
        .ok_or_else(|| content_type::not_taken("this content type is not taken", TAKEN))
}

fn preferences(request: &HttpRequest, token: &Token) -> Result<Preferences, Problem> {
    let mut query = QueryString::of(request)?;
    let atomic = query.parsed("atomic", "true or false")?.unwrap_or(false);
    let on_reject = query.parsed("on_reject", "keep or refuse")?;
    query.finish()?;
    let keep = on_reject.or(token.on_reject) == Some(OnReject::Keep);
    let asked = [Handling::Lenient, Handling::Strict]
        .into_iter()
        .find(|handling| prefers(request, preference(*handling)));
    let handling = asked.or(token.handling);
    let lenient = handling == Some(Handling::Lenient);
    let handling = handling.map(preference);
    let minimal = prefers(request, "return=minimal");
    Ok(Preferences { atomic, minimal, keep, lenient, handling })
}

fn preference(handling: Handling) -> &'static str {
    match handling {
        Handling::Lenient => "handling=lenient",
        Handling::Strict => "handling=strict",
    }
}

/// Whether the client sends the preference in `Prefer` (RFC 7240, section 2). Unknown preferences
/// are ignored, as the RFC requires.
fn prefers(request: &HttpRequest, preference: &str) -> bool {
    let values = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    let mut sent = values.flat_map(|value| value.split([',', ';']));
    sent.any(|sent| sent.trim().replace([' ', '"'], "").eq_ignore_ascii_case(preference))
}
