//! The shapes of a JSON body, before any check of the rules.

use conn_log_core::{BodyError, FaultKind, Faults, JsonBody, utf8};
use rstest::rstest;

use crate::{list, second};

fn body_faults(bytes: &[u8]) -> Faults {
    match JsonBody::read(bytes, 10) {
        Err(BodyError::Faults(faults)) => faults,
        other => panic!("no faults: {other:?}"),
    }
}

#[rstest]
#[case::nothing("", "", "empty")]
#[case::white_space(" \r\n\t", "", "empty")]
#[case::words("hello", "", "invalid_json")]
#[case::torn("{\"data\": \"", "", "invalid_json")]
#[case::a_torn_array("[{}, ", "", "invalid_json")]
#[case::more_than_an_array("[] []", "", "invalid_json")]
#[case::a_text("\"{}\"", "", "not_an_object")]
#[case::null("null", "", "not_an_object")]
#[case::another_white_space("\u{a0}{}", "", "invalid_json")]
#[case::an_envelope_around_an_object("{\"data\": {}}", "/data", "wrong_type")]
#[case::an_envelope_around_nothing("{\"data\": null}", "/data", "wrong_type")]
#[case::an_envelope_around_a_number("{\"data\": 7}", "/data", "wrong_type")]
#[case::an_envelope_with_a_lone_surrogate("{\"data\": \"\\ud800\"}", "/data", "not_i_json")]
fn a_body_of_another_shape_is_refused(
    #[case] body: &str,
    #[case] pointer: &str,
    #[case] code: &'static str,
) {
    assert_eq!(list(&body_faults(body.as_bytes())), [(pointer.to_owned(), code)]);
}

#[test]
fn a_body_that_is_not_utf_8_says_where() {
    let faults = body_faults(b"{\"device_id\": \"\xff\"}");
    assert_eq!(list(&faults), [(String::new(), "invalid_json")]);
    assert_eq!(faults.kind(), FaultKind::Shape);
    assert!(faults.to_string().contains("byte 15"), "{faults}");
    assert_eq!(utf8(b"\xc3"), Err(body_faults(b"\xc3")));
    assert_eq!(utf8("é".as_bytes()), Ok("é"));
}

#[test]
fn a_text_data_without_a_field_of_an_event_makes_an_envelope() {
    for body in [r#"{"data": "{}"}"#, r#"{"v": 1, "data": "{}", "more": {"data": 7}}"#] {
        let JsonBody::Envelope(text) = JsonBody::read(body.as_bytes(), 10).unwrap() else {
            panic!("not an envelope: {body}");
        };
        assert_eq!(text, "{}");
    }
}

#[test]
fn another_object_is_an_event() {
    for body in [
        "{}".to_owned(),
        second(&[("data", r#""{}""#)]),
        r#"{"data": 7, "more": 1}"#.to_owned(),
        r#"{"data": "{}", "app_id": "a"}"#.to_owned(),
        r#"{"data": "{}", "data": "{}"}"#.to_owned(),
        r#"{"data": "{}", "status": null}"#.to_owned(),
    ] {
        let read = JsonBody::read(body.as_bytes(), 10);
        assert!(matches!(read, Ok(JsonBody::Event(_))), "{body}");
    }
}

#[test]
fn an_array_is_given_element_by_element_unread() {
    let JsonBody::Events(events) = JsonBody::read(b" [ {} , 7,\"x\", [ ] ]", 10).unwrap() else {
        panic!("not an array");
    };
    let texts: Vec<_> = events.iter().map(|raw| raw.get()).collect();
    assert_eq!(texts, ["{}", "7", "\"x\"", "[ ]"]);
}

#[rstest]
#[case(0, "[]", true)]
#[case(0, "[1]", false)]
#[case(2, "[1,2]", true)]
#[case(2, "[1,2,3]", false)]
fn an_array_has_events_up_to_the_limit_and_no_more(
    #[case] events_max: usize,
    #[case] body: &str,
    #[case] taken: bool,
) {
    let read = JsonBody::read(body.as_bytes(), events_max);
    assert_eq!(read.is_ok(), taken);
    if !taken {
        assert!(matches!(read, Err(BodyError::TooManyEvents)));
    }
}
