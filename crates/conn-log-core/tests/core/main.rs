//! Tests of the crate's public interface, as another service uses it: every rule of the contract.
//!
//! One binary, so that it links once; its modules follow the contract's sections.

// With this, Clippy treats all of this as tests, helpers too: clippy.toml says what tests may do.
#![cfg(test)]

mod alert_bounds;
mod alert_edges;
mod alerts;
mod bodies;
mod dependencies;
mod drafts;
mod editions;
mod filters;
mod hostile;
mod lenient;
mod metadata;
mod old_events;
mod properties;
mod record;
mod redaction;
mod rule_examples;
mod rule_shapes;
mod shapes;
mod values;

use conn_log_core::{Edition, Event, EventDraft, EventFields, EventPolicy, Faults, Timestamp};

/// The server's time in these tests.
const NOW: &str = "2024-01-15T10:31:00Z";

/// An event of the second edition: each field's name, and the JSON text of its value.
const SECOND: [(&str, &str); 5] = [
    ("device_id", r#""dev_12345""#),
    ("application_id", r#""app_67890""#),
    ("connection_type", r#""established""#),
    ("timestamp", r#""2024-01-15T10:30:00Z""#),
    ("status", r#""success""#),
];

/// An event of the first edition, in the same way.
const FIRST: [(&str, &str); 5] = [
    ("device_id", r#""dev_12345""#),
    ("app_id", r#""app_67890""#),
    ("connection_type", r#""wifi""#),
    ("connection_status", r#""connected""#),
    ("timestamp", r#""2024-01-15T10:30:00Z""#),
];

fn now() -> Timestamp {
    time(NOW)
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The JSON text of an object with `base`'s members, with those in `changes` replaced or added.
fn object(base: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let change = |name: &str| changes.iter().find(|(other, _)| *other == name);
    let kept = base.iter().map(|member| change(member.0).unwrap_or(member));
    let added = changes.iter().filter(|(name, _)| base.iter().all(|(other, _)| other != name));
    let members: Vec<String> =
        kept.chain(added).map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(", "))
}

fn second(changes: &[(&str, &str)]) -> String {
    object(&SECOND, changes)
}

fn first(changes: &[(&str, &str)]) -> String {
    object(&FIRST, changes)
}

/// `base` without the field of this name.
fn without(base: &[(&str, &str)], name: &str) -> String {
    let kept: Vec<_> = base.iter().copied().filter(|(other, _)| *other != name).collect();
    object(&kept, &[])
}

fn draft(json: &str) -> EventDraft<'_> {
    EventDraft::from_json(json).unwrap()
}

fn edition(json: &str) -> Edition {
    draft(json).edition()
}

/// The default policy's result for the event in `json`.
fn check(json: &str) -> Result<Event, Faults> {
    EventPolicy::default().check(EventDraft::from_json(json)?, now())
}

/// The event in `json`; fails the test if it has faults.
fn event(json: &str) -> Event {
    match check(json) {
        Ok(event) => event,
        Err(faults) => panic!("refused, {faults}: {json}"),
    }
}

fn fields(json: &str) -> EventFields {
    event(json).into_fields()
}

/// The pointer and the code of each fault in `json`; none if it is an event.
fn faults(json: &str) -> Vec<(String, &'static str)> {
    check(json).map_or_else(|faults| list(&faults), |_| Vec::new())
}

fn list(faults: &Faults) -> Vec<(String, &'static str)> {
    let each = faults.as_slice().iter();
    each.map(|fault| (fault.pointer.clone(), fault.code.as_str())).collect()
}

/// Fails unless `json` has exactly these faults, in this order.
fn assert_faults(json: &str, expected: &[(&str, &str)]) {
    let found = faults(json);
    let found: Vec<_> = found.iter().map(|(p, c)| (p.as_str(), *c)).collect();
    let shown: String = json.chars().take(300).collect();
    assert_eq!(found, expected, "in {shown}");
}

/// The JSON text of a string of `count` times `c`.
fn text_of(c: char, count: usize) -> String {
    format!("\"{}\"", c.to_string().repeat(count))
}
