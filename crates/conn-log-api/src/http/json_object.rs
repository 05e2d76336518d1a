//! The body of a request that creates or changes something: one small JSON object.
//!
//! [`Members`] returns the members as the types that they must have, and notes each fault, so that
//! a client sees all faults at once. It knows no resource. Events, which are many and large, have
//! readers of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use actix_web::HttpRequest;
use actix_web::web::Payload;
use conn_log_core::{FaultKind, without_byte_order_mark};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::app::App;
use super::body::{self, Body, ReadError};
use super::content_type;
use super::json_value;
use super::options::ApiOptions;
use super::problem::{Problem, ProblemKind, raw};

/// Maximum bytes of such a body, as sent and decoded: some hundred times the usual size.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Maximum elements of an array of names.
const CHOICES_MAX: usize = 16;

/// The detail of a name that stands twice.
const DUPLICATE: &str = "this name stands twice";

/// Maximum faults in one problem.
const FAULTS_MAX: usize = 32;

/// The media type of a body.
pub(super) const JSON: &str = "application/json";

/// Reads the body.
///
/// # Errors
/// 415 for a body that is not JSON, and the errors of [`body::read`].
pub(crate) async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Body, Problem> {
    if content_type::media_type(request, JSON)? != JSON {
        return Err(content_type::not_taken("this content type is not taken", JSON));
    }
    read_bytes(request, payload).await
}

/// Reads the bytes, whatever their media type.
pub(super) async fn read_bytes(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<Body, Problem> {
    let app = App::of(request);
    let options = ApiOptions {
        body_bytes_max: BODY_BYTES_MAX,
        decoded_bytes_max: BODY_BYTES_MAX,
        ..app.options.clone()
    };
    let body = body::read(request, payload, &options, &app.body_room).await;
    body.map_err(ReadError::into_problem)
}

/// Whether a request has a body at all.
pub(crate) fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(actix_web::http::header::CONTENT_LENGTH);
    length.is_some_and(|length| length != "0")
        || headers.contains_key(actix_web::http::header::TRANSFER_ENCODING)
}

/// One fault of the object.
#[derive(Debug)]
struct Fault {
    /// A JSON Pointer (RFC 6901).
    pointer: String,
    code: &'static str,
    detail: Cow<'static, str>,
    kind: FaultKind,
}

/// The members of an object that are not taken yet, and the faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    rest: BTreeMap<String, &'a RawValue>,
    faults: Vec<Fault>,
}

impl<'a> Members<'a> {
    /// Parses the body into the members of its object.
    ///
    /// # Errors
    /// 400 for a body that is not a JSON object.
    pub(crate) fn parse(body: &'a Body) -> Result<Self, Problem> {
        let bytes = without_byte_order_mark(body.bytes());
        if bytes.trim_ascii().is_empty() {
            return Err(not_an_object("empty", "the body is empty".into()));
        }
        let invalid = |error| not_an_object("invalid_json", format!("not valid JSON: {error}"));
        let json: &RawValue = serde_json::from_slice(bytes).map_err(invalid)?;
        if !json.get().starts_with('{') {
            return Err(not_an_object("not_an_object", "the body is a JSON object".into()));
        }
        let Object(given) = serde_json::from_str(json.get()).map_err(invalid)?;
        let mut members = Members { rest: BTreeMap::new(), faults: Vec::new() };
        for (name, value) in given {
            let place = pointer(&name);
            if members.rest.insert(name, value).is_some() {
                members.shape(place, "duplicate_key", DUPLICATE);
            }
        }
        Ok(members)
    }

    /// All members as values, for a resource with a reader of its own.
    ///
    /// # Errors
    /// 400 for names that stand twice in one object, at any depth.
    pub(crate) fn into_values(mut self) -> Result<Map<String, Value>, Problem> {
        let mut values = Map::new();
        for (name, json) in std::mem::take(&mut self.rest) {
            let read = json_value::read(json.get(), pointer(&name));
            let (value, repeated) = read.map_err(|error| {
                not_an_object("invalid_json", format!("not valid JSON: {error}"))
            })?;
            for place in repeated {
                self.shape(place, "duplicate_key", DUPLICATE);
            }
            values.insert(name, value);
        }
        if self.faults.is_empty() { Ok(values) } else { Err(problem(self.faults)) }
    }

