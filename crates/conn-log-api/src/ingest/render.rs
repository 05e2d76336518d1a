//! Turns outcomes into answers. This is the only place where outcomes become statuses and bodies.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use conn_log_core::{Edition, Record, Timestamp};
use conn_log_store::Appended;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::Answer;
use super::decision::{Batch, Decisions, Form};
use super::outcome::{BatchOutcome, Counts, EventOutcome};
use crate::http::problem::{Problem, ProblemKind, json};

/// The answer, made after the store has returned the outcomes of its events.
pub(crate) fn answer(decisions: &Decisions, appended: &[Appended]) -> Answer {
    let answer = match &decisions.form {
        Form::Single(edition) => match decisions.outcomes(appended).next() {
            Some((_, outcome)) if decisions.keep && is_refused(outcome) => {
                kept_answer(decisions, &Batch::default(), appended)
            }
            Some((_, outcome)) => single(edition.unwrap_or(Edition::Second), outcome, decisions),
            None => problem(
                &Problem::internal("the store did not answer for an event"),
                &decisions.instance,
            ),
        },
        Form::Batch(batch) if decisions.keep => kept_answer(decisions, batch, appended),
        Form::Batch(batch) => batch_answer(decisions, batch, appended),
    };
    Answer { handling: decisions.handling.map(str::to_owned), ..answer }
}

fn is_refused(outcome: EventOutcome<'_>) -> bool {
    !matches!(outcome, EventOutcome::Stored(_) | EventOutcome::Duplicate(_))
}

/// The answer to a sender that cannot handle a refusal: 201 if all events were stored, else 200 with
/// the counts.
fn kept_answer(decisions: &Decisions, batch: &Batch, appended: &[Appended]) -> Answer {
    let counts = Counts::of(decisions.outcomes(appended));
    let status = match counts.batch() {
        BatchOutcome::Stored => StatusCode::CREATED,
        BatchOutcome::Duplicates | BatchOutcome::Mixed | BatchOutcome::Rejected(_) => {
            StatusCode::OK
        }
    };
    let not_attempted = not_attempted().to_json(None);
    let results = results(decisions, batch, counts, appended, &not_attempted);
    Answer { minimal: batch.minimal, ..Answer::new(status, json(&results)) }
}

fn status_of_event(outcome: EventOutcome<'_>) -> StatusCode {
    match outcome {
        EventOutcome::Stored(_) => StatusCode::CREATED,
        EventOutcome::Duplicate(_) => StatusCode::OK,
        EventOutcome::Rejected(rejection) => ProblemKind::from(rejection.kind).status(),
        EventOutcome::Conflict(_) => ProblemKind::EventIdConflict.status(),
        EventOutcome::NotAttempted => ProblemKind::NotAttempted.status(),
    }
}

fn status_of_batch(outcome: BatchOutcome) -> StatusCode {
    match outcome {
        BatchOutcome::Stored => StatusCode::CREATED,
        BatchOutcome::Duplicates => StatusCode::OK,
        BatchOutcome::Mixed => StatusCode::MULTI_STATUS,
        BatchOutcome::Rejected(kind) => ProblemKind::from(kind).status(),
    }
}

fn problem(problem: &Problem, instance: &str) -> Answer {
    Answer::new(problem.status(), problem.to_json(Some(instance)).get().to_owned())
}

pub(super) fn not_attempted() -> Problem {
    Problem::new(ProblemKind::NotAttempted, "another event of this atomic batch was refused")
}

pub(super) fn conflict(first: Option<i64>) -> Problem {
    match first {
        Some(id) => {
            let detail = format!("event {id} has this event_id and other content");
            Problem::new(ProblemKind::EventIdConflict, detail).with_member("id", &id)
        }
        None => Problem::new(
            ProblemKind::EventIdConflict,
            "an earlier event of this batch has this event_id and other content",
        ),
    }
}

fn single(edition: Edition, outcome: EventOutcome<'_>, decisions: &Decisions) -> Answer {
    let status = status_of_event(outcome);
    match outcome {
        EventOutcome::Stored(record) | EventOutcome::Duplicate(record) => {
            let body = match edition {
                Edition::First => json(&FirstEditionAnswer::of(record)),
                Edition::Second => record.to_json(),
            };
            Answer { location: Some(location(record.id)), ..Answer::new(status, body) }
        }
        EventOutcome::Rejected(rejection) => {
            Answer::new(status, rejection.problem.get().to_owned())
        }
        EventOutcome::Conflict(first) => problem(&conflict(first), &decisions.instance),
        EventOutcome::NotAttempted => problem(&not_attempted(), &decisions.instance),
    }
}

/// The address of a record.
fn location(id: i64) -> String {
    format!("/api/v1/device_app_connection_log/{id}/")
}

/// The first edition's answer.
#[derive(Serialize)]
struct FirstEditionAnswer {
    id: String,
    status: &'static str,
    /// The time when the event was stored.
    timestamp: Timestamp,
}

impl FirstEditionAnswer {
    fn of(record: &Record) -> Self {
        let id = format!("log_{}", record.id);
        FirstEditionAnswer { id, status: "created", timestamp: record.created_at }
    }
}

/// The results of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchResults<'a> {
    #[schema(value_type = u64)]
    accepted: usize,
    #[schema(value_type = u64)]
    duplicates: usize,
    #[schema(value_type = u64)]
    rejected: usize,
    /// With return=minimal only.
    #[schema(nullable = false, minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    first_id: Option<i64>,
    /// With return=minimal only.
    #[schema(nullable = false, minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    last_id: Option<i64>,
    results: Vec<EventResult<'a>>,
}

