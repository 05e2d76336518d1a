//! The contract's row for status 400: bodies without the shape of an event.

use conn_log_core::FaultKind;
use rstest::rstest;

use crate::{SECOND, assert_faults, check, second};

#[rstest]
#[case::nothing("", "invalid_json")]
#[case::torn("{\"device_id\": \"dev", "invalid_json")]
#[case::words("hello", "invalid_json")]
#[case::two_values("{} {}", "invalid_json")]
#[case::a_trailing_comma("{\"a\": 1,}", "invalid_json")]
#[case::a_leading_zero("{\"a\": 01}", "invalid_json")]
#[case::a_bare_control_character("{\"a\": \"\u{1}\"}", "invalid_json")]
#[case::a_byte_order_mark("\u{feff}{}", "invalid_json")]
#[case::not_a_number("{\"a\": NaN}", "invalid_json")]
#[case::a_bad_escape("{\"a\": \"\\x\"}", "invalid_json")]
#[case::a_text("\"event\"", "not_an_object")]
#[case::a_number("7", "not_an_object")]
#[case::null("null", "not_an_object")]
#[case::an_array("[]", "not_an_object")]
fn a_value_that_is_no_object_is_refused_as_a_whole(#[case] json: &str, #[case] code: &str) {
    assert_faults(json, &[("", code)]);
}

#[test]
fn an_empty_object_lacks_every_required_field() {
    assert_faults(
        "{}",
        &[
            ("/device_id", "missing"),
            ("/application_id", "missing"),
            ("/connection_type", "missing"),
            ("/status", "missing"),
            ("/timestamp", "missing"),
        ],
    );
}

#[rstest]
fn a_required_field_is_not_null(
    #[values("device_id", "application_id", "connection_type", "timestamp", "status")] name: &str,
) {
    assert_faults(&second(&[(name, "null")]), &[(&format!("/{name}"), "null")]);
}

#[rstest]
fn an_optional_field_may_be_null(
    #[values("ip_address", "user_agent", "duration", "metadata", "session_id", "event_id")]
    name: &str,
) {
    assert_eq!(check(&second(&[(name, "null")])), check(&second(&[])));
}

#[rstest]
fn a_text_field_takes_no_other_type(
    #[values(
        "device_id",
        "application_id",
        "connection_type",
        "timestamp",
        "status",
        "ip_address",
        "user_agent",
        "session_id",
        "event_id"
    )]
    name: &str,
    #[values("7", "1.5", "true", "{}", "[]", "[\"text\"]")] value: &str,
) {
    assert_faults(&second(&[(name, value)]), &[(&format!("/{name}"), "wrong_type")]);
}

#[rstest]
fn a_duration_is_a_number(#[values("\"7\"", "true", "{}", "[7]")] value: &str) {
    assert_faults(&second(&[("duration", value)]), &[("/duration", "wrong_type")]);
}

#[rstest]
fn metadata_is_an_object(#[values("\"{}\"", "7", "-0", "false", "[]", "[{}]")] value: &str) {
    assert_faults(&second(&[("metadata", value)]), &[("/metadata", "wrong_type")]);
}

#[rstest]
fn a_field_stands_once(
    #[values(0, 1, 2, 3, 4)] field: usize,
    #[values(false, true)] escaped: bool,
) {
    let (name, value) = SECOND[field];
    let again = if escaped {
        name.replace('_', "\\u005f").replace('s', "\\u0073")
    } else {
        name.to_owned()
    };
    let json = second(&[]).replacen('{', &format!("{{\"{again}\": {value}, "), 1);
    assert_faults(&json, &[(&format!("/{name}"), "duplicate_key")]);
}