    /// Takes a member. A member that is null counts as not given.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.rest.remove(name).filter(|value| value.get() != "null")
    }

    /// Takes a required member.
    fn take_required(&mut self, name: &str) -> Option<&'a RawValue> {
        let is_given = self.rest.contains_key(name);
        let value = self.take(name);
        if value.is_none() {
            let code = if is_given { "null" } else { "missing" };
            self.shape(pointer(name), code, "this member is required");
        }
        value
    }

    /// Whether a member is given that is not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.rest.get(name).is_some_and(|value| value.get() != "null")
    }

    /// Takes a member that is null, and returns whether there was one. In a merge patch (RFC 7396) null
    /// removes the member's value.
    pub(crate) fn take_null(&mut self, name: &str) -> bool {
        let is_null = self.rest.get(name).is_some_and(|value| value.get() == "null");
        is_null && self.rest.remove(name).is_some()
    }

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
        read(&value)
            .map_err(|(code, detail, kind)| {
                self.faults.push(Fault {
                    pointer: pointer(name),
                    code,
                    detail: detail.into(),
                    kind,
                });
            })
            .ok()
    }

    /// An object, read by `read`. Its faults are noted here.
    pub(crate) fn object<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Members<'a>) -> T,
    ) -> Option<T> {
        let value = self.take(name)?;
        let Ok(Object(given)) = serde_json::from_str(value.get()) else {
            self.shape(pointer(name), "wrong_type", "this member is a JSON object");
            return None;
        };
        let mut inner = Members { rest: BTreeMap::new(), faults: Vec::new() };
        for (name, value) in given {
            let place = pointer(&name);
            if inner.rest.insert(name, value).is_some() {
                inner.shape(place, "duplicate_key", DUPLICATE);
            }
        }
        let read = read(&mut inner);
        inner.note_unknown();
        self.faults.extend(inner.faults.into_iter().map(|fault| Fault {
            pointer: format!("{}{}", pointer(name), fault.pointer),
            ..fault
        }));
        Some(read)
    }

    /// The names of the members that are left.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rest.keys().cloned().collect()
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

    /// Notes a missing member that another member requires.
    pub(crate) fn missing_beside(&mut self, name: &str, other: &str) {
        self.shape(pointer(name), "missing", format!("this member is required with {other}"));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 or 422 with all faults, if there are any. A member that was not taken is a fault.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        self.note_unknown();
        if self.faults.is_empty() { Ok(()) } else { Err(problem(self.faults)) }
    }

    fn note_unknown(&mut self) {
        for name in std::mem::take(&mut self.rest).into_keys() {
            self.shape(pointer(&name), "unknown", "there is no such member here");
        }
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

    /// Notes a fault of shape.
    pub(crate) fn shape(
        &mut self,
        pointer: String,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        self.faults.push(Fault { pointer, code, detail: detail.into(), kind: FaultKind::Shape });
    }

    /// Notes a fault of value.
    pub(crate) fn value(&mut self, pointer: String, code: &'static str, detail: Cow<'static, str>) {
        self.faults.push(Fault { pointer, code, detail, kind: FaultKind::Value });
    }
}

/// 422 for a value that only the store can tell to be wrong.
pub(crate) fn invalid_value(pointer: String, code: &'static str, detail: String) -> Problem {
    problem(vec![Fault { pointer, code, detail: detail.into(), kind: FaultKind::Value }])
}

fn not_an_object(code: &'static str, detail: String) -> Problem {
    let kind = FaultKind::Shape;
    problem(vec![Fault { pointer: String::new(), code, detail: detail.into(), kind }])
}

/// 400 if at least one fault is of shape, else 422.
fn problem(mut faults: Vec<Fault>) -> Problem {
    faults.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    let is_of_shape = faults.iter().any(|fault| fault.kind == FaultKind::Shape);
    let kind = if is_of_shape { ProblemKind::InvalidObject } else { ProblemKind::InvalidValue };
    let detail = match faults.len() {
        1 => "one fault".to_owned(),
        many => format!("{many} faults"),
    };
    let errors = faults.iter().take(FAULTS_MAX).map(|Fault { pointer, code, detail, .. }| {
        raw(&serde_json::json!({"pointer": pointer, "code": code, "detail": detail}))
    });
    Problem::new(kind, detail).with_member("errors", &errors.collect::<Vec<_>>())
}

/// The JSON Pointer of a member. A long name from the client is shortened.
pub(super) fn pointer(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// An object's members in the order given.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}
