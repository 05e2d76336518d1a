//! Metadata: its bounds, I-JSON, the members that move into it, and its session id.

use conn_log_core::EventPolicy;
use rstest::rstest;

use crate::{assert_faults, draft, fields, now, second, text_of};

fn metadata(json: &str) -> String {
    fields(&second(&[("metadata", json)])).metadata
}

/// `levels` nested arrays.
fn arrays(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// `levels` nested objects.
fn objects(levels: usize) -> String {
    format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1))
}

#[rstest]
#[case::empty("{}", "{}")]
#[case::sorted_by_name(r#"{ "b": 1, "a": [ true, null ] }"#, r#"{"a":[true,null],"b":1}"#)]
#[case::sorted_by_utf_16(
    "{\"\u{fb33}\": 1, \"\u{1f600}\": 2, \"z\": 3}",
    "{\"z\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}"
)]
#[case::escapes_undone(r#"{"a": "\u00e9\/\u0022\n\u001F"}"#, r#"{"a":"é/\"\n\u001f"}"#)]
#[case::numbers(
    r#"{"a": 1.0, "b": 1e2, "c": -0, "d": 0.10, "e": -0.0, "f": 1e-7, "g": 4.50}"#,
    r#"{"a":1,"b":100,"c":0,"d":0.1,"e":0,"f":1e-7,"g":4.5}"#
)]
#[case::a_number_that_a_hasty_reader_rounds(
    r#"{"a": 31.245270191439438, "b": 2.638344616030823e-256}"#,
    r#"{"a":31.245270191439438,"b":2.638344616030823e-256}"#
)]
fn metadata_is_kept_as_canonical_json(#[case] given: &str, #[case] kept: &str) {
    assert_eq!(metadata(given), kept);
}

#[rstest]
#[case("9007199254740991", true)]
#[case("-9007199254740991", true)]
#[case("9007199254740992", false)]
#[case("-9007199254740992", false)]
#[case("9007199254740992.0", false)]
#[case("18446744073709551615", false)]
#[case("-9223372036854775809", false)]
#[case("123456789012345678901234567890", false)]
#[case("1e400", false)]
#[case("-1e400", false)]
#[case("1e-400", true)]
fn an_integer_outside_2_to_the_53_is_refused(#[case] number: &str, #[case] taken: bool) {
    let fault = [("/metadata/a/0", "not_i_json")];
    assert_faults(
        &second(&[("metadata", &format!("{{\"a\": [{number}]}}"))]),
        if taken { &[] } else { &fault },
    );
}

#[rstest]
#[case::a_value(r#"{"a": "\ud800"}"#, "/metadata/a")]
#[case::deeper(r#"{"a": [1, {"b": "\udfff"}]}"#, "/metadata/a/1/b")]
#[case::under_a_sensitive_name(r#"{"token": "\udfff"}"#, "/metadata/token")]
#[case::a_name(r#"{"a": 1, "\ud800": 1}"#, r"/metadata/\ud800")]
#[case::a_name_deeper(r#"{"a": {"b\ud800": 1}}"#, r"/metadata/a/b\ud800")]
fn a_lone_surrogate_is_a_fault_of_value(#[case] json: &str, #[case] pointer: &str) {
    assert_faults(&second(&[("metadata", json)]), &[(pointer, "not_i_json")]);
}

#[test]
fn an_unknown_field_s_name_with_a_lone_surrogate_is_a_fault_of_value() {
    let json = second(&[(r"\ud800", "1")]);
    assert_faults(&json, &[(r"/\ud800", "not_i_json")]);
}

#[test]
fn a_fault_of_i_json_does_not_hide_the_other_faults() {
    let json = r#"{"a": "\ud800", "b": 1e400, "c": {"d": 1, "d": 1}, "e": ["\u0000"], "\udc00": 1,
        "f": [[[[[[[[]]]]]]]]}"#;
    assert_faults(
        &second(&[("metadata", json)]),
        &[
            ("/metadata/a", "not_i_json"),
            ("/metadata/b", "not_i_json"),
            ("/metadata/c/d", "duplicate_key"),
            ("/metadata/e/0", "nul_character"),
            (r"/metadata/\udc00", "not_i_json"),
            ("/metadata/f/0/0/0/0/0/0/0", "too_deep"),
        ],
    );
}

#[rstest]
#[case::a_value(r#"{"a": ["x\u0000"]}"#, "/metadata/a/0")]
#[case::a_name(r#"{"a": {"\u0000": 1}}"#, "/metadata/a/\0")]
fn no_text_in_metadata_holds_u_0000(#[case] json: &str, #[case] pointer: &str) {
    assert_faults(&second(&[("metadata", json)]), &[(pointer, "nul_character")]);
}

#[test]
fn no_unknown_field_s_name_holds_u_0000() {
    assert_faults(&second(&[(r"a\u0000", "1")]), &[("/a\0", "nul_character")]);
}

#[test]
fn metadata_has_8_levels_and_no_more() {
    assert_faults(&second(&[("metadata", &objects(8))]), &[]);
    assert_faults(
        &second(&[("metadata", &objects(9))]),
        &[("/metadata/a/a/a/a/a/a/a/a", "too_deep")],
    );
    let object = format!("{{\"a\": {}}}", arrays(7));
    assert_faults(&second(&[("metadata", &object)]), &[]);
    let object = format!("{{\"a\": {}}}", arrays(8));
    assert_faults(&second(&[("metadata", &object)]), &[("/metadata/a/0/0/0/0/0/0/0", "too_deep")]);
}

