//! The metadata of an event: any JSON object within I-JSON, bounded, redacted, in canonical form.
//!
//! One pass over the JSON builds the value, redacts it and finds every fault.

mod canonical;
mod invalid;
mod shallow_json;
mod value_reader;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::canonical::canonical;
pub(crate) use self::canonical::session_id;
use self::invalid::Invalid;
use self::shallow_json::ShallowJson;
use self::value_reader::ValueReader;
use super::draft::MetadataJson;
use super::lenient::Handling;
use super::member_name::{MemberName, broken_name, duplicate_key};
use super::redaction::{REDACTED, SensitiveKeys};
use crate::fault::{Fault, FaultCode, FaultList, pointer_step, push_pointer_step};

/// The limit of levels, counted with the metadata's own braces as level 1. It is deep enough for
/// any record of a connection, and too shallow to overflow a reader's stack.
pub(crate) const METADATA_LEVELS_MAX: usize = 8;

/// The limit of the canonical text. With 10,000 events a batch it also bounds a request's metadata.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// A limit above the number of members that metadata can have: each takes at least five bytes.
pub(super) const EXTRA_MEMBERS_MAX: usize = METADATA_BYTES_MAX / 5;

/// The limit of all its text as sent, before it is parsed: eight times as much, since escapes and
/// white space can make a small value long. It bounds the memory that a hostile text can take.
const METADATA_TEXT_BYTES_MAX: usize = 8 * METADATA_BYTES_MAX;

/// The largest integer that every JSON reader holds exactly: 2^53 - 1 (RFC 7493, section 2.2).
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Builds metadata from its members.
pub(super) struct MetadataBuilder<'p> {
    sensitive: &'p SensitiveKeys,
    object: Map<String, Value>,
    /// Bytes of the members taken so far, as sent.
    text_bytes: usize,
    too_large: bool,
    faults: FaultList,
    /// The pointer of the current member. The same text is used for all members.
    pointer: String,
    /// The values that could not be taken, in lenient handling.
    invalid: Option<Invalid>,
}

impl<'p> MetadataBuilder<'p> {
    pub(super) fn new(sensitive: &'p SensitiveKeys, handling: Handling) -> Self {
        MetadataBuilder {
            sensitive,
            object: Map::new(),
            text_bytes: 0,
            too_large: false,
            faults: FaultList::default(),
            pointer: String::new(),
            invalid: (handling == Handling::Lenient).then(Invalid::default),
        }
    }

    /// Adds the members of the event's metadata.
    pub(super) fn object(&mut self, json: MetadataJson<'_>) {
        if self.invalid.is_some() {
            return self.object_leniently(json);
        }
        match self.take("metadata", json, 1) {
            Some(Value::Object(object)) => self.object = object,
            Some(Value::Null) | None => {}
            Some(_) => self.faults.push(Fault::new(
                "/metadata",
                FaultCode::WrongType,
                "metadata is a JSON object",
            )),
        }
    }

    /// Adds the members that move into the metadata.
    pub(super) fn extra(&mut self, members: Vec<(Cow<'_, str>, MetadataJson<'_>)>) {
        self.too_large |= members.len() > EXTRA_MEMBERS_MAX;
        for (name, json) in members.into_iter().take(EXTRA_MEMBERS_MAX) {
            self.member(name, json);
        }
    }

    /// Adds one such member. An existing member of that name is kept.
    fn member(&mut self, name: Cow<'_, str>, json: MetadataJson<'_>) {
        if self.invalid.is_some() {
            return self.member_leniently(&name, json);
        }
        let Some(value) = self.take(&name, json, 2) else {
            return;
        };
        if name.contains('\0') {
            self.faults.push(nul_character(&pointer_step(&name)));
        }
        let value = if self.sensitive.matches(&name) { REDACTED.into() } else { value };
        self.object.entry(name).or_insert(value);
    }

    /// The text under `session_id`, if it can be a session id.
    pub(super) fn session_id(&self) -> Option<&str> {
        let text = self.object.get("session_id")?.as_str()?;
        let fits = (1..=255).contains(&text.chars().count());
        // A deployment may treat session ids as secrets: then the text is no session id.
        (fits && text != REDACTED).then_some(text)
    }

