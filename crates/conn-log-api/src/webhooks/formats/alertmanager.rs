//! The format `alertmanager`: alerts for Alertmanager's `/api/v2/alerts`.
//!
//! Alertmanager takes an alert for resolved once its `endsAt` has passed. So an open one has its end
//! in the future, and is sent again before (`conn_log_store::ClaimedDelivery`).

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::{Message, plain};

/// An open alert lives this long in Alertmanager without being sent again: four times as long as
/// it takes until it is (as Prometheus does).
const LIFE: TimeDelta = TimeDelta::minutes(20);

pub(super) fn body(message: &Message<'_>) -> String {
    let is_test = message.kind == "webhook.test";
    let mut labels = Map::new();
    let mut label = |name: &str, value: &str| {
        let value = plain(value);
        // Alertmanager drops an empty label; groups are to have none.
        if !value.is_empty() {
            labels.entry(label_name(name)).or_insert(value.into());
        }
    };
    label("alertname", &message.text("rule_name"));
    label("service", "conn-log");
    label("severity", &message.text("severity"));
    label("kind", &message.text("kind"));
    label("rule_id", &message.text("rule_id"));
    label("alert_id", &message.text("id"));
    for (name, value) in message.group() {
        label(&name, &value);
    }
    let ends_at = match (message.is_end, is_test) {
        (true, _) => message.at,
        (false, true) => message.now.plus(TimeDelta::minutes(1)),
        (false, false) => message.now.plus(LIFE),
    };
    // Alertmanager refuses an alert that does not end after its start.
    let starts_at = message.started_at().min(ends_at.plus(-TimeDelta::milliseconds(1)));
    let annotations: Map<String, Value> = [
        ("summary", message.summary()),
        ("description", plain(&message.text("explanation"))),
        ("state", message.text("state")),
        ("count", message.text("count")),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(name, text)| (name.to_owned(), text.into()))
    .collect();
    json!([{
        "labels": labels, "annotations": annotations, "startsAt": starts_at, "endsAt": ends_at,
    }])
    .to_string()
}

/// The name of a label has letters, digits and underscores, and begins with no digit.
fn label_name(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn sent(kind: &str) -> Value {
        serde_json::from_str::<Value>(&body(&example(kind))).unwrap()[0].clone()
    }

    #[test]
    fn an_open_alert_ends_in_the_future_and_one_that_has_ended_with_its_change() {
        for kind in ["opened", "extended", "acknowledged"] {
            assert_eq!(sent(kind)["endsAt"], "2026-01-02T03:25:35Z", "{kind}");
            assert_eq!(sent(kind)["startsAt"], "2026-01-02T03:04:05Z", "{kind}");
        }
        for kind in ["resolved", "withdrawn"] {
            assert_eq!(sent(kind)["endsAt"], "2026-01-02T03:05:05Z", "{kind}");
        }
    }

    #[test]
    fn an_alert_is_the_same_in_all_its_changes() {
        let labels = sent("opened")["labels"].clone();
        assert_eq!(labels["alert_id"], "7");
        assert_eq!(labels["metadata_a_b"], "3");
        assert_eq!(labels["device_id"], "dev_1 <http://evil|x>");
        assert_eq!(sent("resolved")["labels"], labels);
    }
}
