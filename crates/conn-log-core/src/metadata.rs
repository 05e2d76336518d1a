//! An event's metadata: any JSON object within I-JSON, bounded, redacted, in canonical form.
//!
//! One pass over the text builds the value, redacts it and finds every fault.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fault::{Fault, FaultCode, FaultList, pointer_step, push_pointer_step};
use crate::members::{Name, broken_name, duplicate_key, string};
use crate::parts::{self, Parts};
use crate::redaction::{REDACTED, SensitiveKeys};

/// The metadata's own braces are level 1. Deep enough for any record of a connection, and shallow
/// enough that no reader's recursion is in danger.
pub(crate) const METADATA_LEVELS_MAX: usize = 8;

/// Of the canonical text. With 10,000 events a batch this bounds a request's metadata as well.
pub(crate) const METADATA_BYTES_MAX: usize = 16 * 1024;

/// Of all its text as sent, before it is looked into: eight times as much, since escapes and
/// white space may swell what is small. It bounds what a hostile text can make the reader build.
const METADATA_TEXT_BYTES_MAX: usize = 8 * METADATA_BYTES_MAX;

/// The largest integer that every JSON reader holds exactly: 2^53 - 1 (RFC 7493, section 2.2).
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Collects metadata from the members that make it up.
pub(crate) struct MetadataBuilder<'r> {
    sensitive: &'r SensitiveKeys,
    object: Map<String, Value>,
    /// Of the members taken so far, as sent.
    text_bytes: usize,
    too_large: bool,
    faults: FaultList,
}

impl<'r> MetadataBuilder<'r> {
    pub(crate) fn new(sensitive: &'r SensitiveKeys) -> Self {
        MetadataBuilder {
            sensitive,
            object: Map::new(),
            text_bytes: 0,
            too_large: false,
            faults: FaultList::default(),
        }
    }

