//! Rules as JSON: what is refused, and that a rule reads back as it was written.

use conn_log_core::alert::Rule;
use serde_json::{Value, json};

use crate::alerts::kinds;

#[test]
fn all_faults_of_a_rule_are_told_at_once() {
    let json = json!({"name": " x", "kind": "failure_burst", "group_by": ["device_id", "shoe_size"],
        "params": {"threshold": 1, "window_seconds": 90_000}, "colour": 1,
        "filter": {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}});
    let Value::Object(object) = json else { unreachable!() };
    let faults = Rule::from_json(object).unwrap_err();
    let mut found: Vec<(&str, &str)> =
        faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("/colour", "unknown"),
            ("/filter", "matches_nothing"),
            ("/group_by/1", "unknown_value"),
            ("/name", "surrounding_space"),
            ("/params/threshold", "out_of_range"),
            ("/params/window_seconds", "out_of_range"),
        ]
    );
}

#[test]
fn a_rule_reads_back_as_it_was_written() {
    for rule in kinds(7) {
        assert_eq!(Rule::from_json(rule.to_json()), Ok(rule));
    }
}