#[rstest]
#[case::optional(
    r#""duration": 1, "duration": 1"#,
    &[("/duration", "duplicate_key")]
)]
#[case::with_the_last_one_null(
    r#""duration": 1, "duration": null"#,
    &[("/duration", "duplicate_key")]
)]
#[case::unknown(r#""zone": 1, "a": 2, "zone": 1"#, &[("/zone", "duplicate_key")])]
#[case::unknown_through_an_escape(r#""zone": 1, "z\u006fne": 1"#, &[("/zone", "duplicate_key")])]
#[case::in_metadata(
    r#""metadata": {"a": 1, "b": 2, "a": 3}"#,
    &[("/metadata/a", "duplicate_key")]
)]
#[case::in_metadata_through_an_escape(
    r#""metadata": {"a": 1, "\u0061": 3}"#,
    &[("/metadata/a", "duplicate_key")]
)]
#[case::deep_in_metadata(
    r#""metadata": {"a": [0, {"b/c": 1, "b/c": 1}]}"#,
    &[("/metadata/a/1/b~1c", "duplicate_key")]
)]
#[case::deep_in_an_unknown_field(
    r#""zone": {"a~": 1, "a~": 1}"#,
    &[("/zone/a~0", "duplicate_key")]
)]
#[case::under_a_sensitive_name(
    r#""metadata": {"secret": {"a": 1, "a": 1}}"#,
    &[("/metadata/secret/a", "duplicate_key")]
)]
#[case::under_a_sensitive_unknown_field(
    r#""secret": {"a": 1, "a": 1}"#,
    &[("/secret/a", "duplicate_key")]
)]
#[case::two_at_once(
    r#""metadata": {"a": 1, "a": 1}, "duration": 1, "duration": 2"#,
    &[("/duration", "duplicate_key"), ("/metadata/a", "duplicate_key")]
)]
fn a_name_stands_once_in_its_object(#[case] members: &str, #[case] expected: &[(&str, &str)]) {
    let json = second(&[]).replacen('{', &format!("{{{members}, "), 1);
    assert_faults(&json, expected);
}

#[test]
fn one_name_in_two_objects_is_no_duplicate() {
    let json = second(&[("metadata", r#"{"a": {"a": 1}, "b": {"a": 1}}"#)]);
    assert_faults(&json, &[]);
}

#[test]
fn every_fault_is_reported_at_once() {
    let json = r#"{
        "device_id": 7,
        "application_id": " app",
        "connection_type": "opened",
        "timestamp": null,
        "ip_address": "1.2.3",
        "user_agent": "a\u0000b",
        "duration": -1,
        "session_id": "",
        "event_id": "a", "event_id": "b",
        "metadata": {"big": 9007199254740992, "a": 1, "a": 2},
        "zone": "\u0000"
    }"#;
    assert_faults(
        json,
        &[
            ("/application_id", "surrounding_space"),
            ("/connection_type", "unknown_value"),
            ("/device_id", "wrong_type"),
            ("/duration", "out_of_range"),
            ("/event_id", "duplicate_key"),
            ("/ip_address", "invalid_address"),
            ("/session_id", "length"),
            ("/status", "missing"),
            ("/timestamp", "null"),
            ("/user_agent", "nul_character"),
            ("/metadata/big", "not_i_json"),
            ("/metadata/a", "duplicate_key"),
            ("/zone", "nul_character"),
        ],
    );
}

#[test]
fn one_fault_of_shape_makes_all_of_it_a_fault_of_shape() {
    let value = check(&second(&[("duration", "-1")])).unwrap_err();
    assert_eq!(value.kind(), FaultKind::Value);
    let both = check(&second(&[("duration", "-1"), ("status", "null")])).unwrap_err();
    assert_eq!(both.kind(), FaultKind::Shape);
}

#[test]
fn a_fault_does_not_repeat_the_client_s_value() {
    let json = second(&[
        ("status", r#""hunter2""#),
        ("ip_address", r#""hunter2""#),
        ("timestamp", r#""hunter2""#),
        ("metadata", r#"{"a": "hunter2\u0000"}"#),
    ]);
    let faults = check(&json).unwrap_err();
    assert_eq!(faults.as_slice().len(), 4);
    assert!(!faults.to_string().contains("hunter2"));
}