    /// Takes the `metadata` member itself.
    pub(crate) fn object(&mut self, raw: &RawValue) {
        match self.take("metadata", raw, 1) {
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
        let Some(value) = self.take(name, raw, 2) else {
            return;
        };
        if self.sensitive.matches(name) {
            self.insert(name, REDACTED.into());
        } else {
            self.insert(name, value);
        }
        if name.contains('\0') {
            self.faults.push(nul_character(&pointer_step(name)));
        }
    }

    /// Notes that there were more members than metadata can hold.
    pub(crate) fn overflow(&mut self) {
        self.too_large = true;
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
        let fits = (1..=255).contains(&text.chars().count());
        // A deployment may take session ids for secrets: then this tells of no session.
        (fits && text != REDACTED).then_some(text)
    }

    /// RFC 8785 canonical text, or what is wrong.
    pub(crate) fn finish(self, faults: &mut FaultList) -> String {
        faults.extend(self.faults);
        if self.too_large {
            faults.push(too_large("/metadata"));
        }
        if self.too_large || self.object.is_empty() {
            return "{}".to_owned();
        }
        let text = canonical(&self.object);
        if text.len() > METADATA_BYTES_MAX {
            faults.push(too_large("/metadata"));
        }
        text
    }

    /// Reads a member of the event, unless that would be too much text.
    fn take(&mut self, name: &str, raw: &RawValue, level: usize) -> Option<Value> {
        if raw.get().len() > METADATA_TEXT_BYTES_MAX {
            self.faults.push(too_large(&pointer_step(name)));
            return None;
        }
        self.text_bytes += name.len() + raw.get().len();
        if self.text_bytes > METADATA_TEXT_BYTES_MAX {
            self.too_large = true;
            return None;
        }
        self.read(raw, &mut pointer_step(name), level)
    }

    fn read(&mut self, raw: &RawValue, pointer: &mut String, level: usize) -> Option<Value> {
        let (found, parent) = (self.faults.len(), pointer.len());
        let reader = Reader { builder: self, pointer, level };
        let value = reader.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        if value.is_err() {
            // The text is JSON already, so what is left is a lone surrogate or a number that no
            // double holds. The reader stops there; part by part, the rest is found too.
            self.faults.truncate(found);
            pointer.truncate(parent);
            self.read_parts(raw, pointer, level);
        }
        value.ok()
    }

    /// Finds the faults of a value that cannot be read as a whole.
    fn read_parts(&mut self, raw: &RawValue, pointer: &mut String, level: usize) {
        let parts = parts::of(raw);
        if level > METADATA_LEVELS_MAX && !matches!(parts, Parts::None) {
            return self.faults.push(too_deep(pointer));
        }
        let parent = pointer.len();
        match parts {
            Parts::None => self.faults.push(Fault::new(
                pointer.as_str(),
                FaultCode::NotIJson,
                "a lone surrogate or a number too large (RFC 7493)",
            )),
            Parts::Elements(elements) => {
                for (i, element) in elements.into_iter().enumerate() {
                    // Writing to a String cannot fail.
                    let _ = write!(pointer, "/{i}");
                    self.read(element, pointer, level + 1);
                    pointer.truncate(parent);
                }
            }
            Parts::Members(members) => {
                let mut names = BTreeSet::new();
                for (name, value) in members {
                    match name {
                        Name::Text(name) => {
                            push_pointer_step(pointer, &name);
                            if name.contains('\0') {
                                self.faults.push(nul_character(pointer));
                            }
                            if let Some(name) = names.replace(name) {
                                self.faults.push(duplicate_key(&pointer[..parent], &name));
                            }
                        }
                        Name::Broken(raw) => {
                            self.faults.push(broken_name(pointer, raw));
                            push_pointer_step(pointer, raw);
                        }
                    }
                    self.read(value, pointer, level + 1);
                    pointer.truncate(parent);
                }
            }
        }
    }
}

/// RFC 8785 canonical text.
fn canonical(object: &Map<String, Value>) -> String {
    // Neither fails: only numbers that are not finite would, and no JSON text has any.
    if is_plain(object) {
        serde_json::to_string(object).unwrap_or_default()
    } else {
        serde_json_canonicalizer::to_string(object).unwrap_or_default()
    }
}

/// Whether serde_json writes an object in canonical form already, at a third of the cost: as most
/// metadata is, it has names in the order of their bytes, all ASCII, and no fractions in it.
fn is_plain(object: &Map<String, Value>) -> bool {
    object.keys().is_sorted()
        && object.iter().all(|(name, value)| {
            name.is_ascii()
                && match value {
                    Value::Null | Value::Bool(_) | Value::String(_) => true,
                    Value::Number(number) => !number.is_f64(),
                    Value::Object(object) => is_plain(object),
                    Value::Array(_) => false,
                }
        })
}

fn too_large(pointer: &str) -> Fault {
    Fault::new(
        pointer,
        FaultCode::TooLarge,
        "metadata, with the unknown fields that move into it, is at most 16 KiB",
    )
}

fn too_deep(pointer: &str) -> Fault {
    Fault::new(pointer, FaultCode::TooDeep, "metadata has at most 8 levels")
}

fn nul_character(pointer: &str) -> Fault {
    Fault::new(pointer, FaultCode::NulCharacter, "U+0000 is not taken in any text")
}

/// The text under `session_id` of canonical metadata.
pub(crate) fn session_id(metadata: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Only<'a> {
        #[serde(borrow)]
        session_id: Option<&'a RawValue>,
    }
    let (before, value) = metadata.split_once("\"session_id\":")?;
    // After a brace or a comma this is a name: within a text its quote would follow a backslash. With no object
    // within the object, as most have none, it is a name of its own.
    let is_flat = memchr::memchr2(b'{', b'[', metadata.as_bytes().get(1..)?).is_none();
    if is_flat
        && before.ends_with(['{', ','])
        && let Some(text) = value.strip_prefix('"')
        && let Some(end) = memchr::memchr2(b'"', b'\\', text.as_bytes())
        && text[end..].starts_with('"')
    {
        return Some(Cow::Borrowed(&text[..end]));
    }
    // What is not a string has no text.
    string(serde_json::from_str::<Only<'_>>(metadata).ok()?.session_id?)
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
            push_pointer_step(self.pointer, &name);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("session_id".to_owned()),
            r#"[a{\[,":]{0,3}"#,
            r#"[a,]?"session_id("|":|":")?"#,
            "[a-z]{1,4}",
        ]
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = || texts().prop_map(Value::from);
        let object = (texts(), texts()).prop_map(|(name, text)| serde_json::json!({ name: text }));
        prop_oneof![4 => text(), 1 => any::<i32>().prop_map(Value::from), 1 => object,
            1 => text().prop_map(|text| serde_json::json!([text]))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_session_id_is_the_text_of_the_member_of_that_name(
            members in prop::collection::vec((texts(), values()), 0..4),
        ) {
            let object: Map<String, Value> = members.into_iter().collect();
            let metadata = canonical(&object);
            let expected = object.get("session_id").and_then(Value::as_str);
            let found = session_id(&metadata);
            prop_assert_eq!(found.as_deref(), expected, "{}", metadata);
        }
    }
}
