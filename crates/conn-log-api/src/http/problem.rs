//! Problems: all errors that a client sees (RFC 9457), from one table.
//!
//! No other file chooses a status or a title. Errors of the core and the store become problems in
//! [`errors`](super::errors), and problems become HTTP answers only in [`ResponseError`].

use std::collections::BTreeMap;
use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use conn_log_core::Faults;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::http::request_id;

macro_rules! problem_kinds {
    ($($variant:ident = $status:literal, $slug:literal, $title:literal, $page:literal;)*) => {
        /// Every kind of problem. Its page is at `/problems/<slug>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ProblemKind {
            $(#[doc = $title] $variant,)*
        }

        impl ProblemKind {
            pub(crate) const ALL: &[ProblemKind] = &[$(ProblemKind::$variant,)*];

            /// The last part of the type's address.
            pub(crate) fn slug(self) -> &'static str {
                match self { $(ProblemKind::$variant => $slug,)* }
            }

            pub(crate) fn status(self) -> StatusCode {
                let code: u16 = match self { $(ProblemKind::$variant => $status,)* };
                StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The title, the same for all problems of the kind.
            pub(crate) fn title(self) -> &'static str {
                match self { $(ProblemKind::$variant => $title,)* }
            }

            /// The text of the kind's page: the meaning and the remedy.
            pub(crate) fn explanation(self) -> &'static str {
                match self { $(ProblemKind::$variant => $page,)* }
            }
        }
    };
}

problem_kinds! {
    InvalidBody = 400, "invalid-body", "The body does not have the shape of an event",
        "The body is not JSON, not an object, misses a required field or holds one that is null or \
         of the wrong JSON type, or a name stands twice in one object. Each fault is listed under \
         errors, with a JSON Pointer to its place and a code. Nothing was stored; sending the same \
         body again gives the same answer.";
    InvalidQuery = 400, "invalid-query", "A query parameter is not taken",
        "A parameter is unknown here, given twice, or has a value outside its range. Unknown \
         parameters are refused so that a mistyped filter cannot return everything.";
    InvalidHeader = 400, "invalid-header", "A header is not as it should be",
        "A header's value is malformed. The detail names the header and what it takes.";
    InvalidObject = 400, "invalid-object", "The body does not have the shape that it should have",
        "The body is not JSON, not an object, misses a required member, or holds one that is unknown, \
         of the wrong JSON type or given twice. Each fault is listed under errors, with a JSON \
         Pointer to its place and a code. Nothing was changed.";
    Unauthorized = 401, "unauthorized", "A valid token is needed",
        "The request has no bearer token, or one that is unknown, expired or revoked. Send \
         Authorization: Bearer clog_… with a token made by conn-log token create.";
    Forbidden = 403, "forbidden", "The token lacks a scope",
        "The token is valid, but was not made for this. The detail names the scope that it lacks.";
    NotBound = 403, "not-bound", "The token is bound to another device or application",
        "The token registers events of one device, or of one application, only. Leave the field out, \
         and the server fills it in; or send the event with a token that may name it. Nothing was \
         stored for the event.";
    BeyondToken = 403, "beyond-token", "The token can not give what it does not have",
        "A token makes tokens of its own tenant, with scopes that it has itself, and bound to the \
         device and application that it is bound to itself. Tokens with the scope operator are made \
         on the command line only.";
    NotFound = 404, "not-found", "There is nothing here",
        "The address is unknown, or the record does not exist in the token's log.";
    MethodNotAllowed = 405, "method-not-allowed", "This address does not take that method",
        "The Allow header names the methods that the address takes.";
    NotAcceptable = 406, "not-acceptable", "No representation that the client accepts",
        "The Accept header leaves out every content type that this address can answer with, or the \
         Accept-Encoding header every coding.";
    RequestTimeout = 408, "request-timeout", "The body took too long to arrive",
        "The server waited for the rest of the body and gave up. Nothing was stored; it is safe to \
         send the request again.";
    KeyInFlight = 409, "idempotency-key-in-flight", "A request with this key is being worked on",
        "Another request with the same Idempotency-Key has not been answered yet. Try again shortly.";
    EventIdConflict = 409, "event-id-conflict", "The event_id belongs to another event",
        "An event with this event_id and other content was registered before, within the window in which an \
         event_id is remembered. The member id names that event; without it, the first is an earlier event of \
         the same atomic batch. Nothing was stored for this event. If it is another event, send it with an \
         event_id of its own: where a device counts its events, put the device_id, and what tells one start of \
         the device from the next, in front of the number.";
    ChangedMeanwhile = 409, "changed-meanwhile", "It was changed meanwhile",
        "The request says with If-Match what it means to change, and that is no longer how it is. Nothing \
         was changed. Get it again, and change what it is now.";
    TooLarge = 413, "too-large", "The request is too large",
        "The body has more bytes, as sent or after decompression, or more events than the server \
         takes at once. Nothing was stored; send it in smaller parts.";
    UnsupportedMediaType = 415, "unsupported-media-type", "The body's type is not taken",
        "Events are taken as application/json, application/x-www-form-urlencoded (data=…) or \
         application/x-ndjson, all else as application/json, plain or with Content-Encoding gzip or \
         zstd.";
    InvalidEvent = 422, "invalid-event", "The event breaks a rule",
        "The body has the right shape, but a value is not one that its field takes. Each fault is \
         listed under errors, with a JSON Pointer to its place and a code. Nothing was stored for \
         the event; sending it again unchanged gives the same answer.";
    InvalidValue = 422, "invalid-value", "A value is not taken",
        "The body has the right shape, but a value is not one that its member takes. Each fault is \
         listed under errors, with a JSON Pointer to its place and a code. Nothing was changed.";
    NoRoom = 422, "no-room", "There are as many as there may be",
        "The tenant has as many of these as it may have. Remove or revoke some that are not used.";
    KeyReused = 422, "idempotency-key-reused", "The key belongs to another body",
        "This Idempotency-Key was used with another body within its window. A new request needs a \
         new key. Nothing was stored.";
    NotAttempted = 424, "not-attempted", "Another event of the batch is at fault",
        "The batch was sent with atomic=true and one of its other events was refused, so that this \
         one was not stored either.";
    TooManyRequests = 429, "too-many-requests", "Over the rate",
        "The token's rate of events is used up, or the address has failed to authenticate too \
         often. Retry-After says when to try again.";
    Internal = 500, "internal", "The server failed",
        "A fault of the server, not of the request. The server's log has the details under the \
         request id.";
    Overloaded = 503, "overloaded", "The server has too much to do",
        "The queue of events waiting for the disk is full, or too many large bodies are being read. \
         Nothing was stored; Retry-After says when to try again.";
    StoreUnavailable = 503, "store-unavailable", "The store cannot be reached",
        "The database does not answer at the moment, and nothing was acknowledged. The server recovers \
         by itself; Retry-After says when to try again. Where the connection broke in the middle of a \
         commit the events may be there nevertheless: with an Idempotency-Key or event_id, sending them \
         again stores nothing twice.";
    QueryTimeout = 503, "query-timeout", "The query takes too long",
        "The filters leave too many events to look at. Add one of device_id, application_id, \
         session_id, or a time window with since and until.";
}

