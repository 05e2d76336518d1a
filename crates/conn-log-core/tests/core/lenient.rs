//! Lenient handling: an optional field that cannot be taken costs itself, and not its event.

use conn_log_core::{EventDraft, EventFields, EventPolicy, Faults};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{first, list, now, second, text_of};

fn lenient(json: &str) -> Result<EventFields, Faults> {
    let event = EventPolicy::default().check_leniently(EventDraft::from_json(json)?, now())?;
    Ok(event.into_fields())
}

#[track_caller]
fn taken(json: &str) -> (EventFields, Value) {
    let fields = lenient(json).unwrap_or_else(|faults| panic!("refused, {faults}: {json:.300}"));
    let metadata = serde_json::from_str(&fields.metadata).unwrap();
    (fields, metadata)
}

#[rstest]
#[case("ip_address", r#""-""#, json!("-"))]
#[case("ip_address", r#""""#, json!(""))]
#[case("ip_address", r#""LOCAL""#, json!("LOCAL"))]
#[case("ip_address", "3232235777", json!(3_232_235_777_u32))]
#[case("session_id", r#""""#, json!(""))]
#[case("session_id", "1234567890123456789", json!("1234567890123456789"))]
#[case("session_id", r#"{"password": "x", "n": 1}"#, json!({"password": "[REDACTED]", "n": 1}))]
#[case("session_id", r#""a\u0000b""#, json!("a\\u0000b"))]
#[case("user_agent", r#""\ud800""#, json!("\\ud800"))]
#[case("user_agent", "false", json!(false))]
#[case("duration", r#""12.5""#, json!("12.5"))]
#[case("duration", "-1", json!(-1))]
#[case("duration", "1e999", json!("1e999"))]
#[case("event_id", r#""""#, json!(""))]
fn an_optional_field_that_cannot_be_taken_is_null(
    #[case] field: &str,
    #[case] value: &str,
    #[case] kept: Value,
) {
    let (fields, metadata) = taken(&second(&[(field, value)]));
    assert_eq!(metadata, json!({"invalid": {field: kept}}));
    let optional = (fields.ip_address, fields.user_agent, fields.duration);
    assert_eq!(optional, (None, None, None));
    assert_eq!((fields.session_id, fields.event_id), (None, None));
}

#[rstest]
#[case(r#""1.2.3.4:46992""#, "1.2.3.4")]
#[case(r#""[::1]:80""#, "::1")]
#[case(r#""fe80::1%eth0""#, "fe80::1")]
#[case(r#""[::ffff:1.2.3.4]:80""#, "1.2.3.4")]
fn an_address_is_taken_without_its_port_or_zone(#[case] value: &str, #[case] address: &str) {
    let (fields, metadata) = taken(&second(&[("ip_address", value)]));
    assert_eq!(fields.ip_address.map(|address| address.to_string()).as_deref(), Some(address));
    assert_eq!(metadata, json!({}));
}

#[rstest]
#[case::not_an_object(r#""none""#, json!({"invalid": {"metadata": "none"}}))]
#[case::a_long_integer(
    r#"{"counter": 1234567890123456789, "ok": 1}"#,
    json!({"ok": 1, "invalid": {"metadata": {"counter": "1234567890123456789"}}})
)]
#[case::within_a_member(
    r#"{"a": {"n": [1, 1234567890123456789], "token": "x"}}"#,
    json!({"invalid": {"metadata": {"a": {"n": [1, "1234567890123456789"], "token": "[REDACTED]"}}}})
)]
#[case::a_name_twice(
    r#"{"a": 1, "a": 2}"#,
    json!({"a": 1, "invalid": {"metadata": {"a": 2}}})
)]
#[case::beside_its_own(
    r#"{"invalid": {"b": 1}, "pin": 12345678901234567890}"#,
    json!({"invalid": {"b": 1, "metadata": {"pin": "[REDACTED]"}}})
)]
#[case::beside_another_invalid(
    r#"{"invalid": true, "n": 12345678901234567890}"#,
    json!({"invalid": {"invalid": true, "metadata": {"n": "12345678901234567890"}}})
)]
fn a_member_of_the_metadata_costs_itself(#[case] metadata: &str, #[case] expected: Value) {
    assert_eq!(taken(&second(&[("metadata", metadata)])).1, expected);
}

#[test]
fn an_unknown_field_costs_itself() {
    let json =
        second(&[("uptime_ns", "1234567890123456789"), ("api_key", "1e300"), ("ok", "true")]);
    let expected = json!({
        "ok": true, "invalid": {"uptime_ns": "1234567890123456789", "api_key": "[REDACTED]"}
    });
    assert_eq!(taken(&json).1, expected);
}

