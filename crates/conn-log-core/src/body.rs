//! A JSON request body: one event, an envelope around more JSON, or an array of events.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::EventDraft;
use crate::event::json_object::{JSON_SPACE, JsonObject, invalid_json};
use crate::event::member_name::string;
use crate::fault::{Fault, FaultCode, Faults};

/// A JSON body with a known shape, but not yet checked against the rules.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart where it is made")]
pub enum JsonBody<'a> {
    /// One event.
    Event(EventDraft<'a>),
    /// An array; each element is the JSON text of an expected event.
    Events(Vec<&'a RawValue>),
    /// `{"data": "<JSON text>"}`, unwrapped: the inner text is the body. Members beside `data` are
    /// ignored, unless one is a field of an event.
    Envelope(String),
}

impl<'a> JsonBody<'a> {
    /// Finds the shape of `bytes`. Stops reading an array once it has more than `events_max`
    /// elements.
    ///
    /// # Errors
    /// [`BodyError::Faults`] if it is not JSON, or an envelope without a text;
    /// [`BodyError::TooManyEvents`] for an array with more elements than the limit.
    pub fn read(bytes: &'a [u8], events_max: usize) -> Result<Self, BodyError> {
        let text = utf8(without_byte_order_mark(bytes))?;
        let start = text.trim_start_matches(JSON_SPACE);
        if start.is_empty() {
            return Err(Fault::new("", FaultCode::Empty, "the body is empty").into());
        }
        if start.starts_with('[') {
            return Ok(JsonBody::Events(elements::read(text, events_max)?));
        }
        let object = JsonObject::parse(text).map_err(|faults| several_objects(text, faults))?;
        match object.envelope() {
            Some(data) => Ok(JsonBody::Envelope(envelope_text(data)?)),
            None => Ok(JsonBody::Event(EventDraft::from_object(object))),
        }
    }
}

/// The reason why a body has no events.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// The shape of the body is wrong.
    #[error(transparent)]
    Faults(Faults),
    /// It has more events than the limit.
    #[error("more events than the limit")]
    TooManyEvents,
}

impl From<Faults> for BodyError {
    fn from(faults: Faults) -> Self {
        BodyError::Faults(faults)
    }
}

impl From<Fault> for BodyError {
    fn from(fault: Fault) -> Self {
        BodyError::Faults(fault.into())
    }
}

/// `bytes` as text; JSON is UTF-8 (RFC 8259, section 8.1).
///
/// # Errors
/// One fault, which names the byte at which the text becomes invalid.
pub fn utf8(bytes: &[u8]) -> Result<&str, Faults> {
    std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("not UTF-8 from byte {} on", error.valid_up_to());
        Fault::new("", FaultCode::InvalidJson, detail).into()
    })
}

/// `bytes` without the byte order mark before them: programs on Windows write one at the start of a
/// file, and a reader of JSON may skip it (RFC 8259, section 8.1).
pub fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The faults of a text that is not one object. Objects one after the other are most often NDJSON
/// that was sent as JSON, so the fault then names the media type that takes them.
fn several_objects(text: &str, faults: Faults) -> Faults {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let has_one = values.next().is_some_and(|value| value.is_ok());
    let rest = text.get(values.byte_offset()..).unwrap_or_default();
    if !has_one || !rest.trim_start_matches(JSON_SPACE).starts_with('{') {
        return faults;
    }
    let detail = "an object follows the first: send several events as an array, or one a line as \
                  application/x-ndjson";
    Fault::new("", FaultCode::InvalidJson, detail).into()
}

fn envelope_text(data: &RawValue) -> Result<String, Fault> {
    if !data.get().starts_with('"') {
        let detail = "data is a JSON string that holds the JSON text of an event or an array";
        return Err(Fault::new("/data", FaultCode::WrongType, detail));
    }
    let text = string(data).map(Cow::into_owned);
    text.ok_or_else(|| Fault::new("/data", FaultCode::NotIJson, "a lone surrogate (RFC 7493)"))
}

/// Reads a JSON array's elements as raw text, up to a limit.
mod elements {
    use std::fmt;

    use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

    use super::{BodyError, RawValue, invalid_json};

    pub(super) fn read(text: &str, events_max: usize) -> Result<Vec<&RawValue>, BodyError> {
        let mut too_many = false;
        let mut json = serde_json::Deserializer::from_str(text);
        let elements = Elements { events_max, too_many: &mut too_many }.deserialize(&mut json);
        if too_many {
            return Err(BodyError::TooManyEvents);
        }
        let elements = elements.map_err(|error| invalid_json(&error))?;
        json.end().map_err(|error| invalid_json(&error))?;
        Ok(elements)
    }

    struct Elements<'t> {
        events_max: usize,
        too_many: &'t mut bool,
    }

    impl<'de> DeserializeSeed<'de> for Elements<'_> {
        type Value = Vec<&'de RawValue>;

        fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
            json.deserialize_seq(self)
        }
    }

    impl<'de> Visitor<'de> for Elements<'_> {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                if elements.len() == self.events_max {
                    *self.too_many = true;
                    return Err(A::Error::custom("too many events"));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
}
