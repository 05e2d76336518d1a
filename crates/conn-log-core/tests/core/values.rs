//! The contract's table of rules: events with the right shape, and valid or invalid values.

use conn_log_core::{CONNECTION_TYPES, EventPolicy, STATUSES};
use rstest::rstest;

use crate::{assert_faults, draft, fields, now, second, text_of};

#[rstest]
#[case("device_id", 255)]
#[case("application_id", 255)]
#[case("user_agent", 1024)]
#[case("session_id", 255)]
#[case("event_id", 64)]
fn a_text_has_characters_up_to_its_limit_and_no_more(
    #[case] name: &str,
    #[case] max: usize,
    #[values('a', 'é', '界', '🦀')] c: char,
) {
    assert_faults(&second(&[(name, &text_of(c, max))]), &[]);
    assert_faults(&second(&[(name, &text_of(c, max + 1))]), &[(&format!("/{name}"), "length")]);
}

#[rstest]
#[case("device_id", "length")]
#[case("application_id", "length")]
#[case("connection_type", "unknown_value")]
#[case("timestamp", "invalid_timestamp")]
#[case("status", "unknown_value")]
#[case("ip_address", "invalid_address")]
#[case("session_id", "length")]
#[case("event_id", "length")]
fn an_empty_text_is_refused(#[case] name: &str, #[case] code: &str) {
    assert_faults(&second(&[(name, r#""""#)]), &[(&format!("/{name}"), code)]);
}

#[test]
fn a_user_agent_may_be_empty() {
    let fields = fields(&second(&[("user_agent", r#""""#)]));
    assert_eq!(fields.user_agent.as_deref(), Some(""));
}

#[rstest]
fn a_name_has_no_control_characters(
    #[values("device_id", "application_id")] name: &str,
    #[values(r"a\u0000b", r"a\tb", r"a\nb", r"a\u001fb", r"a\u007fb", r"a\u0085b", "a\u{9f}b")]
    text: &str,
) {
    assert_faults(
        &second(&[(name, &format!("\"{text}\""))]),
        &[(&format!("/{name}"), "control_character")],
    );
}

#[rstest]
fn a_name_has_no_white_space_around_it(
    #[values("device_id", "application_id")] name: &str,
    #[values(" a", "a ", "\u{a0}a", "a\u{2003}", " ")] text: &str,
) {
    assert_faults(
        &second(&[(name, &format!("\"{text}\""))]),
        &[(&format!("/{name}"), "surrounding_space")],
    );
}

#[test]
fn a_name_may_have_white_space_within() {
    assert_eq!(fields(&second(&[("device_id", r#""a b""#)])).device_id, "a b");
}

#[test]
fn a_name_tells_all_that_is_wrong_with_it() {
    let text = format!("\" {}\\n\"", "a".repeat(255));
    assert_faults(
        &second(&[("device_id", &text)]),
        &[
            ("/device_id", "length"),
            ("/device_id", "control_character"),
            ("/device_id", "surrounding_space"),
        ],
    );
}

#[rstest]
#[case("device_id", "control_character")]
#[case("application_id", "control_character")]
#[case("connection_type", "unknown_value")]
#[case("timestamp", "invalid_timestamp")]
#[case("status", "unknown_value")]
#[case("ip_address", "invalid_address")]
#[case("user_agent", "nul_character")]
#[case("session_id", "nul_character")]
#[case("event_id", "nul_character")]
#[case("zone", "nul_character")]
fn no_text_holds_u_0000(#[case] name: &str, #[case] code: &str) {
    assert_faults(&second(&[(name, r#""a\u0000""#)]), &[(&format!("/{name}"), code)]);
}

#[rstest]
fn a_lone_surrogate_in_a_field_is_a_fault_of_value(
    #[values(
        "device_id",
        "application_id",
        "connection_type",
        "timestamp",
        "status",
        "ip_address",
        "user_agent",
        "session_id",
        "event_id",
        "zone"
    )]
    name: &str,
    #[values(r#""\ud800""#, r#""a\udc00b""#, r#""\ud800\ud800""#, r#""\ud83d\u0041""#)] value: &str,
) {
    assert_faults(&second(&[(name, value)]), &[(&format!("/{name}"), "not_i_json")]);
}

#[test]
fn a_pair_of_surrogates_is_one_character() {
    let fields = fields(&second(&[("device_id", r#""\ud83e\udd80""#)]));
    assert_eq!(fields.device_id, "🦀");
}

#[test]
fn every_connection_type_and_status_of_the_contract_is_taken() {
    for connection_type in CONNECTION_TYPES {
        for status in STATUSES {
            let fields = fields(&second(&[
                ("connection_type", &format!("\"{connection_type}\"")),
                ("status", &format!("\"{status}\"")),
            ]));
            assert_eq!(fields.connection_type, connection_type);
            assert_eq!(fields.status, status);
        }
    }
}

#[rstest]
#[case("connection_type", "connected")]
#[case("connection_type", "Established")]
#[case("connection_type", "established ")]
#[case("connection_type", "wifi")]
#[case("status", "ok")]
#[case("status", "SUCCESS")]
#[case("status", "Failed")]
fn another_name_is_refused(#[case] name: &str, #[case] value: &str) {
    assert_faults(
        &second(&[(name, &format!("\"{value}\""))]),
        &[(&format!("/{name}"), "unknown_value")],
    );
}

#[test]
fn a_deployment_adds_names_of_its_own() {
    let policy = EventPolicy::default().with_connection_type("roamed").with_status("throttled");
    let json = second(&[("connection_type", r#""roamed""#), ("status", r#""throttled""#)]);
    let fields = policy.check(draft(&json), now()).unwrap().into_fields();
    assert_eq!(fields.connection_type, "roamed");
    assert_eq!(fields.status, "throttled");
    assert!(policy.check(draft(&second(&[])), now()).is_ok());
}

#[rstest]
#[case::utc("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z")]
#[case::lower_case("2024-01-15t10:30:00z", "2024-01-15T10:30:00Z")]
#[case::offset("2024-01-15T12:30:00+02:00", "2024-01-15T10:30:00Z")]
#[case::unknown_offset("2024-01-15T10:30:00-00:00", "2024-01-15T10:30:00Z")]
#[case::over_midnight("2024-01-14T20:00:00-10:00", "2024-01-15T06:00:00Z")]
#[case::one_digit("2024-01-15T10:30:00.5Z", "2024-01-15T10:30:00.500Z")]
#[case::microseconds("2024-01-15T10:30:00.000001Z", "2024-01-15T10:30:00.000001Z")]
#[case::finer_digits_are_cut("2024-01-15T10:30:00.1234567899Z", "2024-01-15T10:30:00.123456Z")]
#[case::a_leap_second("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z")]
#[case::a_leap_day("2020-02-29T00:00:00Z", "2020-02-29T00:00:00Z")]
#[case::the_first_instant("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z")]
#[case::the_first_instant_elsewhere("1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00Z")]
#[case::five_minutes_ahead("2024-01-15T10:36:00Z", "2024-01-15T10:36:00Z")]
fn a_timestamp_is_kept_as_utc(#[case] given: &str, #[case] kept: &str) {
    let fields = fields(&second(&[("timestamp", &format!("\"{given}\""))]));
    assert_eq!(fields.timestamp.to_string(), kept);
}

#[rstest]
#[case::no_offset("2024-01-15T10:30:00", "invalid_timestamp")]
#[case::a_date("2024-01-15", "invalid_timestamp")]
#[case::no_seconds("2024-01-15T10:30Z", "invalid_timestamp")]
#[case::seconds_since_1970("1705314600", "invalid_timestamp")]
#[case::no_such_day("2023-02-29T00:00:00Z", "invalid_timestamp")]
#[case::hour_24("2024-01-15T24:00:00Z", "invalid_timestamp")]
#[case::minute_60("2024-01-15T10:60:00Z", "invalid_timestamp")]
#[case::second_61("2024-01-15T10:30:61Z", "invalid_timestamp")]
#[case::space_around(" 2024-01-15T10:30:00Z", "invalid_timestamp")]
#[case::text_after("2024-01-15T10:30:00Z, about", "invalid_timestamp")]
#[case::a_short_offset("2024-01-15T10:30:00+0200", "invalid_timestamp")]
#[case::an_offset_of_a_day("2024-01-15T10:30:00+24:00", "invalid_timestamp")]
#[case::a_comma("2024-01-15T10:30:00,5Z", "invalid_timestamp")]
#[case::an_empty_fraction("2024-01-15T10:30:00.Z", "invalid_timestamp")]
#[case::five_digits_of_year("12024-01-15T10:30:00Z", "invalid_timestamp")]
#[case::a_signed_year("+2024-01-15T10:30:00Z", "invalid_timestamp")]
#[case::other_digits("２０２４-01-15T10:30:00Z", "invalid_timestamp")]
#[case::ahead_by_a_microsecond("2024-01-15T10:36:00.000001Z", "in_the_future")]
#[case::far_ahead("9999-12-31T23:59:59-23:59", "in_the_future")]
#[case::just_before_1970("1969-12-31T23:59:59.999999Z", "before_1970")]
#[case::just_before_1970_elsewhere("1970-01-01T00:59:59+01:00", "before_1970")]
#[case::year_0("0000-01-01T00:00:00Z", "before_1970")]
fn a_timestamp_outside_the_rule_is_refused(#[case] given: &str, #[case] code: &str) {
    assert_faults(&second(&[("timestamp", &format!("\"{given}\""))]), &[("/timestamp", code)]);
}

#[rstest]
#[case("192.168.1.100", "192.168.1.100")]
#[case("0.0.0.0", "0.0.0.0")]
#[case("2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1")]
#[case("::", "::")]
#[case::mapped("::ffff:192.0.2.1", "192.0.2.1")]
#[case::mapped_in_groups("0:0:0:0:0:FFFF:c000:201", "192.0.2.1")]
#[case::compatible("::192.0.2.1", "::c000:201")]
#[case::translated("64:ff9b::192.0.2.1", "64:ff9b::c000:201")]
#[case("2001:db8::0:1:0:0:1", "2001:db8::1:0:0:1")]
fn an_address_is_kept_in_its_canonical_form(#[case] given: &str, #[case] kept: &str) {
    let fields = fields(&second(&[("ip_address", &format!("\"{given}\""))]));
    assert_eq!(fields.ip_address.map(|a| a.to_string()).as_deref(), Some(kept));
}

#[rstest]
fn texts_that_are_no_address_are_refused(
    #[values(
        "192.168.1",
        "192.168.1.256",
        "192.168.01.1",
        "192.168.1.1/24",
        "192.168.1.1:80",
        " 192.168.1.1",
        "[::1]",
        "fe80::1%eth0",
        "1::2::3",
        "12345::",
        "localhost"
    )]
    text: &str,
) {
    assert_faults(
        &second(&[("ip_address", &format!("\"{text}\""))]),
        &[("/ip_address", "invalid_address")],
    );
}

#[rstest]
#[case("0", 0.0)]
#[case("-0", 0.0)]
#[case("-0.0", 0.0)]
#[case("3600", 3600.0)]
#[case("1.5", 1.5)]
#[case("1e3", 1000.0)]
#[case("0.1", 0.1)]
#[case("31.245270191439438", 31.245_270_191_439_438)]
#[case("5e-324", 5e-324)]
#[case("1e-400", 0.0)]
#[case("1.7976931348623157e308", f64::MAX)]
fn a_duration_is_a_finite_number_from_0_on(#[case] given: &str, #[case] kept: f64) {
    let duration = fields(&second(&[("duration", given)])).duration.unwrap();
    assert_eq!(duration.to_bits(), kept.to_bits());
}

#[rstest]
fn a_duration_outside_the_rule_is_refused(
    #[values("-1", "-5e-324", "1e309", "1e400", "-1e400")] value: &str,
) {
    assert_faults(&second(&[("duration", value)]), &[("/duration", "out_of_range")]);
}
