//! `POST /device_app_connection_log/`: registers events.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::{AppendError, Appended, Claim, Outcome, Submission};

use super::answer::Answer;
use super::plan::{Plan, Render, Wishes};
use super::submitted::{MediaType, Parser, Submitted};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::auth::Writer;
use crate::body::Body;
use crate::metrics::{Metrics, Rejection};
use crate::problem::{Problem, ProblemKind};
use crate::query_string::QueryString;
use crate::rate_limits::Allowance;
use crate::{accept, append_problem, body};

/// Bodies of more bytes are parsed on the blocking pool: 64 KiB take about a millisecond, which is
/// as long as one request may hold up the others of its worker.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Registers events: a single one, or a batch whose events stand each alone.
#[utoipa::path(
    post,
    path = "/api/v1/device_app_connection_log/",
    tag = "Events",
    params(
        ("atomic" = Option<bool>, Query, description = "Store all events of a batch or none"),
        ("Idempotency-Key" = Option<String>, Header,
            description = "1 to 255 visible characters; the same key with the same body gets the first answer again"),
        ("Prefer" = Option<String>, Header,
            description = "return=minimal: counts and the rejected events only"),
    ),
    request_body(
        description = "An event of either edition, an array of events, or an envelope",
        content(
            (crate::openapi::EventBody = "application/json"),
            (crate::openapi::Form = "application/x-www-form-urlencoded"),
            (String = "application/x-ndjson"),
        )
    ),
    responses(
        (status = 200, description = "A repeat by event_id: the first one's record",
            body = crate::openapi::Record),
        (status = 201, description = "Stored: the record (the first edition gets its own short answer), or a batch's results",
            body = crate::openapi::Registered),
        (status = 207, description = "Some events of the batch were stored",
            body = crate::openapi::BatchResults),
        (status = 422, description = "No event was stored", body = crate::openapi::Problem,
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
    let wishes = wishes(&request)?;
    let key = idempotency_key(&request)?;
    accept::require(&request, "application/json")?;
    let media_type = MediaType::of(&request)?;
    let body = body::read(&request, &mut payload, &app.options, &app.body_room).await?;

    let key = key.map(|key| (key, fingerprint(body.bytes())));
    let submitted = parse(app.clone(), media_type, body).await?;
    let Plan { events, render, received } = Plan::of(submitted, wishes);
    let tally = Tally { metrics: app.metrics.clone(), received };
    tally.metrics.received(received);
    let allowance = app.event_rates.take(caller.token(), received);
    let allowance = allowance.inspect_err(|_| tally.all_rejected(Rejection::Rate))?;
    if events.is_empty() && key.is_none() {
        tally.appended(&render, &[]);
        return Ok(told(render.answer(&[]).into_response(), allowance));
    }
    let render = Arc::new(render);
    let claim = key.map(|(key, fingerprint)| {
        let render = render.clone();
        let answer_bytes = render.bytes();
        let answer = Box::new(move |appended: &[Appended]| render.answer(appended).to_bytes());
        Claim { key, fingerprint, answer, answer_bytes }
    });
    let submission = Submission { tenant: caller.tenant(), events, claim };
    let response = match append(&app, submission, tally, render.clone()).await? {
        Outcome::Appended(appended) => render.answer(&appended).into_response(),
        Outcome::Replayed(bytes) => replay(&bytes)?,
        Outcome::KeyReused => {
            let detail = "this Idempotency-Key was used with another body";
            return Err(Problem::new(ProblemKind::KeyReused, detail));
        }
    };
    Ok(told(response, allowance))
}

/// The answer, with what is left of the token's rate.
fn told(mut response: HttpResponse, allowance: Option<Allowance>) -> HttpResponse {
    if let Some(allowance) = allowance {
        allowance.tell(&mut response);
    }
    response
}

/// Appends and counts, to the end even if the client leaves meanwhile.
async fn append(
    app: &App,
    submission: Submission,
    tally: Tally,
    render: Arc<Render>,
) -> Result<Outcome, Problem> {
    let appending = app.appender.append(submission);
    let work = async move {
        let outcome = appending.await;
        match &outcome {
            Ok(Outcome::Appended(appended)) => tally.appended(&render, appended),
            Ok(Outcome::Replayed(_)) => tally.replayed(&render),
            Ok(Outcome::KeyReused) => tally.all_rejected(Rejection::KeyReused),
            Err(AppendError::Overloaded) => tally.all_rejected(Rejection::Overloaded),
            Err(AppendError::Unavailable | AppendError::Closed) => {
                tally.all_rejected(Rejection::Unavailable);
            }
            Err(AppendError::Internal) => tally.all_rejected(Rejection::Internal),
        }
        outcome
    };
    let outcome = actix_web::rt::spawn(work).await.map_err(|error| Problem::internal(&error))?;
    outcome.map_err(append_problem)
}

/// Counts what becomes of a request's events, so that received = stored + duplicates + rejected.
struct Tally {
    metrics: Metrics,
    received: usize,
}

impl Tally {
    fn all_rejected(&self, reason: Rejection) {
        self.metrics.rejected(reason, self.received);
    }

    fn appended(&self, render: &Render, appended: &[Appended]) {
        let stored = appended.iter().filter(|a| matches!(a, Appended::Stored(_))).count();
        self.metrics.stored(stored);
        self.metrics.duplicates(appended.len() - stored);
        self.rejected(render);
    }

    /// The same body has the same faults; what was stored the first time is a repeat now.
    fn replayed(&self, render: &Render) {
        self.metrics.duplicates(self.received - self.rejected(render));
    }

    /// Counts what is not for the store; gives how many.
    fn rejected(&self, render: &Render) -> usize {
        let mut count = 0;
        for status in render.rejected() {
            let reason = match status {
                400 => Rejection::InvalidBody,
                424 => Rejection::NotAttempted,
                _ => Rejection::InvalidEvent,
            };
            self.metrics.rejected(reason, 1);
            count += 1;
        }
        count
    }
}

/// What tells one body from another.
fn fingerprint(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The answer that an earlier request with the same key got.
fn replay(bytes: &[u8]) -> Result<HttpResponse, Problem> {
    let Some(answer) = Answer::from_bytes(bytes) else {
        return Err(Problem::internal("a stored answer cannot be read"));
    };
    let mut response = answer.into_response();
    let replayed = header::HeaderName::from_static("idempotency-replayed");
    response.headers_mut().insert(replayed, header::HeaderValue::from_static("true"));
    Ok(response)
}

async fn parse(
    app: web::Data<App>,
    media_type: MediaType,
    body: Body,
) -> Result<Submitted, Problem> {
    let is_small = body.bytes().len() <= INLINE_BYTES_MAX;
    let parse = move || {
        let options = &app.options;
        let now = Timestamp::from(chrono::Utc::now());
        Parser { policy: &options.policy, now, events_max: options.events_max }
            .parse(media_type, body.bytes())
    };
    if is_small {
        return parse();
    }
    web::block(parse).await.map_err(|error| Problem::internal(&error))?
}

fn wishes(request: &HttpRequest) -> Result<Wishes, Problem> {
    let mut query = QueryString::of(request)?;
    let atomic = query.parsed("atomic", "true or false")?.unwrap_or(false);
    query.finish()?;
    Ok(Wishes { atomic, minimal: prefers_minimal(request) })
}

/// `Prefer: return=minimal` (RFC 7240, section 4.2); what is unknown is ignored, as it says.
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
