//! Reads one JSON value of the metadata: builds it, redacts it and finds every fault, in one pass.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{INTEGER_MAX, METADATA_LEVELS_MAX, MetadataBuilder, nul_character, too_deep};
use crate::event::member_name::duplicate_key;
use crate::event::redaction::REDACTED;
use crate::fault::{Fault, FaultCode, push_pointer_step};

/// Reads one value, with all nested values.
pub(super) struct ValueReader<'b, 'r> {
    pub(super) builder: &'b mut MetadataBuilder<'r>,
    /// The pointer of the value; unchanged after the read.
    pub(super) pointer: &'b mut String,
    /// The level that an object or array would have here.
    pub(super) level: usize,
}

impl ValueReader<'_, '_> {
    fn is_too_deep(&mut self) -> bool {
        let deeper = self.level > METADATA_LEVELS_MAX;
        if deeper {
            self.builder.faults.push(too_deep(self.pointer));
        }
        deeper
    }

    fn number(&mut self, value: f64, number: Value) -> Value {
        if value.abs() > INTEGER_MAX {
            self.builder.faults.push(Fault::new(
                self.pointer.as_str(),
                FaultCode::NotIJson,
                "integers are within ±(2^53 - 1) (RFC 7493)",
            ));
        }
        number
    }
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[expect(clippy::cast_precision_loss, reason = "only compared with 2^53, far above any loss")]
impl<'de> Visitor<'de> for ValueReader<'_, '_> {
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

    /// From a value, not from a text: takes the text without a copy.
    fn visit_string<E>(self, text: String) -> Result<Value, E> {
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
            let seed = ValueReader {
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
            push_pointer_step(self.pointer, &name);
            if name.contains('\0') {
                self.builder.faults.push(nul_character(self.pointer));
            }
            let seed = ValueReader {
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
