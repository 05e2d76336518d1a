//! Both published editions, told apart by their field names.

use conn_log_core::{Edition, EventFields, EventPolicy, JsonBody};
use rstest::rstest;

use crate::{
    FIRST, SECOND, assert_faults, edition, event, fields, first, now, second, time, without,
};

/// The example of the vendor's page for the first edition, unchanged.
const FIRST_EXAMPLE: &str = r#"{"data": "{\"device_id\": \"dev_12345\", \"app_id\": \"app_67890\", \"connection_type\": \"wifi\", \"connection_status\": \"connected\", \"timestamp\": \"2024-01-15T10:30:00Z\", \"ip_address\": \"192.168.1.100\", \"signal_strength\": -45, \"data_transferred\": 1024}"}"#;

fn envelope_text(body: &str) -> String {
    match JsonBody::read(body.as_bytes(), 10).unwrap() {
        JsonBody::Envelope(text) => text,
        other => panic!("not an envelope: {other:?}"),
    }
}

#[test]
fn the_first_edition_s_example_is_read_as_the_contract_says() {
    let text = envelope_text(FIRST_EXAMPLE);
    let JsonBody::Event(draft) = JsonBody::read(text.as_bytes(), 10).unwrap() else {
        panic!("the envelope holds one event");
    };
    assert_eq!(draft.edition(), Edition::First);
    assert_eq!(
        EventPolicy::default().check(draft, now()).unwrap().into_fields(),
        EventFields {
            device_id: "dev_12345".into(),
            application_id: "app_67890".into(),
            connection_type: "established".into(),
            status: "success".into(),
            timestamp: time("2024-01-15T10:30:00Z"),
            ip_address: Some("192.168.1.100".parse().unwrap()),
            user_agent: None,
            duration: None,
            session_id: None,
            event_id: None,
            metadata: concat!(
                r#"{"connection_status":"connected","data_transferred":1024,"#,
                r#""network_type":"wifi","signal_strength":-45}"#
            )
            .into(),
        },
    );
}

#[test]
fn the_second_edition_keeps_every_field_as_given() {
    let json = r#"{
        "device_id": "dev_12345",
        "application_id": "app_67890",
        "connection_type": "terminated",
        "timestamp": "2024-01-15T12:30:00.25+02:00",
        "ip_address": "2001:DB8:0:0::1",
        "user_agent": "MyApp/1.0",
        "status": "timeout",
        "duration": 3600.5,
        "session_id": "s-1",
        "event_id": "e-1",
        "metadata": {"protocol": "TLS 1.3", "port": 443}
    }"#;
    assert_eq!(edition(json), Edition::Second);
    assert_eq!(
        fields(json),
        EventFields {
            device_id: "dev_12345".into(),
            application_id: "app_67890".into(),
            connection_type: "terminated".into(),
            status: "timeout".into(),
            timestamp: time("2024-01-15T10:30:00.250Z"),
            ip_address: Some("2001:db8::1".parse().unwrap()),
            user_agent: Some("MyApp/1.0".into()),
            duration: Some(3600.5),
            session_id: Some("s-1".into()),
            event_id: Some("e-1".into()),
            metadata: r#"{"port":443,"protocol":"TLS 1.3"}"#.into(),
        },
    );
}

