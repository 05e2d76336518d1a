//! The rejects of a request: its refused events with their problems, for the store to keep.

use std::sync::Arc;

use conn_log_store::{Appended, NewReject, Rejects};
use uuid::Uuid;

use super::decision::{Decisions, Slot, Verdict};
use super::outcome::EventOutcome;
use super::render;
use crate::http::problem::{Problem, ProblemKind};

/// Bytes of a reject besides its body and its problem.
const REJECT_BYTES: usize = 256;

/// The rejects of a request. `None` if none of its events can be refused and kept.
pub(crate) fn rejects(
    decisions: &Arc<Decisions>,
    token_id: Uuid,
    content_type: &'static str,
) -> Option<Rejects> {
    let kept = || decisions.slots.iter().filter(|slot| slot.sent.is_some());
    kept().next()?;
    let is_refused = |slot: &&Slot| !matches!(slot.verdict, Verdict::Store);
    let refused = kept().filter(is_refused).count();
    let bytes = kept().map(bytes_of).sum();
    let decisions = Arc::clone(decisions);
    let make = Box::new(move |appended: &[Appended]| {
        let outcomes = decisions.outcomes(appended);
        let rejects = outcomes.filter_map(|(index, outcome)| {
            let sent = decisions.slots[index].sent.as_ref()?;
            let (codes, problem) = refusal(outcome)?;
            Some(NewReject {
                token_id,
                codes,
                content_type: content_type.to_owned(),
                problem,
                body: sent.body.clone(),
                is_truncated: sent.is_truncated,
            })
        });
        rejects.collect()
    });
    Some(Rejects { make, refused, bytes })
}

/// An estimate of the memory that a reject takes until it is stored.
fn bytes_of(slot: &Slot) -> usize {
    let problem = match &slot.verdict {
        Verdict::Reject(rejection) => {
            rejection.problem.get().len() + size_of_val(&rejection.codes[..])
        }
        Verdict::Store | Verdict::NotAttempted => 0,
    };
    REJECT_BYTES + problem + slot.sent.as_ref().map_or(0, |sent| sent.body.len())
}

/// The codes and the problem of an event that was refused.
fn refusal(outcome: EventOutcome<'_>) -> Option<(Vec<String>, String)> {
    let of_store = |kind: ProblemKind, problem: &Problem| {
        let codes = vec![kind.slug().to_owned(), kind.slug().replace('-', "_")];
        Some((codes, problem.to_json(None).get().to_owned()))
    };
    match outcome {
        EventOutcome::Stored(_) | EventOutcome::Duplicate(_) => None,
        EventOutcome::Rejected(rejection) => {
            let codes = rejection.codes.iter().copied().map(str::to_owned).collect();
            Some((codes, rejection.problem.get().to_owned()))
        }
        EventOutcome::Conflict(first) => {
            of_store(ProblemKind::EventIdConflict, &render::conflict(first))
        }
        EventOutcome::NotAttempted => of_store(ProblemKind::NotAttempted, &render::not_attempted()),
    }
}
