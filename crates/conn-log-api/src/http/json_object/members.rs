//! The members of a JSON object: a reader takes them one by one, and the faults are noted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use conn_log_core::{FaultKind, without_byte_order_mark};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::faults::{Fault, not_an_object, pointer, problem};
use super::object::Object;
use crate::http::body::Body;
use crate::http::json_value;
use crate::http::problem::Problem;

/// The detail of a name that stands twice.
const DUPLICATE: &str = "this name stands twice";

/// The members of an object that are not taken yet, and the faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    pub(super) rest: BTreeMap<String, &'a RawValue>,
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
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.rest.remove(name).filter(|value| value.get() != "null")
    }

    /// Takes a required member.
    pub(super) fn take_required(&mut self, name: &str) -> Option<&'a RawValue> {
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

    /// Notes a fault of shape.
    pub(crate) fn shape(
        &mut self,
        pointer: String,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        self.note(Fault { pointer, code, detail: detail.into(), kind: FaultKind::Shape });
    }

    /// Notes a fault of value.
    pub(crate) fn value(&mut self, pointer: String, code: &'static str, detail: Cow<'static, str>) {
        self.note(Fault { pointer, code, detail, kind: FaultKind::Value });
    }

    /// Notes a fault.
    pub(super) fn note(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}
