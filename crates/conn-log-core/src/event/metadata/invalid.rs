//! Lenient handling of metadata: a member that cannot be taken does not cost the event.
//!
//! Such a member goes to `invalid` in the metadata, and so do the event's own optional fields with
//! an invalid value. Its value is kept as sent where metadata can hold it. What metadata cannot
//! hold, such as an integer of 19 digits, is kept as text. It is redacted like all metadata.

use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::canonical::canonical;
use super::shallow_json::ShallowJson;
use super::{
    INTEGER_MAX, METADATA_BYTES_MAX, METADATA_LEVELS_MAX, METADATA_TEXT_BYTES_MAX, MetadataBuilder,
};
use crate::event::draft::MetadataJson;
use crate::event::lenient::{MEASUREMENTS, OPTIONAL};
use crate::event::member_name::{MemberName, string};
use crate::event::redaction::{REDACTED, SensitiveKeys};
use crate::fault::push_pointer_step;

/// The name in the metadata under which values that cannot be taken stand.
const INVALID: &str = "invalid";

/// Bytes of one such value in canonical form, if not everything fits into the metadata. The seven
/// fields that an event can have beside its metadata then take less than half of it.
const VALUE_BYTES_MAX: usize = 1 << 10;

/// Bytes of the metadata itself as text, if it does not fit beside them.
const OBJECT_BYTES_MAX: usize = 4 << 10;

/// Levels down to which a value that is too deep is read at all, to redact it.
const LEVELS_READ_MAX: usize = 16;

/// The level of a value under `invalid`: the metadata's own braces are the first.
const FIELD_LEVEL: usize = 3;

/// The values that could not be taken.
#[derive(Debug, Default)]
pub(super) struct Invalid {
    /// The event's fields, by name.
    fields: Map<String, Value>,
    /// Members of the metadata, by name. They go to `metadata` under `invalid`.
    members: Map<String, Value>,
}

impl MetadataBuilder<'_> {
    /// Keeps the value of a field that could not be taken.
    pub(in crate::event) fn invalid(&mut self, field: &str, json: MetadataJson<'_>) {
        let value = self.kept(field, json, FIELD_LEVEL);
        if let Some(invalid) = &mut self.invalid {
            insert(&mut invalid.fields, field, value);
        }
    }

    /// Adds the members of the event's metadata, those that cannot be taken under `invalid`.
    pub(super) fn object_leniently(&mut self, json: MetadataJson<'_>) {
        let found = self.faults.len();
        let value = self.take("metadata", json.clone(), 1);
        let is_clean = self.faults.len() == found && !self.too_large;
        self.faults.truncate(found);
        self.too_large = false;
        match value {
            Some(Value::Object(object)) if is_clean => self.object = object,
            Some(Value::Null) if is_clean => {}
            _ => {
                let raw = raw(json);
                if raw.get().len() > METADATA_TEXT_BYTES_MAX {
                    return self.invalid("metadata", raw.into());
                }
                match ShallowJson::of(&raw) {
                    ShallowJson::Object(members) => self.members_leniently(members),
                    _ => self.invalid("metadata", (*raw).to_owned().into()),
                }
            }
        }
    }

    fn members_leniently(&mut self, members: Vec<(MemberName<'_>, &RawValue)>) {
        for (name, raw) in members {
            let is_text = matches!(&name, MemberName::Text(name) if !name.contains('\0'));
            let name = plain(name);
            let found = self.faults.len();
            let mut pointer = "/metadata".to_owned();
            push_pointer_step(&mut pointer, &name);
            let value = self.read(raw, &mut pointer, 2);
            let is_clean = self.faults.len() == found && is_text;
            self.faults.truncate(found);
            match value {
                Some(value) if is_clean && !self.object.contains_key(&name) => {
                    let value = self.redacted(&name, value);
                    self.object.insert(name, value);
                }
                _ => {
                    let value = self.kept(&name, raw.into(), FIELD_LEVEL + 1);
                    if let Some(invalid) = &mut self.invalid {
                        insert(&mut invalid.members, &name, value);
                    }
                }
            }
        }
    }

    /// Adds a member that moves into the metadata, or keeps it under `invalid`.
    pub(super) fn member_leniently(&mut self, name: &str, json: MetadataJson<'_>) {
        let found = self.faults.len();
        let value = self.take(name, json.clone(), 2);
        let is_clean = self.faults.len() == found && !self.too_large && !name.contains('\0');
        self.faults.truncate(found);
        self.too_large = false;
        match value {
            Some(value) if is_clean => {
                let value = self.redacted(name, value);
                self.object.entry(name).or_insert(value);
            }
            _ => self.invalid(&name.replace('\0', "\\u0000"), json),
        }
    }

    fn redacted(&self, name: &str, value: Value) -> Value {
        if self.sensitive.matches(name) { REDACTED.into() } else { value }
    }

    /// A value that cannot be taken, in a form that metadata can hold. `level` is the level that an
    /// object would have there.
    fn kept(&self, name: &str, json: MetadataJson<'_>, level: usize) -> Value {
        let raw = raw(json);
        if raw.get().len() > METADATA_TEXT_BYTES_MAX {
            return format!("[{} bytes]", raw.get().len()).into();
        }
        self.redacted(name, kept(&raw, level, self.sensitive))
    }
}

