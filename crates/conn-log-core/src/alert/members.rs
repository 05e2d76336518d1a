//! Reads the members of a rule's JSON, and notes every fault.

use serde_json::{Map, Value};

use crate::{EventFilter, FaultKind, FilterErrorCode};

/// One fault in a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// A JSON Pointer (RFC 6901).
    pub pointer: String,
    /// The code, for programs.
    pub code: &'static str,
    /// A description, for people.
    pub detail: String,
    /// Whether its shape or its value is wrong.
    pub kind: FaultKind,
}

/// The members of an object that are not taken yet.
pub(super) struct Members<'a> {
    rest: Map<String, Value>,
    place: String,
    faults: &'a mut Vec<RuleFault>,
}

impl<'a> Members<'a> {
    pub(super) fn new(
        rest: Map<String, Value>,
        place: impl Into<String>,
        faults: &'a mut Vec<RuleFault>,
    ) -> Self {
        Members { rest, place: place.into(), faults }
    }

    /// Takes a member. A null counts as not given.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn require(&mut self, name: &str) -> Option<Value> {
        let code = if self.rest.contains_key(name) { "null" } else { "missing" };
        let value = self.take(name);
        if value.is_none() {
            self.shape(name, code, "this member is required");
        }
        value
    }

    pub(super) fn text(&mut self, name: &str, value: &Value) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.shape(name, "wrong_type", "this member is a JSON string");
        }
        text
    }

    pub(super) fn boolean(&mut self, name: &str, otherwise: bool) -> bool {
        match self.take(name) {
            None => otherwise,
            Some(Value::Bool(value)) => value,
            Some(_) => {
                self.shape(name, "wrong_type", "this member is true or false");
                otherwise
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, name: &str, (min, max): (u32, u32), otherwise: u32) -> u32 {
        let Some(value) = self.take(name) else { return otherwise };
        let Some(number) = value.as_f64() else {
            self.shape(name, "wrong_type", "this member is a JSON number");
            return otherwise;
        };
        if number.fract() != 0.0 || !(f64::from(min)..=f64::from(max)).contains(&number) {
            self.value(name, "out_of_range", format!("a whole number from {min} to {max}"));
            return otherwise;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and between two of that type"
        )]
        let number = number as u32;
        number
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, name: &str, (min, max): (f64, f64), otherwise: f64) -> f64 {
        let Some(value) = self.take(name) else { return otherwise };
        let Some(number) = value.as_f64() else {
            self.shape(name, "wrong_type", "this member is a JSON number");
            return otherwise;
        };
        if !(min..=max).contains(&number) {
            self.value(name, "out_of_range", format!("a number from {min} to {max}"));
            return otherwise;
        }
        number
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        known: &[T],
        name_of: fn(T) -> &'static str,
        otherwise: T,
    ) -> T {
        let Some(value) = self.take(name) else { return otherwise };
        let Some(text) = self.text(name, &value) else { return otherwise };
        let found = known.iter().copied().find(|known| name_of(*known) == text);
        found.unwrap_or_else(|| {
            let names: Vec<&str> = known.iter().copied().map(name_of).collect();
            self.value(name, "unknown_value", format!("one of {}", names.join(", ")));
            otherwise
        })
    }

    /// Texts: an array of them, or one.
    pub(super) fn texts(&mut self, name: &str, value: &Value) -> Option<Vec<String>> {
        let texts = match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(all) => all.iter().map(|text| Some(text.as_str()?.to_owned())).collect(),
            _ => None,
        };
        if texts.is_none() {
            self.shape(name, "wrong_type", "this member is an array of JSON strings");
        }
        texts
    }

    /// A filter, whose every wrong member is noted.
    pub(super) fn filter(&mut self, name: &str, json: Value) -> EventFilter {
        let Value::Object(object) = json else {
            self.shape(name, "wrong_type", "a filter is a JSON object");
            return EventFilter::default();
        };
        let mut is_sound = true;
        for (member, value) in &object {
            let alone = Value::Object(Map::from_iter([(member.clone(), value.clone())]));
            if let Err(error) = EventFilter::from_json(&alone) {
                is_sound = false;
                let code = error.code;
                let kind = match code {
                    FilterErrorCode::Unknown | FilterErrorCode::WrongType => FaultKind::Shape,
                    _ => FaultKind::Value,
                };
                self.fault(&format!("{name}/{}", step(member)), code.as_str(), error.detail, kind);
            }
        }
        if !is_sound {
            return EventFilter::default();
        }
        match EventFilter::from_json(&Value::Object(object)) {
            Ok(filter) => {
                if let Some(why) = matches_nothing(&filter) {
                    self.value(name, "matches_nothing", why.to_owned());
                }
                filter
            }
            Err(error) => {
                self.value(name, error.code.as_str(), error.detail);
                EventFilter::default()
            }
        }
    }

    pub(super) fn shape(&mut self, name: &str, code: &'static str, detail: &str) {
        self.fault(name, code, detail.to_owned(), FaultKind::Shape);
    }

    pub(super) fn value(&mut self, name: &str, code: &'static str, detail: String) {
        self.fault(name, code, detail, FaultKind::Value);
    }

    fn fault(&mut self, name: &str, code: &'static str, detail: String, kind: FaultKind) {
        let pointer = format!("{}/{name}", self.place);
        self.faults.push(RuleFault { pointer, code, detail, kind });
    }

    pub(super) fn into_faults(mut self) -> &'a mut Vec<RuleFault> {
        for name in std::mem::take(&mut self.rest).into_iter().map(|(name, _)| name) {
            let name: String = name.chars().take(64).collect();
            self.shape(&step(&name), "unknown", "there is no such member here");
        }
        self.faults
    }
}

/// Whether no event can pass both filters: they ask for other values of one field.
pub(super) fn are_disjoint(one: &EventFilter, other: &EventFilter) -> bool {
    let pairs = [
        (&one.device_ids, &other.device_ids),
        (&one.application_ids, &other.application_ids),
        (&one.connection_types, &other.connection_types),
        (&one.statuses, &other.statuses),
    ];
    let differ = |(one, other): &(&Vec<String>, &Vec<String>)| {
        !one.is_empty() && !other.is_empty() && !one.iter().any(|name| other.contains(name))
    };
    pairs.iter().any(differ)
}

/// Whether every event that passes `filter` passes `exclude`, too: each member of `exclude` is
/// among those of `filter`, with all of its values.
pub(super) fn covers(exclude: &EventFilter, filter: &EventFilter) -> bool {
    let (Value::Object(excluded), Value::Object(passed)) = (exclude.to_json(), filter.to_json())
    else {
        return false;
    };
    let values = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    };
    excluded.iter().all(|(name, excluded)| {
        let excluded = values(excluded);
        passed.get(name).is_some_and(|passed| values(passed).iter().all(|v| excluded.contains(v)))
    })
}

fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Why no event passes a filter.
fn matches_nothing(filter: &EventFilter) -> Option<&'static str> {
    if filter.since.zip(filter.until).is_some_and(|(since, until)| since >= until) {
        return Some("since is not before until, so that no event passes");
    }
    if filter.min_duration.zip(filter.max_duration).is_some_and(|(min, max)| min > max) {
        return Some("min_duration is more than max_duration, so that no event passes");
    }
    let differs = |one: &crate::MetadataFilter| {
        filter.metadata.iter().any(|other| other.path == one.path && other.value != one.value)
    };
    filter
        .metadata
        .iter()
        .any(differs)
        .then_some("one metadata path is to have two values at once, so that no event passes")
}
