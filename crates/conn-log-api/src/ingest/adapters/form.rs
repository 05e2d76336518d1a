//! A form: its field `data` is the JSON text of an event or an array of events.

use super::{Checker, json};
use crate::http::query_string;
use crate::ingest::submitted::{BodyFault, Submitted};

pub(super) fn read(body: &[u8], checker: &Checker<'_>) -> Result<Submitted, BodyFault> {
    json::unwrapped(data(body)?.as_bytes(), checker)
}

/// The field `data`.
fn data(body: &[u8]) -> Result<String, BodyFault> {
    let fields = query_string::pairs(body).map_err(BodyFault::NotAForm)?;
    let mut data = fields.into_iter().filter(|(name, _)| name == "data").map(|(_, value)| value);
    match (data.next(), data.next()) {
        (Some(data), None) => Ok(data),
        (None, _) => Err(BodyFault::NoData),
        (Some(_), Some(_)) => Err(BodyFault::DataTwice),
    }
}