#[test]
fn a_measurement_of_the_first_edition_costs_itself() {
    let (fields, metadata) = taken(&first(&[("signal_strength", r#""n/a""#)]));
    assert_eq!(fields.connection_type, "established");
    let expected = json!({
        "connection_status": "connected", "network_type": "wifi",
        "invalid": {"signal_strength": "n/a"},
    });
    assert_eq!(metadata, expected);
}

#[test]
fn the_metadatas_session_id_is_taken_where_the_fields_own_is_empty() {
    let json = second(&[("session_id", r#""""#), ("metadata", r#"{"session_id": "s-1"}"#)]);
    assert_eq!(taken(&json).0.session_id.as_deref(), Some("s-1"));
}

#[test]
fn metadata_that_is_too_deep_is_kept_as_text_and_redacted() {
    let deep = r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"password":"x","n":1}}}}}}}}}"#;
    let (_, metadata) = taken(&second(&[("metadata", deep)]));
    let text = metadata.to_string();
    assert!(text.contains(r#"\"n\":1"#) && !text.contains(r#""x""#), "{text}");
}

#[rstest]
#[case::a_long_field(&[("user_agent", text_of('u', 40_000))])]
#[case::many_fields(&[
    ("user_agent", text_of('u', 30_000)), ("session_id", text_of('s', 30_000)),
    ("event_id", text_of('e', 30_000)), ("ip_address", text_of('i', 30_000)),
    ("metadata", format!(r#"{{"m": {}}}"#, text_of('m', 30_000))),
])]
#[case::long_metadata(&[("metadata", format!(r#"{{"m": {}}}"#, text_of('m', 200_000)))])]
#[case::full_metadata(&[
    ("metadata", format!(r#"{{"m": {}}}"#, text_of('m', 16_370))), ("ip_address", r#""-""#.to_owned()),
])]
fn what_is_too_long_is_cut_and_fits(#[case] changes: &[(&str, String)]) {
    let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (fields, metadata) = taken(&second(&changes));
    assert!(fields.metadata.len() <= 16 << 10, "{}", fields.metadata.len());
    assert!(metadata["invalid"].is_object(), "{metadata}");
}

#[rstest]
#[case(&second(&[("device_id", r#""""#), ("ip_address", r#""-""#)]), &[("/device_id", "length")])]
#[case(&second(&[("status", r#""ok""#)]), &[("/status", "unknown_value")])]
#[case(&second(&[("timestamp", "1705314600")]), &[("/timestamp", "wrong_type")])]
#[case(r#"{"ip_address": "-"}"#, &[
    ("/device_id", "missing"), ("/application_id", "missing"), ("/connection_type", "missing"),
    ("/status", "missing"), ("/timestamp", "missing"),
])]
fn required_fields_refuse_as_ever(#[case] json: &str, #[case] expected: &[(&str, &str)]) {
    let found = list(&lenient(json).unwrap_err());
    let found: Vec<_> = found.iter().map(|(p, c)| (p.as_str(), *c)).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_optional_field_given_twice_is_a_fault_of_the_event() {
    let json = second(&[]).replace('{', r#"{"ip_address": "-", "ip_address": "::1", "#);
    assert_eq!(list(&lenient(&json).unwrap_err()), [("/ip_address".to_owned(), "duplicate_key")]);
}

fn values() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just(r#""-""#.to_owned()),
        Just("1234567890123456789".to_owned()),
        Just("null".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        ".{0,40}".prop_map(|text| json!(text).to_string()),
        (0_usize..20_000).prop_map(|count| text_of('x', count)),
    ];
    scalar.prop_recursive(10, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|elements| format!("[{}]", elements.join(","))),
            (inner.clone(), inner).prop_map(|(a, b)| format!(r#"{{"a":{a},"password":{b}}}"#)),
        ]
    })
}

proptest! {
    /// Whatever the optional fields hold, the event is taken, and is a valid one.
    #[test]
    fn no_value_of_an_optional_field_costs_the_event(
        names in prop::sample::subsequence(
            vec!["ip_address", "user_agent", "duration", "session_id", "event_id", "metadata", "other"],
            0..7,
        ),
        values in prop::collection::vec(values(), 7),
    ) {
        let changes: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        let json = second(&changes);
        let fields = lenient(&json).map_err(|faults| TestCaseError::fail(faults.to_string()))?;
        prop_assert!(fields.metadata.len() <= 16 << 10);
        let again = second(&[("metadata", fields.metadata.as_str())]);
        let strict = EventPolicy::default().check(EventDraft::from_json(&again).unwrap(), now());
        let strict = strict.map_err(|faults| TestCaseError::fail(faults.to_string()))?;
        prop_assert_eq!(&strict.fields().metadata, &fields.metadata);
    }

    /// Lenient handling changes nothing for an event without a fault.
    #[test]
    fn an_event_without_a_fault_is_taken_as_it_is(value in values()) {
        let json = second(&[("metadata", &format!(r#"{{"a": {value}}}"#))]);
        let strict = EventPolicy::default().check(EventDraft::from_json(&json).unwrap(), now());
        if let Ok(event) = strict {
            prop_assert_eq!(event.into_fields(), lenient(&json).unwrap());
        }
    }
}
