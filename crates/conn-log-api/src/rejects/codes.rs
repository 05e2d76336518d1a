//! The codes that a reject can have, for the list's filter.

use conn_log_core::FaultCode;

use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;

/// Codes of bodies of which no event could be read. The core does not know them.
const OF_BODIES: [&str; 3] = ["not_a_form", "not_compressed", "envelope_in_envelope"];

/// The kinds of problems of rejects.
const KINDS: [ProblemKind; 5] = [
    ProblemKind::InvalidBody,
    ProblemKind::InvalidEvent,
    ProblemKind::NotBound,
    ProblemKind::EventIdConflict,
    ProblemKind::NotAttempted,
];

/// Takes the filter `code` out of a query string. A code that no reject can have is mistyped.
pub(super) fn read(parameters: &mut QueryString) -> Result<Option<String>, Problem> {
    let expected = "the code of a fault, such as unknown_value, or the kind of a problem, such as invalid-event";
    parameters.read("code", expected, |text| is_known(text).then(|| text.to_owned()))
}

fn is_known(code: &str) -> bool {
    FaultCode::ALL.iter().any(|known| known.as_str() == code)
        || OF_BODIES.contains(&code)
        || KINDS.iter().any(|kind| kind.slug() == code || kind.slug().replace('-', "_") == code)
}
