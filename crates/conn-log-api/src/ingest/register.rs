//! `POST /device_app_connection_log/` and `…/batch/`: registers events.

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
use crate::http::idempotency::{self, IdempotencyKey};
use crate::http::problem::Problem;

/// Registers one event and answers with its record.
///
/// The same address also takes an array of events, an envelope, a form and NDJSON, and events of
/// the first edition, which have answers of their own: see the documentation. Typed clients
/// register several events at `batch/`.
#[utoipa::path(
    post,
    path = "/api/v1/device_app_connection_log/",
    operation_id = "event_register",
    tag = "Events",
    params(IdempotencyKey),
    request_body = shapes::Event,
    responses(
        (status = 200, description = "The event_id is stored already: the record of the first event",
            body = crate::log::shapes::EventRecord),
        (status = 201, description = "Stored: the record", body = crate::log::shapes::EventRecord,
            headers(("Location" = String, description = "The record's address"))),
        (status = 403, description = "The token lacks the scope, or is bound to another device or application",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The event_id belongs to an event with other content, and the problem has \
            its id; or another request with the key is being worked on",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value of the event is not taken, or the key belongs to another body",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn register(
    request: HttpRequest,
    payload: Payload,
    caller: Writer,
) -> Result<HttpResponse, Problem> {
    let head = Head::of(&request, caller.token())?;
    respond(request, payload, caller, head).await
}

/// Registers events, each independently, and answers with a result for each.
///
/// One event alone gets a result too. The address takes every body that the other registration
/// takes, such as NDJSON, an event a line.
#[utoipa::path(
    post,
    path = "/api/v1/device_app_connection_log/batch/",
    operation_id = "event_register_batch",
    tag = "Events",
    params(
        ("atomic" = Option<bool>, Query, description = "Store all events of the batch or none"),
        IdempotencyKey,
        ("on_reject" = inline(Option<shapes::OnReject>), Query,
            description = "keep: answer 200 in place of 207, 400 and 422, and keep what was refused at /rejects/; \
                refuse: the opposite, whatever the token says"),
        ("Prefer" = Option<String>, Header,
            description = "return=minimal: counts and the rejected events only; handling=lenient: an optional field with \
                an invalid value costs itself and not the event; handling=strict: the opposite"),
    ),
    request_body = shapes::EventBatch,
    responses(
        (status = 200, description = "Every event_id is stored already; or, with \
            on_reject=keep, something was refused", body = render::BatchResults<'_>),
        (status = 201, description = "All events were stored", body = render::BatchResults<'_>),
        (status = 207, description = "Some events were stored", body = render::BatchResults<'_>),
        (status = 400, description = "The body's shape is wrong, or that of each event, or a parameter is not taken",
            body = shapes::BatchProblem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope, or is bound to other devices or applications",
            body = shapes::BatchProblem, content_type = "application/problem+json"),
        (status = 409, description = "Another request with the key is being worked on",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "No event was stored, or the key belongs to another body",
            body = shapes::BatchProblem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn register_batch(
    request: HttpRequest,
    payload: Payload,
    caller: Writer,
) -> Result<HttpResponse, Problem> {
    let head = Head { as_batch: true, ..Head::of(&request, caller.token())? };
    respond(request, payload, caller, head).await
}

async fn respond(
    request: HttpRequest,
    mut payload: Payload,
    caller: Writer,
    head: Head,
) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
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
    idempotency::mark_replayed(&mut response);
    Ok(response)
}