    /// Returns the RFC 8785 canonical text, or adds the faults.
    pub(super) fn finish(self, faults: &mut FaultList) -> String {
        if let Some(invalid) = self.invalid {
            return invalid.finish(self.object, self.sensitive);
        }
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

    /// Reads a member of the event, unless the text would be too long.
    fn take(&mut self, name: &str, json: MetadataJson<'_>, level: usize) -> Option<Value> {
        if let MetadataJson::Text(raw) = &json {
            if raw.get().len() > METADATA_TEXT_BYTES_MAX {
                self.faults.push(too_large(&pointer_step(name)));
                return None;
            }
            self.text_bytes += name.len() + raw.get().len();
            if self.text_bytes > METADATA_TEXT_BYTES_MAX {
                self.too_large = true;
                return None;
            }
        }
        let mut pointer = std::mem::take(&mut self.pointer);
        pointer.clear();
        push_pointer_step(&mut pointer, name);
        let value = match json {
            MetadataJson::Text(raw) => self.read(&raw, &mut pointer, level),
            MetadataJson::Value(value) => self.read_value(value, &mut pointer, level),
        };
        self.pointer = pointer;
        value
    }

    fn read_value(&mut self, value: Value, pointer: &mut String, level: usize) -> Option<Value> {
        let value = ValueReader { builder: self, pointer, level }.deserialize(value).ok();
        if value.is_none() {
            // A value contains only texts and finite numbers, so this should not happen.
            self.faults.push(not_i_json(pointer));
        }
        value
    }

    fn read(&mut self, raw: &RawValue, pointer: &mut String, level: usize) -> Option<Value> {
        let (found, parent) = (self.faults.len(), pointer.len());
        let reader = ValueReader { builder: self, pointer, level };
        let value = reader.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        if value.is_err() {
            // The text is valid JSON, so the error is a lone surrogate or a number that no double
            // can hold. The reader stops there; reading level by level finds the other faults too.
            self.faults.truncate(found);
            pointer.truncate(parent);
            self.read_shallow(raw, pointer, level);
        }
        value.ok()
    }

    /// Finds the faults of a value that cannot be read as a whole.
    fn read_shallow(&mut self, raw: &RawValue, pointer: &mut String, level: usize) {
        let json = ShallowJson::of(raw);
        if level > METADATA_LEVELS_MAX && !matches!(json, ShallowJson::Scalar) {
            return self.faults.push(too_deep(pointer));
        }
        let parent = pointer.len();
        match json {
            ShallowJson::Scalar => self.faults.push(not_i_json(pointer)),
            ShallowJson::Array(elements) => {
                for (i, element) in elements.into_iter().enumerate() {
                    // Writing to a String cannot fail.
                    let _ = write!(pointer, "/{i}");
                    self.read(element, pointer, level + 1);
                    pointer.truncate(parent);
                }
            }
            ShallowJson::Object(members) => {
                let mut names = BTreeSet::new();
                for (name, value) in members {
                    match name {
                        MemberName::Text(name) => {
                            push_pointer_step(pointer, &name);
                            if name.contains('\0') {
                                self.faults.push(nul_character(pointer));
                            }
                            if let Some(name) = names.replace(name) {
                                self.faults.push(duplicate_key(&pointer[..parent], &name));
                            }
                        }
                        MemberName::Broken(raw) => {
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

fn too_large(pointer: &str) -> Fault {
    Fault::new(
        pointer,
        FaultCode::TooLarge,
        "metadata, with the unknown fields that move into it, is at most 16 KiB",
    )
}

fn not_i_json(pointer: &str) -> Fault {
    let detail = "a lone surrogate or a number too large (RFC 7493)";
    Fault::new(pointer, FaultCode::NotIJson, detail)
}

fn too_deep(pointer: &str) -> Fault {
    Fault::new(pointer, FaultCode::TooDeep, "metadata has at most 8 levels")
}

fn nul_character(pointer: &str) -> Fault {
    Fault::new(pointer, FaultCode::NulCharacter, "U+0000 is not taken in any text")
}