#[rstest]
#[case("connected", "established", "success")]
#[case("disconnected", "terminated", "success")]
#[case("failed", "attempted", "failure")]
#[case("error", "attempted", "error")]
#[case("denied", "attempted", "denied")]
#[case("timeout", "attempted", "timeout")]
fn a_connection_status_means_a_connection_type_and_a_status(
    #[case] connection_status: &str,
    #[case] connection_type: &str,
    #[case] status: &str,
) {
    let value = format!("\"{connection_status}\"");
    let fields = fields(&first(&[("connection_status", &value)]));
    assert_eq!(fields.connection_type, connection_type);
    assert_eq!(fields.status, status);
    assert_eq!(
        fields.metadata,
        format!(r#"{{"connection_status":"{connection_status}","network_type":"wifi"}}"#),
    );
}

#[test]
fn a_first_edition_event_may_stand_flat() {
    assert_eq!(edition(&first(&[])), Edition::First);
}

#[test]
fn an_envelope_may_hold_a_second_edition_event() {
    let body = serde_json::json!({ "data": second(&[]) }).to_string();
    let text = envelope_text(&body);
    assert_eq!(edition(&text), Edition::Second);
}

#[test]
fn an_envelope_may_hold_an_array_of_both_editions() {
    let array = format!("[{}, {}]", first(&[]), second(&[]));
    let body = serde_json::json!({ "data": array }).to_string();
    let text = envelope_text(&body);
    let JsonBody::Events(events) = JsonBody::read(text.as_bytes(), 10).unwrap() else {
        panic!("the envelope holds an array");
    };
    let editions: Vec<_> = events.iter().map(|raw| edition(raw.get())).collect();
    assert_eq!(editions, [Edition::First, Edition::Second]);
}

#[test]
fn app_id_beside_status_keeps_the_second_edition_s_connection_types() {
    let json = second(&[]).replace("application_id", "app_id");
    assert_eq!(edition(&json), Edition::First);
    assert_eq!(event(&json), event(&second(&[])));
}

#[test]
fn application_id_beside_connection_status_is_a_first_edition_event() {
    let json = first(&[]).replace("app_id", "application_id");
    assert_eq!(edition(&json), Edition::First);
    assert_eq!(event(&json), event(&first(&[])));
}

#[rstest]
#[case::applications("application_id", r#""app_67890""#, "/app_id")]
#[case::statuses("status", r#""success""#, "/connection_status")]
#[case::even_null("status", "null", "/connection_status")]
fn two_names_for_one_thing_are_refused(
    #[case] name: &str,
    #[case] value: &str,
    #[case] pointer: &str,
) {
    assert_faults(&first(&[(name, value)]), &[(pointer, "mixed_editions")]);
}

#[test]
fn both_pairs_of_two_names_are_reported_at_once() {
    let json = first(&[("application_id", r#""app_67890""#), ("status", r#""success""#)]);
    assert_faults(
        &json,
        &[("/app_id", "mixed_editions"), ("/connection_status", "mixed_editions")],
    );
}

#[test]
fn failed_is_taken_as_failure() {
    let fields = fields(&second(&[("status", r#""failed""#)]));
    assert_eq!((fields.status.as_str(), fields.metadata.as_str()), ("failure", "{}"));
}

#[rstest]
fn a_field_missing_from_a_first_edition_event_is_named_as_that_edition_names_it(
    #[values("device_id", "app_id", "connection_type", "connection_status", "timestamp")]
    name: &str,
) {
    assert_faults(&without(&FIRST, name), &[(&format!("/{name}"), "missing")]);
}

#[rstest]
fn a_field_missing_from_a_second_edition_event_is_named(
    #[values("device_id", "application_id", "connection_type", "timestamp", "status")] name: &str,
) {
    assert_faults(&without(&SECOND, name), &[(&format!("/{name}"), "missing")]);
}

#[rstest]
#[case("app_id", r#""""#, "length")]
#[case("app_id", "null", "null")]
#[case("app_id", "7", "wrong_type")]
#[case("connection_status", r#""established""#, "unknown_value")]
#[case("connection_status", r#""Connected""#, "unknown_value")]
#[case("connection_status", r#""""#, "unknown_value")]
#[case("connection_status", r#""con\u0000""#, "unknown_value")]
#[case("connection_status", "null", "null")]
#[case("connection_status", "true", "wrong_type")]
#[case("connection_type", r#""""#, "length")]
#[case("connection_type", r#""wi\u0000fi""#, "nul_character")]
#[case("connection_type", "null", "null")]
#[case("connection_type", "[]", "wrong_type")]
#[case("signal_strength", r#""-45""#, "wrong_type")]
#[case("data_transferred", "true", "wrong_type")]
#[case("data_transferred", "9007199254740992", "not_i_json")]
fn a_bad_value_in_a_first_edition_event_is_reported_under_its_name(
    #[case] name: &str,
    #[case] value: &str,
    #[case] code: &str,
) {
    assert_faults(&first(&[(name, value)]), &[(&format!("/{name}"), code)]);
}

#[test]
fn a_kind_of_network_has_at_most_255_characters() {
    let longest = crate::text_of('ü', 255);
    let fields = fields(&first(&[("connection_type", &longest)]));
    assert!(fields.metadata.contains(&longest));
    let longer = crate::text_of('ü', 256);
    let json = first(&[("connection_type", &longer)]);
    assert_faults(&json, &[("/connection_type", "length")]);
}

#[test]
fn a_first_edition_measurement_may_be_null() {
    let fields = fields(&first(&[("signal_strength", "null")]));
    assert!(fields.metadata.contains(r#""signal_strength":null"#));
}

#[test]
fn names_that_the_client_s_metadata_has_win_over_the_first_edition_s_additions() {
    let metadata = r#"{"network_type": "5g", "connection_status": 1, "signal_strength": 2}"#;
    let fields = fields(&first(&[("metadata", metadata), ("signal_strength", "-45")]));
    assert_eq!(
        fields.metadata,
        r#"{"connection_status":1,"network_type":"5g","signal_strength":2}"#,
    );
}
