//! The pipeline that brings a request's events into the log: read, decide, take from the rate,
//! append.
//!
//! It uses no header and no status. From the client it needs only the token, which gives the
//! tenant, the rate and the binding.

use std::sync::Arc;

use actix_web::web;
use conn_log_core::{Binding, Timestamp};
use conn_log_store::{AppendError, Appended, Claim, Outcome, Submission, Token};
use sha2::{Digest as _, Sha256};

use super::adapters::{BodyKind, Checker};
use super::decision::{Decisions, decide};
use super::keeping;
use super::request::{Head, Preferences};
use super::sent::{Budget, Keep, Sent};
use super::submitted::{BodyFault, Submitted};
use super::tally::Tally;
use crate::http::answers::NoRoom;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::rate_limits::{Allowance, OverRate};
use crate::http::room::Share;
use crate::running::metrics::Rejection;

/// Larger bodies are parsed on the blocking pool. Parsing 64 KiB takes about a millisecond, the
/// longest time that one request may block the others of its worker.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The result of a request.
pub(crate) struct Ingested {
    pub(crate) came_of_it: CameOfIt,
    /// The rest of the token's rate, if the token has one.
    pub(crate) allowance: Option<Allowance>,
    /// The answer's share of the room for answers.
    pub(crate) answer_share: Share,
}

/// The outcome of a request whose events were accepted now or by an earlier request.
pub(crate) enum CameOfIt {
    /// Each event has an outcome.
    Outcomes(Arc<Decisions>, Vec<Appended>),
    /// The idempotency key was used with the same body before. Holds the answer kept for it.
    Replayed(Vec<u8>),
}

/// The reason why a request failed as a whole.
#[derive(Debug)]
pub(crate) enum IngestError {
    /// The events could not be read from the body.
    Body(BodyFault),
    /// The token's rate is used up.
    OverRate(OverRate),
    /// There is no room for the answer.
    NoRoomForAnswer(NoRoom),
    /// The idempotency key belongs to another body.
    KeyReused,
    /// The store did not append the events.
    Append(AppendError),
    /// A task of the server ended early.
    Task(String),
}

impl From<AppendError> for IngestError {
    fn from(error: AppendError) -> Self {
        IngestError::Append(error)
    }
}

/// A body, decompressed unless that is not possible.
pub(crate) enum Encoded {
    /// The body.
    Decoded(Body),
    /// The body as sent, and why it does not decompress. It is kept.
    NotCompressed { fault: String, body: Body },
}

impl Encoded {
    fn bytes(&self) -> &[u8] {
        match self {
            Encoded::Decoded(body) | Encoded::NotCompressed { body, .. } => body.bytes(),
        }
    }
}

/// Makes the answer that is kept for a repeat with the same idempotency key.
pub(crate) type Remember = fn(&Decisions, &[Appended]) -> Vec<u8>;

/// Appends the events of a body to the log of the token's tenant.
pub(crate) async fn run(
    app: web::Data<App>,
    token: &Token,
    head: Head,
    body: Encoded,
    remember: Remember,
) -> Result<Ingested, IngestError> {
    let Head { as_batch, kind, preferences, key } = head;
    let key = key.map(|key| (key, fingerprint(body.bytes(), as_batch)));
    let (submitted, body) = match body {
        Encoded::Decoded(body) => {
            read(app.clone(), kind, preferences, token.binding.clone(), body).await?
        }
        Encoded::NotCompressed { fault, body } => {
            let sent = Sent::of(body.bytes(), &app.options.policy);
            (Submitted::Unreadable(BodyFault::NotCompressed(fault), sent), body)
        }
    };
    let submitted = if as_batch { submitted.into_batch() } else { submitted };
    let (decisions, events) = decide(submitted, preferences);
    // The parsed events are bounded elsewhere: by the queue, and by the limits of problems and
    // answers.
    drop(body);
    let tally = Tally::start(app.metrics.clone(), decisions.slots.len());
    let allowance = app.event_rates.take(token, decisions.slots.len()).map_err(|over_rate| {
        tally.all_rejected(Rejection::Rate);
        IngestError::OverRate(over_rate)
    })?;
    // The share is taken before the append: once the events are stored, the answer cannot be
    // refused.
    let answer_share =
        app.answer_room.promise(decisions.answer_bytes_max()).map_err(|no_room| {
            tally.all_rejected(Rejection::Overloaded);
            IngestError::NoRoomForAnswer(no_room)
        })?;
    let decisions = Arc::new(decisions);
    let claim = key.map(|(key, fingerprint)| claim(key, fingerprint, decisions.clone(), remember));
    let atomic = preferences.atomic;
    let rejects = keeping::rejects(&decisions, token.id, kind.media_type());
    let submission = Submission { tenant: token.tenant, events, atomic, claim, rejects };
    let came_of_it = match append(&app, submission, tally, decisions.clone()).await? {
        Outcome::Appended(appended) => CameOfIt::Outcomes(decisions, appended),
        Outcome::Replayed(answer) => CameOfIt::Replayed(answer),
        Outcome::KeyReused => return Err(IngestError::KeyReused),
    };
    Ok(Ingested { came_of_it, allowance, answer_share })
}

