//! Secrets never reach an event.

use conn_log_core::{EventPolicy, Record};
use rstest::rstest;

use crate::{draft, event, fields, first, now, second};

#[rstest]
#[case::at_the_top(r#"{"password": "hunter2"}"#, r#"{"password":"[REDACTED]"}"#)]
#[case::nested(
    r#"{"a": {"api_key": "hunter2", "b": 1}}"#,
    r#"{"a":{"api_key":"[REDACTED]","b":1}}"#
)]
#[case::in_arrays_of_objects(
    r#"{"a": [{"token": "hunter2"}, [{"cookie": "hunter2"}], 1]}"#,
    r#"{"a":[{"token":"[REDACTED]"},[{"cookie":"[REDACTED]"}],1]}"#
)]
#[case::whatever_its_type(
    r#"{"a_secret": {"b": ["hunter2"]}, "auth": 7, "pin": null, "otp": true}"#,
    r#"{"a_secret":"[REDACTED]","auth":"[REDACTED]","otp":"[REDACTED]","pin":"[REDACTED]"}"#
)]
#[case::through_an_escape(r#"{"p\u0061ssword": "hunter2"}"#, r#"{"password":"[REDACTED]"}"#)]
#[case::harmless_names_stay(
    r#"{"token_count": 7, "author": "me"}"#,
    r#"{"author":"me","token_count":7}"#
)]
fn a_value_under_a_sensitive_name_is_replaced(#[case] given: &str, #[case] kept: &str) {
    assert_eq!(fields(&second(&[("metadata", given)])).metadata, kept);
}

#[test]
fn an_unknown_field_that_moves_is_redacted() {
    let json = second(&[
        ("access_token", r#""hunter2""#),
        ("context", r#"{"headers": [{"Authorization": "hunter2"}]}"#),
    ]);
    assert_eq!(
        fields(&json).metadata,
        r#"{"access_token":"[REDACTED]","context":{"headers":[{"Authorization":"[REDACTED]"}]}}"#,
    );
}

#[test]
fn a_deployment_names_secrets_of_its_own() {
    let policy = EventPolicy::default().with_sensitive_key("badge_number");
    let json = first(&[("metadata", r#"{"badgeNumber": "hunter2"}"#)]);
    let event = policy.check(draft(&json), now()).unwrap();
    assert!(event.fields().metadata.contains(r#""badgeNumber":"[REDACTED]""#));
}

#[test]
fn a_secret_stands_in_no_form_of_the_record() {
    let json = second(&[("metadata", r#"{"a": [{"client-secret": "hunter2"}]}"#)]);
    let record = Record { id: 1, created_at: now(), event: event(&json) };
    assert!(!record.to_json().contains("hunter2"));
    assert!(!record.to_canonical_json().contains("hunter2"));
    assert!(!format!("{record:?}").contains("hunter2"));
}

#[test]
fn a_draft_shows_no_metadata_since_nothing_is_redacted_yet() {
    let json = second(&[("metadata", r#"{"pin": "hunter2"}"#), ("token", r#""hunter2""#)]);
    assert!(!format!("{:?}", draft(&json)).contains("hunter2"));
}

#[test]
fn fields_that_the_first_edition_moves_are_redacted_too() {
    let policy = EventPolicy::default().with_sensitive_key("network_type");
    let event = policy.check(draft(&first(&[])), now()).unwrap();
    let expected = r#"{"connection_status":"connected","network_type":"[REDACTED]"}"#;
    assert_eq!(event.fields().metadata, expected);
}
