//! Members as the types that they must have: names, choices, numbers, lists.

use conn_log_core::FaultKind;
use serde_json::Value;
use serde_json::value::RawValue;

use super::faults::{Fault, pointer};
use super::members::Members;

/// Maximum elements of an array of names.
const CHOICES_MAX: usize = 16;

impl Members<'_> {
    /// A name of 1 to 255 characters, without control characters and without space around it.
    pub(crate) fn label(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        self.read_label(&pointer(name), value)
    }

    /// The same for a required member.
    pub(crate) fn required_label(&mut self, name: &str) -> Option<String> {
        let value = self.take_required(name)?;
        self.read_label(&pointer(name), value)
    }

    /// A text of people: 1 to `chars_max` characters. Of the control characters only line breaks and
    /// tabs are taken.
    pub(crate) fn prose(&mut self, name: &str, chars_max: usize) -> Option<String> {
        let value = self.take(name)?;
        let text = self.read_text(pointer(name), value)?;
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        let has_control = text.contains(is_control);
        let has_length = (1..=chars_max).contains(&text.chars().count());
        if has_control {
            let detail = "no control characters but line breaks (U+000A) and tabs";
            self.value(pointer(name), "control_character", detail.into());
        }
        if !has_length {
            self.value(pointer(name), "length", format!("1 to {chars_max} characters").into());
        }
        (has_length && !has_control).then_some(text)
    }

    /// One of a few names.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &str,
        known: &[T],
        name_of: fn(T) -> &'static str,
    ) -> Option<T> {
        let value = self.take(name)?;
        self.read_choice(pointer(name), value, known, name_of)
    }

    /// A required array of one or more of a few names. A name given twice counts once.
    pub(crate) fn required_choices<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        known: &[T],
        name_of: fn(T) -> &'static str,
    ) -> Vec<T> {
        let Some(value) = self.take_required(name) else { return Vec::new() };
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            self.shape(pointer(name), "wrong_type", "this member is an array of strings");
            return Vec::new();
        };
        if !(1..=CHOICES_MAX).contains(&elements.len()) {
            self.value(pointer(name), "length", format!("1 to {CHOICES_MAX} names").into());
            return Vec::new();
        }
        let mut chosen = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            let pointer = format!("{}/{index}", pointer(name));
            let choice = self.read_choice(pointer, element, known, name_of);
            chosen.extend(choice.filter(|choice| !chosen.contains(choice)));
        }
        chosen
    }

    /// The same for an optional member.
    pub(crate) fn choices<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        known: &[T],
        name_of: fn(T) -> &'static str,
    ) -> Option<Vec<T>> {
        if !self.has(name) {
            // A null counts as not given.
            self.take(name);
            return None;
        }
        Some(self.required_choices(name, known, name_of))
    }

    /// true or false.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?;
        let flag = serde_json::from_str(value.get()).ok();
        if flag.is_none() {
            self.shape(pointer(name), "wrong_type", "this member is true or false");
        }
        flag
    }

    /// A text that `read` takes, or names a code and a detail.
    pub(crate) fn text_as<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, (&'static str, String)>,
    ) -> Option<T> {
        let value = self.take(name)?;
        let text = self.read_text(pointer(name), value)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err((code, detail)) => {
                self.value(pointer(name), code, detail.into());
                None
            }
        }
    }

    /// A value or an array of 1 to 16 of them, each of which `read` takes, or names what it should
    /// be.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Option<Vec<T>> {
        let value = self.plain_value(pointer(name), self.rest.get(name).copied()?);
        self.rest.remove(name);
        let value = value.filter(|value| !value.is_null())?;
        let (values, is_array) = match value {
            Value::Array(values) => (values, true),
            value => (vec![value], false),
        };
        if !(1..=CHOICES_MAX).contains(&values.len()) {
            self.value(pointer(name), "length", format!("1 to {CHOICES_MAX} values").into());
            return None;
        }
        let mut list = Vec::new();
        for (index, value) in values.iter().enumerate() {
            match read(value) {
                Ok(value) => list.push(value),
                Err(expected) => {
                    let place = pointer(name);
                    let place = if is_array { format!("{place}/{index}") } else { place };
                    self.value(place, "unknown_value", expected.into());
                }
            }
        }
        Some(list)
    }

    /// One value that `read` takes, or names a code, a detail and a kind of fault. A null is a value.
    pub(crate) fn scalar<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Value) -> Result<T, (&'static str, &'static str, FaultKind)>,
    ) -> Option<T> {
        let json = self.rest.remove(name)?;
        let value = self.plain_value(pointer(name), json)?;
        match read(&value) {
            Ok(value) => Some(value),
            Err((code, detail, kind)) => {
                let (pointer, detail) = (pointer(name), detail.into());
                self.note(Fault { pointer, code, detail, kind });
                None
            }
        }
    }

    /// Any JSON value without lone surrogates.
    fn plain_value(&mut self, pointer: String, value: &RawValue) -> Option<Value> {
        let value = serde_json::from_str(value.get()).ok();
        if value.is_none() {
            self.value(pointer, "not_i_json", "a lone surrogate (RFC 7493)".into());
        }
        value
    }

    /// A whole number from 1 to `max`.
    pub(crate) fn count(&mut self, name: &str, max: u32) -> Option<u32> {
        let value = self.take(name)?.get();
        if !value.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            self.shape(pointer(name), "wrong_type", "this member is a JSON number");
            return None;
        }
        let number = value.parse::<f64>().ok().filter(|number| number.fract() == 0.0);
        let count = number.filter(|number| (1.0..=f64::from(max)).contains(number));
        if count.is_none() {
            let detail = format!("a whole number from 1 to {max}");
            self.value(pointer(name), "out_of_range", detail.into());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and from 1 to a u32"
        )]
        count.map(|number| number as u32)
    }

    fn read_text(&mut self, pointer: String, value: &RawValue) -> Option<String> {
        if !value.get().starts_with('"') {
            self.shape(pointer, "wrong_type", "a JSON string");
            return None;
        }
        let text = serde_json::from_str(value.get()).ok();
        if text.is_none() {
            self.value(pointer, "not_i_json", "a lone surrogate (RFC 7493)".into());
        }
        text
    }

    fn read_label(&mut self, pointer: &str, value: &RawValue) -> Option<String> {
        let text = self.read_text(pointer.to_owned(), value)?;
        let faults = [
            (!(1..=255).contains(&text.chars().count()), "length", "1 to 255 characters"),
            (text.contains(char::is_control), "control_character", "no control characters"),
            (text.trim() != text, "surrounding_space", "no white space at the start or the end"),
        ];
        let faults: Vec<_> = faults.into_iter().filter(|(is_broken, ..)| *is_broken).collect();
        for (_, code, detail) in &faults {
            self.value(pointer.to_owned(), code, (*detail).into());
        }
        faults.is_empty().then_some(text)
    }

    fn read_choice<T: Copy>(
        &mut self,
        pointer: String,
        value: &RawValue,
        known: &[T],
        name_of: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.read_text(pointer.clone(), value)?;
        let choice = known.iter().copied().find(|known| name_of(*known) == text);
        if choice.is_none() {
            let names: Vec<&str> = known.iter().copied().map(name_of).collect();
            let detail = format!("one of {}", names.join(", "));
            self.value(pointer, "unknown_value", detail.into());
        }
        choice
    }
}
