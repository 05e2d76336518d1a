//! The format `standard`: `{"type", "timestamp", "data": {"alert", "events", "sequence"}}`, as
//! Standard Webhooks recommends.

use serde_json::{Value, json};

use super::{Message, shortened};

/// Standard Webhooks advises payloads below 20 kB.
const BYTES_MAX: usize = 20_000;

/// Longest text of an alert that is too large as it is.
const TEXT_CHARS_MAX: usize = 200;

/// The body. Events that have no room are left out, the last first; `event_ids` names all of them.
pub(super) fn body(message: &Message<'_>) -> String {
    let whole = written(message, &message.alert, &[]);
    let (alert, mut bytes) = if whole.len() <= BYTES_MAX {
        (message.alert.clone(), whole.len())
    } else {
        let mut alert = message.alert.clone();
        shorten(&mut alert);
        let bytes = written(message, &alert, &[]).len();
        (alert, bytes)
    };
    let fits = |event: &&String| {
        bytes += event.len() + 1;
        bytes <= BYTES_MAX
    };
    let events: Vec<&String> = message.events.iter().take_while(fits).collect();
    written(message, &alert, &events)
}

fn written(message: &Message<'_>, alert: &Value, events: &[&String]) -> String {
    let (kind, at) = (json!(message.kind), json!(message.at));
    let events = events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"type":{kind},"timestamp":{at},"data":{{"alert":{alert},"events":[{events}],"sequence":{}}}}}"#,
        message.sequence
    )
}

/// Shortens every text within a value.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => *text = shortened(text, TEXT_CHARS_MAX),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn read(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_body_has_the_alert_its_events_and_its_place() {
        let message = example("opened");
        let body = read(&body(&message));
        assert_eq!(body["type"], "alert.opened");
        assert_eq!(body["timestamp"], "2026-01-02T03:05:05Z");
        assert_eq!(body["data"]["alert"], message.alert);
        assert_eq!(body["data"]["events"], json!([{"id": 1}]));
        assert_eq!(body["data"]["sequence"], 12);
    }

    #[test]
    fn a_body_is_below_20_kb_whatever_the_events_and_the_alert() {
        let mut message = example("opened");
        message.events = vec![json!({"metadata": "x".repeat(8_000)}).to_string(); 5];
        let small = body(&message);
        assert!(small.len() <= BYTES_MAX);
        assert_eq!(read(&small)["data"]["events"].as_array().unwrap().len(), 2);
        message.alert["explanation"] = "é".repeat(30_000).into();
        let small = body(&message);
        assert!(small.len() <= BYTES_MAX, "{}", small.len());
        assert!(read(&small)["data"]["alert"]["explanation"].as_str().unwrap().ends_with('…'));
    }
}