impl Invalid {
    /// The canonical text of metadata with these values. It fits: what is too long is cut.
    pub(super) fn finish(
        mut self,
        object: Map<String, Value>,
        sensitive: &SensitiveKeys,
    ) -> String {
        if self.fields.is_empty() && self.members.is_empty() {
            let text = canonical(&object);
            if text.len() <= METADATA_BYTES_MAX {
                return text;
            }
        }
        let text = self.text(object.clone(), sensitive);
        if text.len() <= METADATA_BYTES_MAX {
            return text;
        }
        for value in self.fields.values_mut().chain(self.members.values_mut()) {
            cut(value, VALUE_BYTES_MAX);
        }
        let text = self.text(object.clone(), sensitive);
        if text.len() <= METADATA_BYTES_MAX {
            return text;
        }
        self.cut_object(object);
        self.text(Map::new(), sensitive)
    }

    /// Puts the beginning of the metadata, as text, in the place of all that moved into it.
    fn cut_object(&mut self, mut object: Map<String, Value>) {
        object.append(&mut self.members);
        let fields = std::mem::take(&mut self.fields);
        for (name, value) in fields {
            let is_own = OPTIONAL.iter().any(|field| field.name() == name)
                || MEASUREMENTS.contains(&name.as_str());
            let target = if is_own { &mut self.fields } else { &mut object };
            insert(target, &name, value);
        }
        let mut text = Value::from(canonical(&object));
        cut(&mut text, OBJECT_BYTES_MAX);
        self.fields.insert("metadata".to_owned(), text);
    }

    fn text(&self, mut object: Map<String, Value>, sensitive: &SensitiveKeys) -> String {
        let mut invalid = match object.remove(INVALID) {
            Some(Value::Object(own)) => own,
            Some(other) => Map::from_iter([(INVALID.to_owned(), other)]),
            None => Map::new(),
        };
        if !self.members.is_empty() {
            invalid.insert("metadata".to_owned(), self.members.clone().into());
        }
        invalid.extend(self.fields.clone());
        if !invalid.is_empty() {
            let value = if sensitive.matches(INVALID) { REDACTED.into() } else { invalid.into() };
            object.insert(INVALID.to_owned(), value);
        }
        canonical(&object)
    }
}

fn raw(json: MetadataJson<'_>) -> Cow<'_, RawValue> {
    match json {
        MetadataJson::Text(raw) => raw,
        // Serializing a value fails only for numbers that are not finite, and a value has none.
        MetadataJson::Value(value) => {
            Cow::Owned(to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
        }
    }
}

impl<'a> From<Cow<'a, RawValue>> for MetadataJson<'a> {
    fn from(text: Cow<'a, RawValue>) -> Self {
        MetadataJson::Text(text)
    }
}

/// Inserts a member. A second one of the same name gets a number.
fn insert(object: &mut Map<String, Value>, name: &str, value: Value) {
    let mut free = name.to_owned();
    // A hostile object has thousands of one name: their count is a number that is likely free.
    let mut number = object.len();
    while object.contains_key(&free) {
        number += 1;
        free = format!("{name} ({number})");
    }
    object.insert(free, value);
}

fn kept(raw: &RawValue, level: usize, sensitive: &SensitiveKeys) -> Value {
    if level > LEVELS_READ_MAX {
        return "…".into();
    }
    let value = match ShallowJson::of(raw) {
        ShallowJson::Scalar => return scalar(raw),
        ShallowJson::Array(elements) => {
            let elements = elements.into_iter().map(|element| kept(element, level + 1, sensitive));
            Value::Array(elements.collect())
        }
        ShallowJson::Object(members) => {
            let mut object = Map::new();
            for (name, value) in members {
                let name = plain(name);
                let value = if sensitive.matches(&name) {
                    REDACTED.into()
                } else {
                    kept(value, level + 1, sensitive)
                };
                insert(&mut object, &name, value);
            }
            Value::Object(object)
        }
    };
    if level == METADATA_LEVELS_MAX + 1 { text_of(&value).into() } else { value }
}

/// A name as text that can be kept.
fn plain(name: MemberName<'_>) -> String {
    match name {
        MemberName::Text(name) => name.replace('\0', "\\u0000"),
        MemberName::Broken(raw) => raw.to_owned(),
    }
}

/// A value without members: itself, or its JSON text where metadata cannot hold it.
fn scalar(raw: &RawValue) -> Value {
    let text = raw.get();
    if text.starts_with('"') {
        return match string(raw) {
            Some(string) if !string.contains('\0') => string.into(),
            _ => text.trim_matches('"').into(),
        };
    }
    let fits = text.parse::<f64>().map_or(true, |number| number.abs() <= INTEGER_MAX);
    serde_json::from_str(text).ok().filter(|_| fits).unwrap_or_else(|| text.into())
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json_canonicalizer::to_string(other).unwrap_or_default(),
    }
}

/// Makes a value whose canonical form is longer than `bytes_max` a text that is not.
fn cut(value: &mut Value, bytes_max: usize) {
    let text = text_of(value);
    let mut bytes = "\"…\"".len();
    let end = text.char_indices().find(|(_, character)| {
        bytes += match character {
            '"' | '\\' => 2,
            character if character.is_control() => 6,
            character => character.len_utf8(),
        };
        bytes > bytes_max
    });
    if let Some((end, _)) = end {
        *value = format!("{}…", &text[..end]).into();
    }
}
