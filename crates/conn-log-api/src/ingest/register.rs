//! `POST /device_app_connection_log/`: registers events.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::Appended;

use super::answer::Answer;
use super::decision::Decisions;
use super::pipeline::{self, CameOfIt, Encoded};
use super::request::Head;
use super::{render, shapes};
use crate::http::app::App;
use crate::http::auth::Writer;
use crate::http::body::{self, ReadError};
use crate::http::problem::Problem;

/// Registers a single event or a batch. Each event of a batch is stored or refused independently.
#[utoipa::path(
    post,
    path = "/api/v1/device_app_connection_log/",
    operation_id = "event_register",
    tag = "Events",
    params(
        ("atomic" = Option<bool>, Query, description = "Store all events of a batch or none"),
        ("on_reject" = Option<String>, Query,
            description = "keep: answer 200 in place of 207, 400 and 422, and keep what was refused at /rejects/; \
                refuse: the opposite, whatever the token says"),
        ("Idempotency-Key" = Option<String>, Header,
            description = "1 to 255 visible characters; the same key with the same body gets the first answer again"),
        ("Prefer" = Option<String>, Header,
            description = "return=minimal: counts and the rejected events only; handling=lenient: an optional field with \
                an invalid value costs itself and not the event; handling=strict: the opposite"),
    ),
    request_body(
        description = "An event of either edition, an array of events, or an envelope",
        content(
            (shapes::EventBody = "application/json"),
            (shapes::Form = "application/x-www-form-urlencoded"),
            (String = "application/x-ndjson"),
        )
    ),
    responses(
        (status = 200, description = "The event_id is stored already: the record of the first event; or, with \
            on_reject=keep, the counts of a request of which something was refused",
            body = shapes::Registered<'_>),
        (status = 201, description = "Stored: the record (the first edition gets its own short answer), or a batch's results",
            body = shapes::Registered<'_>),
        (status = 207, description = "Some events of the batch were stored",
            body = render::BatchResults<'_>),
        (status = 403, description = "The token lacks the scope, or is bound to another device or application",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The event_id belongs to an event with other content; the problem has its id",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "No event was stored", body = crate::http::openapi::Problem,
            content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn register(
    request: HttpRequest,
    mut payload: Payload,
    caller: Writer,
) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
    let head = Head::of(&request, caller.token())?;
    if request.head().expect() {
        // The client waits to be told before it sends the body.
        app.event_rates.check(caller.token())?;
    }
    let body = match body::read(&request, &mut payload, &app.options, &app.body_room).await {
        Ok(body) => Encoded::Decoded(body),
        Err(ReadError::NotCompressed { fault, body }) if head.preferences.keep => {
            Encoded::NotCompressed { fault, body }
        }
        Err(error) => return Err(error.into_problem()),
    };
    let ingested = pipeline::run(app, caller.token(), head, body, kept).await?;
    let mut response = match ingested.came_of_it {
        CameOfIt::Outcomes(decisions, appended) => {
            render::answer(&decisions, &appended).into_response()
        }
        CameOfIt::Replayed(bytes) => replayed(&bytes)?,
    };
    if ingested.answer_share.bytes() > 0 {
        response.extensions_mut().insert(ingested.answer_share);
    }
    if let Some(allowance) = ingested.allowance {
        allowance.tell(&mut response);
    }
    Ok(response)
}

/// The answer as bytes, kept for a repeat.
fn kept(decisions: &Decisions, appended: &[Appended]) -> Vec<u8> {
    render::answer(decisions, appended).to_bytes()
}

/// The kept answer of an earlier request with the same key.
fn replayed(bytes: &[u8]) -> Result<HttpResponse, Problem> {
    let Some(answer) = Answer::from_bytes(bytes) else {
        return Err(Problem::internal("a stored answer cannot be read"));
    };
    let mut response = answer.into_response();
    let name = HeaderName::from_static("idempotency-replayed");
    response.headers_mut().insert(name, HeaderValue::from_static("true"));
    Ok(response)
}