/// Parses the events of a body and checks them against the rules. It returns the body too, because
/// the events are counted in the body's share of the room.
async fn read(
    app: web::Data<App>,
    kind: BodyKind,
    preferences: Preferences,
    binding: Binding,
    mut body: Body,
) -> Result<(Submitted, Body), IngestError> {
    let is_small = body.bytes().len() <= INLINE_BYTES_MAX;
    let read = move || {
        let options = &app.options;
        let now = Timestamp::from(chrono::Utc::now());
        let checker = Checker {
            policy: &options.policy,
            binding: &binding,
            now,
            events_max: options.events_max,
            lenient: preferences.lenient,
            keep: match (preferences.keep, preferences.atomic) {
                (false, _) => Keep::Nothing,
                (true, false) => Keep::Refusable,
                (true, true) => Keep::All,
            },
            budget: Budget::new(),
        };
        let (bytes, mut hold) = body.parts();
        let submitted = match kind.read(bytes, &checker, &mut hold) {
            Ok(submitted) => submitted,
            Err(fault) if preferences.keep && fault.is_of_content() => {
                let sent = Sent::of(&kind.as_text(bytes), &options.policy);
                Submitted::Unreadable(fault, sent)
            }
            Err(fault) => return Err(IngestError::Body(fault)),
        };
        drop(hold);
        Ok((submitted, body))
    };
    if is_small {
        return read();
    }
    web::block(read).await.map_err(|error| IngestError::Task(error.to_string()))?
}

/// The fingerprint of a request for its idempotency key. A request for a batch's answer is another
/// one than a request for a record with the same body.
fn fingerprint(body: &[u8], as_batch: bool) -> [u8; 32] {
    let mut hash = Sha256::new();
    if as_batch {
        hash.update(b"batch\n");
    }
    hash.update(body);
    hash.finalize().into()
}

/// The claim on an idempotency key, with the function that makes the answer kept for a repeat.
fn claim(
    key: String,
    fingerprint: [u8; 32],
    decisions: Arc<Decisions>,
    remember: Remember,
) -> Claim {
    let answer_bytes = decisions.bytes();
    let answer = Box::new(move |appended: &[Appended]| remember(&decisions, appended));
    Claim { key, fingerprint, answer, answer_bytes }
}

/// Appends and counts. Both run to the end even if the client disconnects.
async fn append(
    app: &App,
    submission: Submission,
    tally: Tally,
    decisions: Arc<Decisions>,
) -> Result<Outcome, IngestError> {
    let Submission { events, claim, rejects, .. } = &submission;
    if events.is_empty() && claim.is_none() && rejects.is_none() {
        let nothing = Ok(Outcome::Appended(Vec::new()));
        tally.end(&decisions, &nothing);
        return Ok(nothing?);
    }
    let appending = app.appender.append(submission);
    let work = async move {
        let outcome = appending.await;
        tally.end(&decisions, &outcome);
        outcome
    };
    let outcome = actix_web::rt::spawn(work).await;
    Ok(outcome.map_err(|error| IngestError::Task(error.to_string()))??)
}