#[test]
fn an_unknown_field_counts_the_level_of_the_metadata_that_it_moves_into() {
    assert_faults(&second(&[("zone", &arrays(7))]), &[]);
    assert_faults(&second(&[("zone", &arrays(8))]), &[("/zone/0/0/0/0/0/0/0", "too_deep")]);
}

/// Metadata whose canonical text has this many bytes.
fn metadata_of(bytes: usize) -> String {
    format!("{{\"a\":{}}}", text_of('x', bytes - r#"{"a":""}"#.len()))
}

#[test]
fn metadata_has_16_kib_and_no_more() {
    let largest = metadata_of(16 * 1024);
    assert_eq!(metadata(&largest), largest);
    assert_faults(
        &second(&[("metadata", &metadata_of(16 * 1024 + 1))]),
        &[("/metadata", "too_large")],
    );
}

#[test]
fn metadata_is_measured_in_bytes() {
    // Three bytes each, and eight around them: 16,382 of the 16,384.
    let json = format!("{{\"a\":{}}}", text_of('界', 5458));
    assert_eq!(metadata(&json), json);
    let json = format!("{{\"a\":{}}}", text_of('界', 5459));
    assert_faults(&second(&[("metadata", &json)]), &[("/metadata", "too_large")]);
}

#[test]
fn metadata_is_measured_in_its_canonical_form() {
    let spaced = metadata_of(16 * 1024).replace(':', &" ".repeat(1000).replacen(' ', ":", 1));
    assert_eq!(metadata(&spaced).len(), 16 * 1024);
    let escaped = format!("{{\"a\": \"{}\"}}", r"\u0061".repeat(16 * 1024 - 8));
    assert_eq!(metadata(&escaped).len(), 16 * 1024);
}

#[test]
fn unknown_fields_count_into_the_metadata_s_size() {
    let half = text_of('x', 8 * 1024);
    let object = format!("{{\"a\": {half}}}");
    assert_faults(
        &second(&[("metadata", &object), ("zone", &half)]),
        &[("/metadata", "too_large")],
    );
}

#[test]
fn an_unknown_field_moves_into_the_metadata() {
    let json = second(&[
        ("metadata", r#"{"b": 2}"#),
        ("a", r#"{"deep": [1.0]}"#),
        ("c", "null"),
        ("id", "7"),
        (r"z\u00e9", "true"),
    ]);
    assert_eq!(fields(&json).metadata, r#"{"a":{"deep":[1]},"b":2,"c":null,"id":7,"zé":true}"#);
}

#[rstest]
#[case::metadata_first(&[("metadata", r#"{"a": 1}"#), ("a", "2")])]
#[case::metadata_last(&[("a", "2"), ("metadata", r#"{"a": 1}"#)])]
fn a_name_that_the_metadata_has_wins_over_an_unknown_field(#[case] members: &[(&str, &str)]) {
    assert_eq!(fields(&second(members)).metadata, r#"{"a":1}"#);
}

#[test]
fn unknown_fields_move_into_metadata_that_is_not_given() {
    assert_eq!(fields(&second(&[("a", "1")])).metadata, r#"{"a":1}"#);
    assert_eq!(fields(&second(&[("metadata", "null"), ("a", "1")])).metadata, r#"{"a":1}"#);
}

#[rstest]
#[case::the_field(&[("session_id", r#""f""#)], Some("f"))]
#[case::the_metadata(&[("metadata", r#"{"session_id": "m"}"#)], Some("m"))]
#[case::the_field_wins(
    &[("session_id", r#""f""#), ("metadata", r#"{"session_id": "m"}"#)],
    Some("f")
)]
#[case::a_null_field_does_not(
    &[("session_id", "null"), ("metadata", r#"{"session_id": "m"}"#)],
    Some("m")
)]
#[case::a_number_is_none(&[("metadata", r#"{"session_id": 7}"#)], None)]
#[case::an_empty_text_is_none(&[("metadata", r#"{"session_id": ""}"#)], None)]
#[case::deeper_is_none(&[("metadata", r#"{"a": {"session_id": "m"}}"#)], None)]
#[case::nowhere(&[], None)]
fn a_session_s_id_is_read_from_the_field_or_the_metadata(
    #[case] members: &[(&str, &str)],
    #[case] session_id: Option<&str>,
) {
    assert_eq!(fields(&second(members)).session_id.as_deref(), session_id);
}

#[test]
fn a_session_s_id_in_metadata_has_at_most_255_characters() {
    for (count, taken) in [(255, true), (256, false)] {
        let json = format!("{{\"session_id\": {}}}", text_of('é', count));
        let fields = fields(&second(&[("metadata", &json)]));
        assert_eq!(fields.session_id.is_some(), taken);
    }
}

#[test]
fn a_redacted_session_s_id_is_none() {
    let policy = EventPolicy::default().with_sensitive_key("session_id");
    let json = second(&[("metadata", r#"{"session_id": "m"}"#)]);
    let fields = policy.check(draft(&json), now()).unwrap().into_fields();
    assert_eq!(fields.session_id, None);
    assert_eq!(fields.metadata, r#"{"session_id":"[REDACTED]"}"#);
}
