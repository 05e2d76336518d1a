//! The starter rules: what most deployments want to know, tuned so that a normal week raises none.

use serde_json::{Value, json};

use super::rule::Rule;

/// The starter rules.
pub fn starter_rules() -> Vec<Rule> {
    let objects = rules();
    let read = |json: Value| match json {
        Value::Object(object) => Rule::from_json(object).ok(),
        _ => None,
    };
    objects.into_iter().filter_map(read).collect()
}

fn rules() -> Vec<Value> {
    let refused = json!(["failure", "denied"]);
    vec![
        json!({
            "name": "Password spraying", "kind": "distinct_count", "severity": "critical",
            "params": {"of": "device_id", "at_least": 10, "window_seconds": 600},
            "filter": {"status": refused}, "group_by": ["ip_address"],
        }),
        json!({
            "name": "Brute force that succeeds", "kind": "sequence", "severity": "critical",
            "params": {"first": {"status": refused}, "count": 8,
                "then": {"status": "success", "connection_type": ["authenticated", "established"]},
                "window_seconds": 900},
            "filter": {}, "group_by": ["device_id", "application_id"],
        }),
        json!({
            "name": "Beacon", "kind": "beaconing",
            "params": {"min_connections": 48, "score": 0.9, "max_prevalence": 0.05},
            "filter": {"connection_type": "established", "status": "success"},
            "group_by": ["device_id", "application_id"],
        }),
        json!({
            "name": "Impossible travel", "kind": "impossible_travel", "severity": "critical",
            "params": {"max_kmh": 1_000, "min_km": 500},
            "filter": {"status": "success"}, "group_by": ["device_id"],
        }),
        json!({
            "name": "Flapping device", "kind": "flapping", "severity": "info",
            "params": {"transitions": 20, "window_seconds": 600},
            "filter": {}, "group_by": ["device_id", "application_id"],
        }),
        json!({
            "name": "Dormant device", "kind": "silence",
            "params": {"after_seconds": 345_600}, "filter": {}, "group_by": ["device_id"],
        }),
        json!({
            "name": "Silent application", "kind": "silence", "severity": "critical",
            "params": {"after_seconds": 7_200}, "filter": {}, "group_by": ["application_id"],
        }),
        json!({
            "name": "Off-hours access", "kind": "match",
            "params": {"hours": ["22:00-05:00"]},
            "filter": {"connection_type": ["authenticated", "established"], "status": "success",
                "metadata.interactive": "true"},
            "group_by": ["device_id", "application_id"],
        }),
        json!({
            "name": "Flood", "kind": "volume", "severity": "critical",
            "params": {"factor": 5, "window_seconds": 3_600, "baseline_windows": 24},
            "filter": {}, "group_by": ["application_id"],
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_starter_rule_is_sound() {
        assert_eq!(starter_rules().len(), rules().len());
    }
}
