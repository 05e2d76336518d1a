//! What is sent, in each format.

mod alertmanager;
mod pagerduty;
mod slack;
mod standard;

use conn_log_core::Timestamp;
use conn_log_store::{AlertChange, ClaimedDelivery, WebhookFormat};
use serde_json::{Value, json};

/// What a delivery tells, before it has a format.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    /// `alert.opened` and so on, or `webhook.test`.
    pub(super) kind: String,
    /// The time of the change.
    pub(super) at: Timestamp,
    /// Its place in the tenant's changes; 0 for a test.
    pub(super) sequence: i64,
    /// The alert after the change.
    pub(super) alert: Value,
    /// Whether the alert has ended with the change.
    pub(super) is_end: bool,
    /// Some of the alert's events, as JSON.
    pub(super) events: Vec<String>,
    /// PagerDuty's integration key.
    pub(super) routing_key: Option<&'a str>,
    /// The time of the attempt.
    pub(super) now: Timestamp,
}

/// Events that a message has at most.
pub(super) const EVENTS_MAX: usize = 5;

impl<'a> Message<'a> {
    /// The message of a delivery, without events.
    pub(super) fn of(delivery: &'a ClaimedDelivery, now: Timestamp) -> Self {
        let routing_key = delivery.webhook.routing_key.as_deref();
        let message = |kind, at, sequence, alert, is_end| Message {
            kind,
            at,
            sequence,
            alert,
            is_end,
            events: Vec::new(),
            routing_key,
            now,
        };
        match &delivery.change {
            Some(AlertChange { id, kind, at, alert }) => {
                message(format!("alert.{kind}"), *at, *id, alert.clone(), kind.is_end())
            }
            None => message("webhook.test".to_owned(), now, 0, test_alert(now), false),
        }
    }

    /// The ids of the events that the message should have.
    pub(super) fn event_ids(&self) -> Vec<i64> {
        let ids = self.alert["event_ids"].as_array();
        ids.into_iter().flatten().filter_map(Value::as_i64).take(EVENTS_MAX).collect()
    }

    /// The body of a request.
    pub(super) fn body(&self, format: WebhookFormat) -> String {
        match format {
            WebhookFormat::Standard => standard::body(self),
            WebhookFormat::Slack => slack::body(self),
            WebhookFormat::Alertmanager => alertmanager::body(self),
            WebhookFormat::PagerDuty => pagerduty::body(self),
        }
    }

    /// The URL to send to. Alertmanager's own path is added to a URL that has none.
    pub(super) fn url(format: WebhookFormat, url: String) -> String {
        match url::Url::parse(&url) {
            Ok(mut parsed) if format == WebhookFormat::Alertmanager && parsed.path() == "/" => {
                parsed.set_path("/api/v2/alerts");
                parsed.into()
            }
            _ => url,
        }
    }

    /// A member of the alert as text; empty if it is absent or null.
    fn text(&self, name: &str) -> String {
        match &self.alert[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// One line for people.
    fn summary(&self) -> String {
        let what = match self.kind.strip_prefix("alert.") {
            Some(change) => format!("alert {change}"),
            None => "test of a webhook".to_owned(),
        };
        let group: Vec<String> =
            self.group().into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        let group =
            if group.is_empty() { String::new() } else { format!(": {}", group.join(", ")) };
        plain(&format!("[{}] {what}: {}{group}", self.text("severity"), self.text("rule_name")))
    }

    /// The fields of the alert's group and their values.
    fn group(&self) -> Vec<(String, String)> {
        let group = self.alert["group"].as_object();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        group.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// The moment that the alert began.
    fn started_at(&self) -> Timestamp {
        let time = self.alert["started_at"].as_str().and_then(Timestamp::parse);
        time.unwrap_or(self.at)
    }
}

/// A text of clients without control characters, and cut to a length at which people still read.
fn plain(text: &str) -> String {
    shortened(
        &text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>(),
        1_000,
    )
}

/// A text of at most `chars_max` characters.
fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// The alert of a test.
fn test_alert(now: Timestamp) -> Value {
    json!({
        "id": 0, "rule_id": 0, "rule_version": 1, "rule_name": "Test", "kind": "match",
        "severity": "info", "state": "open", "group": {}, "count": 0, "event_ids": [],
        "first_event_id": null, "last_event_id": null, "started_at": now, "ended_at": null,
        "detected_at": now, "merged_into": null,
        "explanation": "A test of this webhook. There is no such alert.",
    })
}

#[cfg(test)]
pub(super) fn example(kind: &str) -> Message<'static> {
    let time = Timestamp::parse("2026-01-02T03:04:05Z").unwrap_or_default();
    let mut alert = test_alert(time);
    alert["id"] = 7.into();
    alert["rule_name"] = "Failures <!channel> & *more*".into();
    alert["severity"] = "critical".into();
    alert["group"] = json!({"device_id": "dev_1\n<http://evil|x>", "metadata.a-b": 3});
    alert["event_ids"] = json!([1, 2, 3, 4, 5, 6]);
    alert["explanation"] = "5 failures within 60 s".into();
    Message {
        kind: format!("alert.{kind}"),
        at: time.plus(chrono::TimeDelta::seconds(60)),
        sequence: 12,
        alert,
        is_end: matches!(kind, "resolved" | "withdrawn"),
        events: vec![r#"{"id":1}"#.to_owned()],
        routing_key: Some("key"),
        now: time.plus(chrono::TimeDelta::seconds(90)),
    }
}