/// The result of one event of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventResult<'a> {
    /// The position of the event in the batch, from 0.
    #[schema(value_type = u64)]
    index: usize,
    /// The line of an NDJSON body, from 1.
    #[schema(value_type = Option<u64>, nullable = false, minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// 201 if stored, 200 for a repeat, otherwise the status of the problem.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// The stored event's id.
    #[schema(nullable = false, minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[schema(value_type = Option<crate::http::openapi::Problem>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Cow<'a, RawValue>>,
}

fn batch_answer(decisions: &Decisions, batch: &Batch, appended: &[Appended]) -> Answer {
    let counts = Counts::of(decisions.outcomes(appended));
    let not_attempted = not_attempted().to_json(None);
    let results = results(decisions, batch, counts, appended, &not_attempted);
    let outcome = counts.batch();
    let body = match outcome {
        BatchOutcome::Rejected(kind) => {
            let errors = errors(decisions, batch, appended);
            none_stored(kind.into(), &decisions.instance, &errors, &results)
        }
        BatchOutcome::Stored | BatchOutcome::Duplicates | BatchOutcome::Mixed => json(&results),
    };
    Answer { minimal: batch.minimal, ..Answer::new(status_of_batch(outcome), body) }
}

fn results<'a>(
    decisions: &'a Decisions,
    batch: &Batch,
    counts: Counts,
    appended: &'a [Appended],
    not_attempted: &'a RawValue,
) -> BatchResults<'a> {
    let results = decisions.outcomes(appended).map(|(index, outcome)| {
        let (id, problem) = match outcome {
            EventOutcome::Stored(record) | EventOutcome::Duplicate(record) => {
                (Some(record.id), None)
            }
            EventOutcome::Rejected(rejection) => (None, Some(Cow::Borrowed(&*rejection.problem))),
            EventOutcome::Conflict(first) => {
                (None, Some(Cow::Owned(conflict(first).to_json(None))))
            }
            EventOutcome::NotAttempted => (None, Some(Cow::Borrowed(not_attempted))),
        };
        let status = status_of_event(outcome).as_u16();
        EventResult { index, line: decisions.slots[index].line, status, id, problem }
    });
    let mut stored = appended.iter().filter_map(|appended| match appended {
        Appended::Stored(record) if batch.minimal => Some(record.id),
        _ => None,
    });
    let first_id = stored.next();
    BatchResults {
        accepted: counts.stored,
        duplicates: counts.duplicates,
        rejected: counts.rejected(),
        first_id,
        last_id: stored.next_back().or(first_id),
        results: results.filter(|result| result.problem.is_some() || !batch.minimal).collect(),
    }
}

/// Every fault of a batch of which nothing was stored. The list is built here if the store refused
/// events of the batch.
fn errors<'a>(
    decisions: &Decisions,
    batch: &'a Batch,
    appended: &[Appended],
) -> Cow<'a, [Box<RawValue>]> {
    if appended.is_empty() {
        return Cow::Borrowed(&batch.errors);
    }
    let errors = decisions.outcomes(appended).flat_map(|(index, outcome)| match outcome {
        EventOutcome::Rejected(rejection) => rejection.errors(index),
        _ => Vec::new(),
    });
    errors.collect()
}

/// The problem for a batch of which nothing was stored.
fn none_stored(
    kind: ProblemKind,
    instance: &str,
    errors: &[Box<RawValue>],
    results: &BatchResults<'_>,
) -> String {
    let problem = Problem::new(kind, "no event of the batch was stored")
        .with_member("errors", &errors)
        .with_member("accepted", &results.accepted)
        .with_member("duplicates", &results.duplicates)
        .with_member("rejected", &results.rejected)
        .with_member("results", &results.results);
    problem.to_json(Some(instance)).get().to_owned()
}

#[cfg(test)]
mod tests {
    use conn_log_core::{EventDraft, EventPolicy};
    use rstest::rstest;

    use super::*;
    use crate::ingest::decision::decide;
    use crate::ingest::request::Preferences;
    use crate::ingest::submitted::{Item, ParsedEvent, Submitted};

    fn item(event_id: &str) -> Item {
        let json = format!(
            r#"{{"device_id": "d", "application_id": "a", "connection_type": "attempted",
                "timestamp": "2024-01-15T10:30:00Z", "status": "denied"{event_id}}}"#
        );
        let draft = EventDraft::from_json(&json).unwrap();
        let edition = draft.edition();
        let event = EventPolicy::default().check(draft, Timestamp::MAX).unwrap();
        Item { line: Some(999_999), parsed: Ok(ParsedEvent { edition, event }), sent: None }
    }

    /// The size promised before the append must be enough for every reply of the store.
    #[rstest]
    #[case::alone(false, [Appended::Conflict(Some(i64::MAX)), Appended::Conflict(Some(i64::MAX))])]
    #[case::atomic(true, [Appended::NotAttempted, Appended::Conflict(None)])]
    fn an_answer_of_refusals_has_room(#[case] atomic: bool, #[case] appended: [Appended; 2]) {
        let first = if atomic { "" } else { r#", "event_id": "e""# };
        let items = vec![item(first), item(r#", "event_id": "e""#)];
        let preferences =
            Preferences { atomic, minimal: false, keep: false, lenient: false, handling: None };
        let (decisions, _) = decide(Submitted::Batch(items), preferences);
        let Form::Batch(batch) = &decisions.form else { panic!("it is a batch") };
        let not_attempted = not_attempted().to_json(None);
        let results = results(&decisions, batch, Counts::default(), &appended, &not_attempted);
        let bytes = json(&results.results).len();
        assert!(bytes <= decisions.answer_bytes_max(), "{bytes}");
    }
}
