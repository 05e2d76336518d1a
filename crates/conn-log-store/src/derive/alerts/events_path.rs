//! The path of the list that shows the events of an alert.

use conn_log_core::Timestamp;
use conn_log_core::alert::{Clock, Episode, Rule};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

const EVENTS: &str = "/api/v1/device_app_connection_log/";

/// The list of the events that pass the rule's filter, are of the group, and lie within the
/// episode.
pub(super) fn events_path(rule: &Rule, group: &str, episode: &Episode) -> String {
    let mut parameters: Vec<(String, Value)> = Vec::new();
    if let Value::Object(filter) = rule.filter().to_json() {
        parameters
            .extend(filter.into_iter().filter(|(name, _)| name != "since" && name != "until"));
    }
    let group: Map<String, Value> = serde_json::from_str(group).unwrap_or_default();
    for (name, value) in group {
        let name = match name.as_str() {
            "network_type" => "metadata.network_type".to_owned(),
            // Lists have no such filter.
            "user_agent" | "overflow" => continue,
            _ => name,
        };
        parameters.retain(|(other, _)| *other != name);
        parameters.push((name, value));
    }
    if rule.clock() == Clock::Event {
        let time = |micros: i64| Value::from(Timestamp::from_micros(micros).to_string());
        parameters.push(("since".to_owned(), time(episode.start)));
        if !episode.goes_on {
            parameters.push(("until".to_owned(), time(episode.end.saturating_add(1))));
        }
    }
    parameters.push(("order".to_owned(), Value::from("timestamp")));
    let mut pairs = Vec::new();
    for (name, value) in &parameters {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            pairs.push(format!("{}={}", encode(name).replace("%5F", "_"), encode(&text)));
        }
    }
    format!("{EVENTS}?{}", pairs.join("&"))
}
