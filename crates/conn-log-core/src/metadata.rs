//! An event's metadata: any JSON object within I-JSON, bounded, redacted, in canonical form.
//!
//! One pass over the text builds the value, redacts it and finds every fault.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fault::{Fault, FaultCode, pointer_step};
use crate::members::duplicate_key;
use crate::redaction::{REDACTED, SensitiveKeys};

/// The metadata's own braces are level 1. Deep enough for any record of a connection, and shallow
/// enough that no reader's recursion is in danger.
pub(crate) const METADATA_LEVELS_MAX: usize = 8;

/// Of the canonical text. With 10,000 events a batch this bounds a request's metadata as well.
pub(crate) const METADATA_BYTES_MAX: usize = 16 * 1024;

/// Of a member's text as sent, before it is looked into: eight times as much, since escapes and
/// white space may swell what is small. It bounds what a hostile text can make the reader build.
const METADATA_TEXT_BYTES_MAX: usize = 8 * METADATA_BYTES_MAX;

/// The largest integer that every JSON reader holds exactly: 2^53 - 1 (RFC 7493, section 2.2).
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Collects metadata from the members that make it up.
pub(crate) struct MetadataBuilder<'r> {
    sensitive: &'r SensitiveKeys,
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

impl<'r> MetadataBuilder<'r> {
    pub(crate) fn new(sensitive: &'r SensitiveKeys) -> Self {
        MetadataBuilder { sensitive, object: Map::new(), faults: Vec::new() }
    }

    /// Takes the `metadata` member itself.
    pub(crate) fn object(&mut self, raw: &RawValue) {
        match self.read(raw, "/metadata", 1) {
            Some(Value::Object(object)) => self.object = object,
            Some(Value::Null) | None => {}
            Some(_) => self.faults.push(Fault::new(
                "/metadata",
                FaultCode::WrongType,
                "metadata is a JSON object",
            )),
        }
    }

    /// Takes a member of the event that belongs into the metadata. A name already there wins.
    pub(crate) fn member(&mut self, name: &str, raw: &RawValue) {
        let value = if self.sensitive.matches(name) {
            Some(Value::from(REDACTED))
        } else {
            self.read(raw, &pointer_step(name), 2)
        };
        if let Some(value) = value {
            self.insert(name, value);
        }
        if name.contains('\0') {
            self.faults.push(nul_character(&pointer_step(name)));
        }
    }

    /// Puts a value under a name, unless the name is there.
    pub(crate) fn insert(&mut self, name: &str, value: Value) {
        if !self.object.contains_key(name) {
            self.object.insert(name.to_owned(), value);
        }
    }

    /// The text under `session_id`, where it can be a session's id.
    pub(crate) fn session_id(&self) -> Option<&str> {
        let text = self.object.get("session_id")?.as_str()?;
        (1..=255).contains(&text.chars().count()).then_some(text)
    }

    /// RFC 8785 canonical text, or what is wrong.
    pub(crate) fn finish(mut self, faults: &mut Vec<Fault>) -> String {
        faults.append(&mut self.faults);
        if self.object.is_empty() {
            return "{}".to_owned();
        }
        // It fails only for numbers that are not finite, which no JSON text has.
        let text = serde_json_canonicalizer::to_string(&self.object).unwrap_or_default();
        if text.len() > METADATA_BYTES_MAX {
            faults.push(too_large("/metadata"));
        }
        text
    }

    fn read(&mut self, raw: &RawValue, pointer: &str, level: usize) -> Option<Value> {
        if raw.get().len() > METADATA_TEXT_BYTES_MAX {
            self.faults.push(too_large(pointer));
            return None;
        }
        let mut pointer = pointer.to_owned();
        let start = pointer.clone();
        let seed = Reader { builder: self, pointer: &mut pointer, level };
        match seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get())) {
            Ok(value) => Some(value),
            // The text is JSON already, so what is left is a lone surrogate or a number that no
            // double holds.
            Err(_) => {
                self.faults.push(Fault::new(
                    start,
                    FaultCode::NotIJson,
                    "a lone surrogate or a number too large (RFC 7493)",
                ));
                None
            }
        }
    }
}

fn too_large(pointer: &str) -> Fault {
    Fault::new(
        pointer,
        FaultCode::TooLarge,
        "metadata, with the unknown fields that move into it, is at most 16 KiB",
    )
}

fn nul_character(pointer: &str) -> Fault {
    Fault::new(pointer, FaultCode::NulCharacter, "U+0000 is not taken in any text")
}

/// The text under `session_id` of canonical metadata.
pub(crate) fn session_id(metadata: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Only {
        session_id: Option<Value>,
    }
    if !metadata.contains("\"session_id\"") {
        return None;
    }
    match serde_json::from_str::<Only>(metadata).ok()?.session_id? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Reads one value, and everything in it.
struct Reader<'b, 'r> {
    builder: &'b mut MetadataBuilder<'r>,
    /// Where the value stands; given back as it was.
    pointer: &'b mut String,
    /// The level that an object or array here would be.
    level: usize,
}

impl Reader<'_, '_> {
    fn fault(&mut self, code: FaultCode, detail: &str) {
        self.builder.faults.push(Fault::new(self.pointer.clone(), code, detail));
    }

    fn is_too_deep(&mut self) -> bool {
        let too_deep = self.level > METADATA_LEVELS_MAX;
        if too_deep {
            self.fault(FaultCode::TooDeep, "metadata has at most 8 levels");
        }
        too_deep
    }

    fn number(&mut self, value: f64, number: Value) -> Value {
        if value.abs() > INTEGER_MAX {
            self.fault(FaultCode::NotIJson, "integers are within ±(2^53 - 1) (RFC 7493)");
        }
        number
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[expect(clippy::cast_precision_loss, reason = "only compared with 2^53, far above any loss")]
impl<'de> Visitor<'de> for Reader<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<Value, E> {
        Ok(self.number(value as f64, value.into()))
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<Value, E> {
        Ok(self.number(value as f64, value.into()))
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<Value, E> {
        Ok(self.number(value, value.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        if text.contains('\0') {
            self.builder.faults.push(nul_character(self.pointer));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        if self.is_too_deep() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut values = Vec::new();
        let parent = self.pointer.len();
        loop {
            // Writing to a String cannot fail.
            let _ = write!(self.pointer, "/{}", values.len());
            let seed = Reader {
                builder: &mut *self.builder,
                pointer: &mut *self.pointer,
                level: self.level + 1,
            };
            let value = seq.next_element_seed(seed)?;
            self.pointer.truncate(parent);
            match value {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        if self.is_too_deep() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut object = Map::new();
        let parent = self.pointer.len();
        while let Some(name) = map.next_key::<String>()? {
            if object.contains_key(&name) {
                self.builder.faults.push(duplicate_key(self.pointer, &name));
            }
            self.pointer.push_str(&pointer_step(&name));
            if name.contains('\0') {
                self.builder.faults.push(nul_character(self.pointer));
            }
            let seed = Reader {
                builder: &mut *self.builder,
                pointer: &mut *self.pointer,
                level: self.level + 1,
            };
            let mut value = map.next_value_seed(seed)?;
            self.pointer.truncate(parent);
            if self.builder.sensitive.matches(&name) {
                value = REDACTED.into();
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
