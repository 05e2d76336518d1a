//! The faults of a body, and the problem that tells all of them.

use std::borrow::Cow;

use conn_log_core::FaultKind;

use crate::http::problem::{Problem, ProblemKind, raw};

/// Maximum faults in one problem.
const FAULTS_MAX: usize = 32;

/// One fault of the object.
#[derive(Debug)]
pub(in crate::http) struct Fault {
    /// A JSON Pointer (RFC 6901).
    pub(in crate::http) pointer: String,
    pub(in crate::http) code: &'static str,
    pub(in crate::http) detail: Cow<'static, str>,
    pub(in crate::http) kind: FaultKind,
}

/// 422 for a value that only the store can tell to be wrong.
pub(crate) fn invalid_value(pointer: String, code: &'static str, detail: String) -> Problem {
    problem(vec![Fault { pointer, code, detail: detail.into(), kind: FaultKind::Value }])
}

pub(super) fn not_an_object(code: &'static str, detail: String) -> Problem {
    let kind = FaultKind::Shape;
    problem(vec![Fault { pointer: String::new(), code, detail: detail.into(), kind }])
}

/// 400 if at least one fault is of shape, else 422.
pub(in crate::http) fn problem(mut faults: Vec<Fault>) -> Problem {
    faults.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    let is_of_shape = faults.iter().any(|fault| fault.kind == FaultKind::Shape);
    let kind = if is_of_shape { ProblemKind::InvalidObject } else { ProblemKind::InvalidValue };
    let detail = match faults.len() {
        1 => "one fault".to_owned(),
        many => format!("{many} faults"),
    };
    let errors = faults.iter().take(FAULTS_MAX).map(|Fault { pointer, code, detail, .. }| {
        raw(&serde_json::json!({"pointer": pointer, "code": code, "detail": detail}))
    });
    Problem::new(kind, detail).with_member("errors", &errors.collect::<Vec<_>>())
}

/// The JSON Pointer of a member. A long name from the client is shortened.
pub(in crate::http) fn pointer(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
