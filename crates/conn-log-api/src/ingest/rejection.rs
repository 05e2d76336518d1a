//! Rejected events and their problems, as the answer will show them.
//!
//! The text of a problem is made before the append. For a request with an idempotency key, the
//! writer's thread makes the answer and then only copies the text. A queue full of batches also
//! holds no lists of faults.

use std::borrow::Cow;

use conn_log_core::{FaultKind, Faults};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::submitted::BodyFault;
use crate::http::problem::{Problem, ProblemKind, raw};
use crate::http::request_id;

/// Bytes of a batch's problems that list each fault. Problems beyond this limit give only the kind
/// and the number of faults. The limit keeps an answer, and the copy kept for a repeat, from being
/// many times as large as the request. If nothing can be stored, the same faults are listed once
/// more in `errors` of the whole batch's problem.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// The rejection of one event.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) kind: FaultKind,
    /// The problem, as JSON.
    pub(crate) problem: Box<RawValue>,
    /// The kind of the problem and the codes of its faults, for an event that is kept.
    pub(crate) codes: Vec<&'static str>,
}

impl Rejection {
    /// The rejection of a request's only event. Its problem is the whole answer.
    pub(crate) fn alone(faults: &Faults) -> Self {
        let problem = Problem::from(faults).to_json(Some(&request_id::current()));
        Rejection { kind: faults.kind(), problem, codes: codes(faults) }
    }

    /// The rejection of a whole body, of which no event could be read.
    pub(crate) fn of_body(fault: BodyFault) -> Self {
        let code = match &fault {
            BodyFault::Json(faults) => return Rejection::alone(faults),
            BodyFault::NotCompressed(_) => "not_compressed",
            BodyFault::NotAForm(_) => "not_a_form",
            BodyFault::NoData => "missing",
            BodyFault::DataTwice => "duplicate_key",
            BodyFault::NestedEnvelope => "envelope_in_envelope",
            BodyFault::NestsDeep { .. } => "invalid_json",
            BodyFault::NoEvent => "empty",
            BodyFault::TooManyEvents { .. } | BodyFault::NoRoom(_) => "too_large",
        };
        let problem = Problem::from(fault).to_json(Some(&request_id::current()));
        let codes = vec![ProblemKind::InvalidBody.slug(), code];
        Rejection { kind: FaultKind::Shape, problem, codes }
    }

    /// The faults that the event's problem lists, for the problem of the whole batch. `index` is
    /// the event's index in the batch.
    pub(crate) fn errors(&self, index: usize) -> Vec<Box<RawValue>> {
        #[derive(Deserialize, Serialize)]
        struct Fault<'a> {
            pointer: String,
            #[serde(borrow)]
            code: Cow<'a, str>,
            #[serde(borrow)]
            detail: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Listed<'a> {
            #[serde(borrow, default)]
            errors: Vec<Fault<'a>>,
        }
        // This server has written the JSON, so it can be parsed.
        let Ok(Listed { errors }) = serde_json::from_str(self.problem.get()) else {
            return Vec::new();
        };
        let placed = |fault: Fault<'_>| {
            raw(&Fault { pointer: format!("/{index}{}", fault.pointer), ..fault })
        };
        errors.into_iter().map(placed).collect()
    }
}

/// The rejections of a batch.
#[derive(Debug)]
pub(crate) struct Rejections {
    bytes_left: usize,
    /// Whether the events are kept.
    keep: bool,
    /// `None` once an event goes to the store, because a problem of the whole batch then hardly
    /// ever lists the faults.
    errors: Option<Vec<Box<RawValue>>>,
}

impl Rejections {
    pub(crate) fn new(keep: bool) -> Self {
        Rejections { bytes_left: PROBLEM_BYTES_MAX, keep, errors: Some(Vec::new()) }
    }

    /// Notes that an event of the batch goes to the store.
    pub(crate) fn one_is_good(&mut self) {
        self.errors = None;
    }

    /// Makes the rejection of the event at `index`.
    pub(crate) fn reject(&mut self, index: usize, faults: &Faults) -> Rejection {
        let mut problem = Problem::from(faults).to_json(None);
        if problem.get().len() > self.bytes_left {
            problem = Problem::from(faults).without_errors().to_json(None);
        } else if let Some(errors) = &mut self.errors {
            errors.extend(Problem::errors(&format!("/{index}"), faults));
        }
        self.bytes_left = self.bytes_left.saturating_sub(problem.get().len());
        let codes = if self.keep { codes(faults) } else { Vec::new() };
        Rejection { kind: faults.kind(), problem, codes }
    }

    /// The faults that the problems list, each with its place in the batch. Empty if an event of
    /// the batch goes to the store.
    pub(crate) fn into_errors(self) -> Vec<Box<RawValue>> {
        self.errors.unwrap_or_default()
    }
}

/// The kind of the faults' problem, and their codes, each once.
fn codes(faults: &Faults) -> Vec<&'static str> {
    let mut codes = vec![ProblemKind::from(faults.kind()).slug()];
    for code in faults.as_slice().iter().map(|fault| fault.code.as_str()) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}
