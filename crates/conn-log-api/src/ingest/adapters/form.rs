//! A form: its field `data` is the JSON text of an event or an array of events.

use std::borrow::Cow;

use super::{Checker, Hold, json};
use crate::http::query_string;
use crate::ingest::submitted::{BodyFault, Submitted};

pub(super) fn read(
    body: &[u8],
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    json::unwrapped(data(body)?.as_bytes(), checker, hold)
}

/// The `data` field. The other fields are read one by one and not kept.
fn data(body: &[u8]) -> Result<Cow<'_, str>, BodyFault> {
    let mut data = None;
    for pair in query_string::pairs(body) {
        let (name, value) = pair.map_err(BodyFault::NotAForm)?;
        if name == "data" && data.replace(value).is_some() {
            return Err(BodyFault::DataTwice);
        }
    }
    data.ok_or(BodyFault::NoData)
}
