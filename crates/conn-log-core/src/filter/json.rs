//! Filters from JSON and back: with the names and the rules of a query string. A repeatable filter
//! is one value or an array of values.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{EventFilter, FilterError, FilterErrorCode};

const RFC3339: &str = "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z";

impl EventFilter {
    /// Reads a filter's JSON.
    ///
    /// ```
    /// use conn_log_core::EventFilter;
    /// use serde_json::json;
    ///
    /// let json = json!({"status": ["failure", "denied"], "metadata.port": 443});
    /// let filter = EventFilter::from_json(&json).unwrap();
    /// assert_eq!(filter.statuses, ["failure", "denied"]);
    /// assert_eq!(filter.metadata[0].value, "443");
    /// ```
    ///
    /// # Errors
    /// The first invalid filter. A null and an empty array are refused as well: a mistake must not
    /// become a filter that matches everything.
    pub fn from_json(json: &Value) -> Result<Self, FilterError> {
        let Some(object) = json.as_object() else {
            return Err(FilterError::new(
                "",
                FilterErrorCode::WrongType,
                "a filter is a JSON object",
            ));
        };
        let mut pairs = Vec::new();
        for (name, value) in object {
            let texts = texts(name, value)?;
            pairs.extend(texts.into_iter().map(|text| (name.clone(), text)));
        }
        EventFilter::from_pairs(&mut pairs, RFC3339)
    }

    /// The filter as JSON; [`EventFilter::from_json`] reads it back as the same filter.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            object.extend(value.map(|value| (name.to_owned(), value)));
        };
        set("device_id", values(&self.device_ids));
        set("application_id", values(&self.application_ids));
        set("connection_type", values(&self.connection_types));
        set("status", values(&self.statuses));
        set("ip_address", self.ip_network.map(|network| network_text(network).into()));
        set("session_id", self.session_id.as_deref().map(Value::from));
        set("since", self.since.map(|time| time.to_string().into()));
        set("until", self.until.map(|time| time.to_string().into()));
        set("min_duration", self.min_duration.map(Value::from));
        set("max_duration", self.max_duration.map(Value::from));
        let mut by_path: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        for filter in &self.metadata {
            by_path.entry(format!("metadata.{}", filter.path)).or_default().push(&filter.value);
        }
        for (name, texts) in by_path {
            set(&name, values(&texts));
        }
        Value::Object(object)
    }
}

/// The values as JSON: `None`, one value, or an array.
fn values<T: AsRef<str>>(texts: &[T]) -> Option<Value> {
    match texts {
        [] => None,
        [text] => Some(text.as_ref().into()),
        texts => Some(texts.iter().map(T::as_ref).collect::<Vec<&str>>().into()),
    }
}

fn network_text(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

/// The values of one member, in their query string form.
fn texts(name: &str, value: &Value) -> Result<Vec<String>, FilterError> {
    match name {
        "device_id" | "application_id" | "connection_type" | "status" => {
            repeatable(name, value, text, "a JSON string, or an array of them")
        }
        "ip_address" | "session_id" | "since" | "until" => {
            single(name, value, text, "a JSON string")
        }
        "min_duration" | "max_duration" => single(name, value, number, "a JSON number"),
        _ if name.starts_with("metadata.") => {
            repeatable(name, value, scalar, "no JSON object, or an array without one")
        }
        _ => {
            let detail = "there is no such filter";
            Err(FilterError::new(name, FilterErrorCode::Unknown, detail))
        }
    }
}

/// Converts one JSON value to its query string form.
type ReadText = fn(&Value) -> Option<String>;

fn single(
    name: &str,
    value: &Value,
    read: ReadText,
    expected: &str,
) -> Result<Vec<String>, FilterError> {
    let text = read(value);
    text.map(|text| vec![text]).ok_or_else(|| {
        FilterError::new(name, FilterErrorCode::WrongType, format!("this filter is {expected}"))
    })
}

fn repeatable(
    name: &str,
    value: &Value,
    read: ReadText,
    expected: &str,
) -> Result<Vec<String>, FilterError> {
    let Some(array) = value.as_array() else {
        return single(name, value, read, expected);
    };
    if array.is_empty() {
        let detail = "an array of at least one value";
        return Err(FilterError::new(name, FilterErrorCode::InvalidValue, detail));
    }
    let texts = array.iter().map(|value| single(name, value, read, expected));
    Ok(texts.collect::<Result<Vec<_>, _>>()?.concat())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> Option<String> {
    value.as_number().map(ToString::to_string)
}

/// The text itself, or the canonical JSON of a number, `true`, `false` or `null`.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        other => serde_json_canonicalizer::to_string(other).ok(),
    }
}
