//! A draft that code builds field by field is checked by the same rules as one from JSON.

use conn_log_core::{Edition, EventDraft, EventFields, EventPolicy, Fault, FaultCode, Faults};
use rstest::rstest;
use serde_json::{Value, json, value::to_raw_value};

use crate::{event, fields, list, now, second, time};

/// The draft of [`SECOND`](crate::SECOND).
fn built() -> EventDraft<'static> {
    EventDraft {
        device_id: Some("dev_12345".into()),
        application_id: Some("app_67890".into()),
        connection_type: Some("established".into()),
        status: Some("success".into()),
        timestamp: Some(time("2024-01-15T10:30:00Z")),
        ..EventDraft::default()
    }
}

fn with_metadata(metadata: Value) -> EventDraft<'static> {
    EventDraft { metadata: Some(metadata.into()), ..built() }
}

fn refused(draft: EventDraft<'_>) -> Faults {
    EventPolicy::default().check(draft, now()).unwrap_err()
}

fn taken(draft: EventDraft<'_>) -> EventFields {
    EventPolicy::default().check(draft, now()).unwrap().into_fields()
}

#[track_caller]
fn assert_refused(draft: EventDraft<'_>, expected: &[(&str, &str)]) {
    let found = list(&refused(draft));
    let found: Vec<_> = found.iter().map(|(pointer, code)| (pointer.as_str(), *code)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_draft_built_field_by_field_makes_the_event_that_json_makes() {
    assert_eq!(EventPolicy::default().check(built(), now()), Ok(event(&second(&[]))));
    assert_eq!(built().edition(), Edition::Second);
}

#[test]
fn an_empty_draft_lacks_every_required_field() {
    assert_refused(
        EventDraft::default(),
        &[
            ("/device_id", "missing"),
            ("/application_id", "missing"),
            ("/connection_type", "missing"),
            ("/status", "missing"),
            ("/timestamp", "missing"),
        ],
    );
}

#[test]
fn every_field_of_a_built_draft_keeps_its_rule() {
    let draft = EventDraft {
        device_id: Some(" dev".into()),
        application_id: Some("a".repeat(256).into()),
        connection_type: Some("opened".into()),
        status: Some("ok".into()),
        timestamp: Some(time("2024-01-15T10:36:00.000001Z")),
        user_agent: Some("\0".into()),
        duration: Some(-1.0),
        session_id: Some("".into()),
        event_id: Some("e".repeat(65).into()),
        ..EventDraft::default()
    };
    assert_refused(
        draft,
        &[
            ("/application_id", "length"),
            ("/connection_type", "unknown_value"),
            ("/device_id", "surrounding_space"),
            ("/duration", "out_of_range"),
            ("/event_id", "length"),
            ("/session_id", "length"),
            ("/status", "unknown_value"),
            ("/timestamp", "in_the_future"),
            ("/user_agent", "nul_character"),
        ],
    );
}

#[rstest]
fn a_built_duration_is_finite(#[values(f64::NAN, f64::INFINITY)] seconds: f64) {
    let draft = EventDraft { duration: Some(seconds), ..built() };
    assert_refused(draft, &[("/duration", "out_of_range")]);
}

#[test]
fn a_built_duration_of_minus_zero_is_zero() {
    let duration = taken(EventDraft { duration: Some(-0.0), ..built() }).duration;
    assert_eq!(duration.map(f64::to_bits), Some(0));
}

#[test]
fn failed_is_taken_as_failure_in_a_built_draft_too() {
    assert_eq!(taken(EventDraft { status: Some("failed".into()), ..built() }).status, "failure");
}

#[test]
fn built_metadata_is_redacted_and_made_canonical() {
    let draft = EventDraft {
        extra_metadata: vec![
            ("b".into(), json!("again").into()),
            ("access_token".into(), json!("hunter2").into()),
            ("session_id".into(), json!("s-1").into()),
        ],
        ..with_metadata(json!({"c": 1.0, "b": [{"password": "hunter2"}], "a": null}))
    };
    let fields = taken(draft);
    let expected = concat!(
        r#"{"a":null,"access_token":"[REDACTED]","b":[{"password":"[REDACTED]"}],"#,
        r#""c":1,"session_id":"s-1"}"#
    );
    assert_eq!(fields.metadata, expected);
    assert_eq!(fields.session_id.as_deref(), Some("s-1"));
}

#[rstest]
#[case::another_type(json!([]), "/metadata", "wrong_type")]
#[case::a_text(json!({"a": ["\0"]}), "/metadata/a/0", "nul_character")]
#[case::a_name(json!({"a": {"\0": 1}}), "/metadata/a/\0", "nul_character")]
#[case::an_integer(json!({"a": 9_007_199_254_740_992_u64}), "/metadata/a", "not_i_json")]
#[case::a_double(json!({"a": -1e300}), "/metadata/a", "not_i_json")]
#[case::too_deep(json!({"a": [[[[[[[[]]]]]]]]}), "/metadata/a/0/0/0/0/0/0/0", "too_deep")]
#[case::too_large(json!({"a": "x".repeat(16 * 1024)}), "/metadata", "too_large")]
fn built_metadata_keeps_every_rule(
    #[case] metadata: Value,
    #[case] pointer: &str,
    #[case] code: &str,
) {
    assert_refused(with_metadata(metadata), &[(pointer, code)]);
}

#[test]
fn more_extra_members_than_metadata_holds_are_too_large() {
    let members = (0..4_000).map(|i| (i.to_string().into(), json!(1).into()));
    let draft = EventDraft { extra_metadata: members.collect(), ..built() };
    assert_refused(draft, &[("/metadata", "too_large")]);
}

#[test]
fn metadata_may_be_json_text_that_the_draft_owns() {
    let text = to_raw_value(&json!({"b": 1, "a": {"pin": 1}})).unwrap();
    let fields = taken(EventDraft { metadata: Some(text.into()), ..built() });
    assert_eq!(fields.metadata, r#"{"a":{"pin":"[REDACTED]"},"b":1}"#);
}

#[test]
fn faults_of_reading_are_reported_with_those_of_the_rules() {
    let mut draft = EventDraft { timestamp: None, status: None, duration: Some(-1.0), ..built() };
    let detail = "nanoseconds since 1970";
    draft.add_fault(Fault::new("/timestamp", FaultCode::InvalidTimestamp, detail));
    let faults = refused(draft);
    assert!(faults.to_string().contains(detail));
    assert_eq!(
        list(&faults).iter().map(|(pointer, code)| (pointer.as_str(), *code)).collect::<Vec<_>>(),
        [
            ("/duration", "out_of_range"),
            ("/status", "missing"),
            ("/timestamp", "invalid_timestamp"),
        ],
    );
}

#[test]
fn a_field_that_code_fills_in_counts_as_given() {
    let json = second(&[]);
    let mut draft = EventDraft::from_json(&json).unwrap();
    draft.user_agent = Some("MyApp/1.0".into());
    assert_eq!(taken(draft), fields(&second(&[("user_agent", r#""MyApp/1.0""#)])));
}
