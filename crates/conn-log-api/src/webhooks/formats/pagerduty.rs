//! The format `pagerduty`: an event of PagerDuty's Events API v2.

use serde_json::json;

use super::{Message, plain, shortened};

/// PagerDuty's limit of a summary.
const SUMMARY_CHARS_MAX: usize = 1_024;

pub(super) fn body(message: &Message<'_>) -> String {
    let action = match message.kind.as_str() {
        "alert.acknowledged" => "acknowledge",
        _ if message.is_end => "resolve",
        _ => "trigger",
    };
    let details: serde_json::Map<_, _> =
        message.group().into_iter().map(|(name, value)| (name, plain(&value).into())).collect();
    let group: Vec<String> = message.group().into_iter().map(|(_, value)| value).collect();
    let source = if group.is_empty() { "conn-log".to_owned() } else { plain(&group.join(", ")) };
    let mut body = json!({
        "event_action": action,
        // Of a test too, so that tests are one incident.
        "dedup_key": message.text("id"),
        "client": "conn-log",
        "payload": {
            "summary": shortened(&message.summary(), SUMMARY_CHARS_MAX),
            "source": source,
            "severity": message.text("severity"),
            "timestamp": message.started_at(),
            "class": message.text("kind"),
            "custom_details": {
                "explanation": plain(&message.text("explanation")),
                "group": details,
                "count": message.alert["count"],
                "rule_id": message.alert["rule_id"],
                "event_ids": message.alert["event_ids"],
            },
        },
    });
    // Without one, the gateway at the URL adds it.
    if let Some(key) = message.routing_key {
        body["routing_key"] = key.into();
    }
    body.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::example;
    use super::*;

    #[test]
    fn an_incident_is_triggered_acknowledged_and_resolved_under_one_key() {
        for (kind, action) in [
            ("opened", "trigger"),
            ("extended", "trigger"),
            ("acknowledged", "acknowledge"),
            ("resolved", "resolve"),
            ("withdrawn", "resolve"),
        ] {
            let body: Value = serde_json::from_str(&body(&example(kind))).unwrap();
            assert_eq!(body["event_action"], action);
            assert_eq!((&body["dedup_key"], &body["routing_key"]), (&json!("7"), &json!("key")));
            assert_eq!(body["payload"]["severity"], "critical");
            assert!(!body["payload"]["source"].as_str().unwrap().contains('\n'));
        }
    }

    #[test]
    fn a_message_without_a_key_has_no_such_member() {
        let message = super::super::Message { routing_key: None, ..example("opened") };
        let body: Value = serde_json::from_str(&body(&message)).unwrap();
        assert_eq!(body.get("routing_key"), None);
    }
}
