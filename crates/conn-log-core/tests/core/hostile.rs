//! Hostile input: it is refused, and at a low cost.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use conn_log_core::{BodyError, FaultKind, JsonBody};
use rstest::rstest;

use crate::{assert_faults, check, faults, list, second};

/// Much more time than any of these tests takes, and much less than quadratic work would take.
const LONG: Duration = Duration::from_secs(20);

/// 512, and the mark for a cut text.
const POINTER_BYTES_MAX: usize = 512 + '…'.len_utf8();

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

/// Members `"k0": <value>, "k1": <value>, …`.
fn members(count: usize, value: &str) -> String {
    let mut members = String::with_capacity(count * (value.len() + 12));
    for i in 0..count {
        let _ = write!(members, "\"k{i}\":{value},");
    }
    members
}

/// A second-edition event with `members` before its own members.
fn with_members(members: &str) -> String {
    second(&[]).replacen('{', &format!("{{{members}"), 1)
}

#[test]
fn ten_thousand_nested_arrays_are_one_fault() {
    let arrays = nested("[", "]", 10_000);
    assert_faults(&arrays, &[("", "not_an_object")]);
    assert_faults(&second(&[("zone", &arrays)]), &[("/zone/0/0/0/0/0/0/0", "too_deep")]);
    let metadata = format!("{{\"a\": {arrays}}}");
    assert_faults(
        &second(&[("metadata", &metadata)]),
        &[("/metadata/a/0/0/0/0/0/0/0", "too_deep")],
    );
    assert_faults(&second(&[("device_id", &arrays)]), &[("/device_id", "wrong_type")]);
}

#[test]
fn a_million_nested_arrays_and_objects_are_refused_without_a_deep_stack() {
    let arrays = nested("[", "]", 1_000_000);
    assert!(matches!(
        JsonBody::read(arrays.as_bytes(), 10),
        Ok(JsonBody::Events(elements)) if elements.len() == 1
    ));
    let torn = "[".repeat(1_000_000);
    assert!(matches!(JsonBody::read(torn.as_bytes(), 10), Err(BodyError::Faults(_))));
    let objects = nested(r#"{"a":"#, "}", 1_000_000).replacen('}', "1}", 1);
    let JsonBody::Event(event) = JsonBody::read(objects.as_bytes(), 10).unwrap() else {
        panic!("not an event");
    };
    let faults = conn_log_core::EventPolicy::default().check(event, crate::now());
    assert!(list(&faults.unwrap_err()).contains(&("/a".to_owned(), "too_large")));
}

#[test]
fn a_name_of_a_mebibyte_is_refused_with_a_short_pointer() {
    let name = "n".repeat(1 << 20);
    for json in [second(&[(&name, "1")]), second(&[("metadata", &format!("{{\"{name}\": 1}}"))])] {
        assert_faults(&json, &[("/metadata", "too_large")]);
    }
    let json = second(&[(&name, r#""\u0000""#)]);
    let faults = faults(&json);
    assert!(!faults.is_empty());
    assert!(faults.iter().all(|fault| fault.0.len() <= POINTER_BYTES_MAX));
}

#[test]
fn a_text_of_a_mebibyte_is_refused() {
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    assert_faults(&second(&[("zone", &text)]), &[("/zone", "too_large")]);
    assert_faults(&second(&[("user_agent", &text)]), &[("/user_agent", "length")]);
}

#[rstest]
#[case::plain("1", "too_large")]
#[case::each_with_a_fault(r#""\u0000""#, "nul_character")]
#[case::each_with_a_surrogate(r#""\ud800""#, "not_i_json")]
fn a_million_unknown_fields_are_refused_fast(#[case] value: &str, #[case] code: &str) {
    let json = with_members(&members(1_000_000, value));
    let start = Instant::now();
    let faults = faults(&json);
    assert!(start.elapsed() < LONG, "took {:?}", start.elapsed());
    assert!(faults.len() <= 32, "{} faults", faults.len());
    assert!(faults.iter().any(|fault| fault.1 == code), "{faults:?}");
}

#[rstest]
#[case::a_field(r#""status":1,"#, "/status")]
#[case::an_unknown_field(r#""zone":1,"#, "/zone")]
fn a_million_repeats_of_one_name_are_few_faults(#[case] member: &str, #[case] pointer: &str) {
    let json = with_members(&member.repeat(1_000_000));
    let start = Instant::now();
    let faults = faults(&json);
    assert!(start.elapsed() < LONG, "took {:?}", start.elapsed());
    assert!(faults.len() <= 32, "{} faults", faults.len());
    assert!(faults.contains(&(pointer.to_owned(), "duplicate_key")));
}

#[test]
fn many_faults_under_one_long_name_are_few_and_short() {
    let name = "n".repeat(60_000);
    let texts = vec![r#""\u0000""#; 7_000].join(",");
    let json = second(&[("metadata", &format!("{{\"{name}\": [{texts}]}}"))]);
    let start = Instant::now();
    let faults = faults(&json);
    assert!(start.elapsed() < LONG, "took {:?}", start.elapsed());
    assert!((1..=32).contains(&faults.len()));
    assert!(faults.iter().all(|fault| fault.0.len() <= POINTER_BYTES_MAX));
}

#[test]
fn many_faults_of_value_do_not_hide_that_the_shape_is_wrong() {
    let texts = vec![r#""\u0000""#; 100].join(",");
    let json = format!(r#"{{"a": [{texts}], "b": 1, "b": 2}}"#);
    let faults = check(&second(&[("metadata", &json)])).unwrap_err();
    assert_eq!(faults.as_slice().len(), 32);
    assert_eq!(faults.kind(), FaultKind::Shape);
}