/// One problem, as it is sent to a client.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    /// Further members, such as `errors`.
    members: BTreeMap<&'static str, Box<RawValue>>,
    headers: Vec<(header::HeaderName, String)>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Problem { kind, detail: detail.into(), members: BTreeMap::new(), headers: Vec::new() }
    }

    /// There is no room for the request at the moment.
    pub(crate) fn overloaded(detail: &str, retry_after_seconds: u32) -> Self {
        Problem::new(ProblemKind::Overloaded, detail)
            .with_header(header::RETRY_AFTER, retry_after_seconds.to_string())
    }

    /// The entries of `errors` for the faults of the value at `place` in the body, a JSON Pointer.
    pub(crate) fn errors(place: &str, faults: &Faults) -> impl Iterator<Item = Box<RawValue>> {
        faults.as_slice().iter().map(move |fault| {
            let pointer = format!("{place}{}", fault.pointer);
            raw(&json!({"pointer": pointer, "code": fault.code.as_str(), "detail": fault.detail}))
        })
    }

    /// The same problem without its list of errors.
    pub(crate) fn without_errors(mut self) -> Self {
        if self.members.remove("errors").is_some() {
            self.detail.push_str("; send the event alone to have them listed");
        }
        self
    }

    /// A fault of a body as a whole.
    pub(crate) fn body_fault(code: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = json!({"pointer": "", "code": code, "detail": detail});
        Problem::new(ProblemKind::InvalidBody, detail).with_member("errors", &[error])
    }

    /// A query parameter that is not accepted.
    pub(crate) fn parameter(name: &str, code: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = json!({"parameter": name, "code": code, "detail": detail});
        Problem::new(ProblemKind::InvalidQuery, format!("{name}: {detail}"))
            .with_member("errors", &[error])
    }

    /// A fault of the server. The cause is only logged, under the request id, and never sent.
    pub(crate) fn internal(cause: &(impl fmt::Display + ?Sized)) -> Self {
        log::error!("{}: {cause}", request_id::current());
        Problem::new(ProblemKind::Internal, "the server failed; its log says more")
    }

    pub(crate) fn with_member(mut self, name: &'static str, value: &impl Serialize) -> Self {
        self.members.insert(name, raw(value));
        self
    }

    pub(crate) fn with_header(
        mut self,
        name: header::HeaderName,
        value: impl Into<String>,
    ) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The problem as JSON. In a batch's results, the request's id is left out.
    pub(crate) fn to_json(&self, instance: Option<&str>) -> Box<RawValue> {
        #[derive(Serialize)]
        struct Members<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            instance: Option<&'a str>,
            #[serde(flatten)]
            more: &'a BTreeMap<&'static str, Box<RawValue>>,
        }
        raw(&Members {
            r#type: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            instance,
            more: &self.members,
        })
    }

    /// The whole body of an answer that is this problem.
    pub(crate) fn body(&self) -> String {
        self.to_json(Some(&request_id::current())).get().to_owned()
    }
}

/// `value` as JSON text.
pub(crate) fn json(value: &impl Serialize) -> String {
    Box::<str>::from(raw(value)).into()
}

/// `value` as JSON text, to be embedded in other JSON.
pub(crate) fn raw(value: &impl Serialize) -> Box<RawValue> {
    // Serializing fails only for maps with keys that are not text and for numbers that are not
    // finite.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.kind.status());
        response.content_type(PROBLEM_JSON);
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.as_str()));
        }
        response.body(self.body())
    }
}

/// The media type of problems (RFC 9457, section 3).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
