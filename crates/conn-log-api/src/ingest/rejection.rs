//! Events that are refused: what is wrong with them, as the answer will say it.
//!
//! The text is made before the append. The writer's thread, which makes the answer for a request
//! with an idempotency key, then only copies it, and a queue full of batches holds no lists of faults.

use std::borrow::Cow;

use conn_log_core::{FaultKind, Faults};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::problem::{Problem, raw};
use crate::http::request_id;

/// Bytes of a batch's problems that list each fault. Beyond it they say what and how many: an answer
/// is not many times as large as its request, nor what is remembered of it. Where nothing can be stored, the
/// same faults stand once more under the whole problem's `errors`.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// Why one event is refused.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) kind: FaultKind,
    /// The problem, as JSON.
    pub(crate) problem: Box<RawValue>,
}

impl Rejection {
    /// Of the only event of a request: its problem is the whole answer.
    pub(crate) fn alone(faults: &Faults) -> Self {
        let problem = Problem::from(faults).to_json(Some(&request_id::current()));
        Rejection { kind: faults.kind(), problem }
    }

    /// The faults that its problem lists, for the problem of a whole batch in which the event has that index.
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
        // This server has written it.
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
    /// `None` once an event is for the store: then hardly ever a problem of the whole batch lists them.
    errors: Option<Vec<Box<RawValue>>>,
}

impl Rejections {
    pub(crate) fn new() -> Self {
        Rejections { bytes_left: PROBLEM_BYTES_MAX, errors: Some(Vec::new()) }
    }

    /// Says that an event of the batch is for the store.
    pub(crate) fn one_is_good(&mut self) {
        self.errors = None;
    }

    /// Of the event at `index`.
    pub(crate) fn reject(&mut self, index: usize, faults: &Faults) -> Rejection {
        let mut problem = Problem::from(faults).to_json(None);
        if problem.get().len() > self.bytes_left {
            problem = Problem::from(faults).without_errors().to_json(None);
        } else if let Some(errors) = &mut self.errors {
            errors.extend(Problem::errors(&format!("/{index}"), faults));
        }
        self.bytes_left = self.bytes_left.saturating_sub(problem.get().len());
        Rejection { kind: faults.kind(), problem }
    }

    /// The faults that the problems list, each with its place in the batch; none where an event of
    /// it is for the store.
    pub(crate) fn into_errors(self) -> Vec<Box<RawValue>> {
        self.errors.unwrap_or_default()
    }
}
