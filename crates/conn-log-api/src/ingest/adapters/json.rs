//! JSON: an event, an array of events, or an envelope around the JSON text of either.

use conn_log_core::{BodyError, JsonBody};

use super::nesting::nests_little;
use super::{Checker, Hold};
use crate::ingest::submitted::{BodyFault, Submitted};

pub(super) fn read(
    body: &[u8],
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    match told_apart(body, checker)? {
        JsonBody::Envelope(text) => unwrapped(text.as_bytes(), checker, hold),
        events => checked(body, events, checker, hold),
    }
}

/// The content of an envelope or a form: an event or an array of events, but no further envelope.
pub(super) fn unwrapped(
    text: &[u8],
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    checked(text, told_apart(text, checker)?, checker, hold)
}

fn told_apart<'b>(body: &'b [u8], checker: &Checker<'_>) -> Result<JsonBody<'b>, BodyFault> {
    nests_little(body)?;
    JsonBody::read(body, checker.events_max).map_err(|error| match error {
        BodyError::Faults(faults) => BodyFault::Json(faults),
        BodyError::TooManyEvents => checker.too_many(),
    })
}

fn checked(
    text: &[u8],
    body: JsonBody<'_>,
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    match body {
        JsonBody::Event(draft) => Ok(Submitted::Single(checker.single(text, draft))),
        JsonBody::Events(elements) => {
            let item = |json: &str| checker.item(None, json.as_bytes());
            checker.batch(elements.iter().map(|element| item(element.get())), hold)
        }
        JsonBody::Envelope(_) => Err(BodyFault::NestedEnvelope),
    }
}
