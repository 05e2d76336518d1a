//! Problems for requests that failed as a whole.

use super::pipeline::IngestError;
use super::submitted::BodyFault;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::{body, idempotency};

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Body(fault) => fault.into(),
            IngestError::OverRate(over_rate) => over_rate.into(),
            IngestError::KeyReused => idempotency::key_reused(),
            IngestError::NoRoomForAnswer(no_room) => no_room.into(),
            IngestError::Append(error) => error.into(),
            IngestError::Task(cause) => Problem::internal(&cause),
        }
    }
}

impl From<BodyFault> for Problem {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::NotCompressed(fault) => body::not_compressed(&fault),
            BodyFault::Json(faults) => Problem::from(&faults),
            BodyFault::NotAForm(fault) => {
                Problem::body_fault("not_a_form", format!("not a form: {fault}"))
            }
            BodyFault::NoData => Problem::body_fault("missing", "the form has no field data"),
            BodyFault::DataTwice => {
                Problem::body_fault("duplicate_key", "the form has the field data twice")
            }
            BodyFault::NestedEnvelope => Problem::body_fault(
                "envelope_in_envelope",
                "an envelope holds an event or an array, not another envelope",
            ),
            BodyFault::NoEvent => Problem::body_fault("empty", "there is no event in the body"),
            BodyFault::TooManyEvents { events_max } => Problem::new(
                ProblemKind::TooLarge,
                format!("a request has at most {events_max} events"),
            ),
            BodyFault::NestsDeep { brackets_max } => Problem::body_fault(
                "invalid_json",
                format!("more than {brackets_max} brackets are open at once"),
            ),
            BodyFault::NoRoom(no_room) => no_room.into(),
        }
    }
}
