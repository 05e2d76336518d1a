//! Filters from a query string, from JSON and back.

use conn_log_core::{
    EventFilter, FilterError, FilterErrorCode, MetadataFilter, MetadataPath, Timestamp,
};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
    query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_query(query: &[(&str, &str)]) -> Result<EventFilter, FilterError> {
    EventFilter::from_query(&mut pairs(query))
}

/// The name and the code of a filter's error.
fn refusal(filter: Result<EventFilter, FilterError>) -> (String, &'static str) {
    let error = filter.unwrap_err();
    (error.parameter, error.code.as_str())
}

/// One filter of each name.
const QUERY: [(&str, &str); 12] = [
    ("device_id", "dev_1"),
    ("device_id", "dev_2"),
    ("application_id", "app_1"),
    ("connection_type", "established"),
    ("status", "failed"),
    ("ip_address", "10.1.2.3/16"),
    ("session_id", "s-1"),
    ("since", "2024-01-15T12:30:00+02:00"),
    ("until", "2024-01-16T00:00:00Z"),
    ("min_duration", "0.5"),
    ("max_duration", "3600"),
    (r"metadata.id\.orig_h.port", "443"),
];

#[test]
fn a_query_string_and_json_are_read_as_the_same_filter() {
    let json = json!({
        "device_id": ["dev_1", "dev_2"],
        "application_id": "app_1",
        "connection_type": ["established"],
        "status": "failed",
        "ip_address": "10.1.0.0/16",
        "session_id": "s-1",
        "since": "2024-01-15T10:30:00Z",
        "until": "2024-01-16T00:00:00Z",
        "min_duration": 0.5,
        "max_duration": 3600,
        r"metadata.id\.orig_h.port": 443,
    });
    let filter = from_query(&QUERY).unwrap();
    assert_eq!(EventFilter::from_json(&json), Ok(filter.clone()));
    assert_eq!(filter.statuses, ["failure"]);
    assert_eq!(filter.ip_network, "10.1.0.0/16".parse().ok());
    assert_eq!(filter.since, Timestamp::parse("2024-01-15T10:30:00Z"));
    assert_eq!(filter.metadata[0].path.names(), ["id.orig_h", "port"]);
}

#[test]
fn an_absent_filter_lets_everything_pass() {
    assert_eq!(from_query(&[]), Ok(EventFilter::default()));
    assert_eq!(EventFilter::from_json(&json!({})), Ok(EventFilter::default()));
    assert_eq!(EventFilter::default().to_json(), json!({}));
}

#[test]
fn parameters_that_are_no_filters_are_left_in_their_order() {
    let mut given = pairs(&[("limit", "5"), ("status", "error"), ("order", "id"), ("limit", "6")]);
    EventFilter::from_query(&mut given).unwrap();
    assert_eq!(given, pairs(&[("limit", "5"), ("order", "id"), ("limit", "6")]));
}

#[test]
fn one_repeatable_filter_is_taken_alone() {
    let mut given = pairs(&[("status", "failed"), ("device_id", "d"), ("status", "error")]);
    let statuses = EventFilter::values_from_query(&mut given, "status");
    assert_eq!(statuses, Ok(vec!["failure".to_owned(), "error".to_owned()]));
    assert_eq!(given, pairs(&[("device_id", "d")]));
}

#[rstest]
#[case::an_address("::ffff:203.0.113.7", "203.0.113.7/32")]
#[case::the_same_in_groups("::FFFF:cb00:7107", "203.0.113.7/32")]
#[case::a_block("::ffff:203.0.113.0/120", "203.0.113.0/24")]
#[case::a_block_with_bits_left("::ffff:203.0.113.7/120", "203.0.113.0/24")]
#[case::a_block_of_one("::ffff:203.0.113.7/128", "203.0.113.7/32")]
#[case::all_of_them("::ffff:0:0/96", "0.0.0.0/0")]
#[case::a_larger_block("::ffff:203.0.113.7/95", "::fffe:0:0/95")]
#[case::an_ipv6_address("2001:db8::1", "2001:db8::1/128")]
#[case::an_ipv6_block("2001:db8::1/120", "2001:db8::/120")]
#[case::an_ipv4_compatible_address("::203.0.113.7", "::203.0.113.7/128")]
fn an_ipv4_mapped_address_or_block_is_the_ipv4_one(#[case] given: &str, #[case] expected: &str) {
    let expected: Option<IpNet> = expected.parse().ok();
    assert_eq!(from_query(&[("ip_address", given)]).unwrap().ip_network, expected);
    let json = EventFilter::from_json(&json!({"ip_address": given})).unwrap();
    assert_eq!(json.ip_network, expected);
    assert_eq!(EventFilter::from_json(&json.to_json()), Ok(json));
}

#[rstest]
#[case::no_network("ip_address", "10.0.0.0/40", "invalid_value")]
#[case::no_time("since", "yesterday", "invalid_value")]
#[case::no_offset("until", "2024-01-15T10:30:00", "invalid_value")]
#[case::a_negative_duration("min_duration", "-1", "invalid_value")]
#[case::no_finite_duration("max_duration", "inf", "invalid_value")]
#[case::no_duration("max_duration", "NaN", "invalid_value")]
#[case::u_0000("device_id", "a\0", "invalid_value")]
fn a_value_that_a_filter_does_not_take_is_refused_by_its_name(
    #[case] name: &str,
    #[case] value: &str,
    #[case] code: &'static str,
) {
    assert_eq!(refusal(from_query(&[(name, value)])), (name.to_owned(), code));
}

#[rstest]
#[case::no_name("metadata.", "x")]
#[case::an_empty_name("metadata.a..b", "x")]
#[case::u_0000_in_a_name("metadata.a\0", "x")]
#[case::u_0000("metadata.a", "\0")]
fn a_filter_on_metadata_has_a_path_and_a_value(#[case] name: &str, #[case] value: &str) {
    let expected = ("metadata".to_owned(), "invalid_value");
    assert_eq!(refusal(from_query(&[(name, value)])), expected);
    assert_eq!(refusal(EventFilter::from_json(&json!({ name: value }))), expected);
}

#[rstest]
fn a_filter_that_takes_one_value_stands_once(
    #[values("ip_address", "session_id", "since", "until", "min_duration", "max_duration")]
    name: &str,
) {
    let error = from_query(&[(name, "1"), (name, "1")]).unwrap_err();
    assert_eq!(error.code, FilterErrorCode::Repeated);
    assert_eq!(error.to_string(), format!("{name}: this parameter stands once at most"));
}

#[rstest]
#[case("device_id", 100, "device_id")]
#[case("metadata.a", 8, "metadata")]
fn a_filter_is_repeated_up_to_its_limit(
    #[case] name: &str,
    #[case] max: usize,
    #[case] told: &str,
) {
    for (count, taken) in [(max, true), (max + 1, false)] {
        let query = vec![(name, "x"); count];
        let json = json!({ name: vec!["x"; count] });
        for read in [from_query(&query), EventFilter::from_json(&json)] {
            assert_eq!(read.is_ok(), taken);
            if !taken {
                assert_eq!(refusal(read), (told.to_owned(), "too_many"));
            }
        }
    }
}

#[rstest]
#[case::no_object(json!([]), "", "wrong_type")]
#[case::a_mistyped_name(json!({"devise_id": "d"}), "devise_id", "unknown")]
#[case::a_number_for_a_text(json!({"device_id": 7}), "device_id", "wrong_type")]
#[case::a_number_among_texts(json!({"status": ["error", 7]}), "status", "wrong_type")]
#[case::null(json!({"session_id": null}), "session_id", "wrong_type")]
#[case::an_array_for_one(json!({"session_id": ["s"]}), "session_id", "wrong_type")]
#[case::a_text_for_a_number(json!({"min_duration": "1"}), "min_duration", "wrong_type")]
#[case::an_object(json!({"metadata.a": {}}), "metadata.a", "wrong_type")]
#[case::metadata_as_an_object(json!({"metadata": {"a": 1}}), "metadata", "unknown")]
#[case::an_array_in_an_array(json!({"metadata.a": [[1]]}), "metadata.a", "wrong_type")]
#[case::none_of_a_list(json!({"device_id": []}), "device_id", "invalid_value")]
#[case::a_bad_value(json!({"since": "yesterday"}), "since", "invalid_value")]
#[case::a_negative_number(json!({"min_duration": -1}), "min_duration", "invalid_value")]
fn json_that_is_no_filter_is_refused_by_name(
    #[case] json: Value,
    #[case] name: &str,
    #[case] code: &'static str,
) {
    assert_eq!(refusal(EventFilter::from_json(&json)), (name.to_owned(), code));
}

#[test]
fn a_scalar_in_json_stands_for_its_canonical_text() {
    let json = json!({"metadata.a": [1.0, true, null, "x"]});
    let filter = EventFilter::from_json(&json).unwrap();
    let values: Vec<_> = filter.metadata.iter().map(|filter| filter.value.as_str()).collect();
    assert_eq!(values, ["1", "null", "true", "x"]);
}

#[test]
fn json_is_written_in_its_shortest_form() {
    let json = json!({"device_id": "d", "status": ["error", "denied"], "ip_address": "10.0.0.1"});
    assert_eq!(EventFilter::from_json(&json).unwrap().to_json(), json);
}

#[rstest]
#[case(r"a.b", &["a", "b"])]
#[case(r"a\.b", &["a.b"])]
#[case(r"a\\.b", &[r"a\", "b"])]
#[case(r"a\b", &[r"a\b"])]
#[case(r"a\", &[r"a\"])]
fn a_dot_within_a_name_follows_a_backslash(#[case] text: &str, #[case] names: &[&str]) {
    assert_eq!(MetadataPath::parse(text).unwrap().names(), names);
}

#[test]
fn a_path_has_as_many_names_as_metadata_has_levels() {
    let of = |names: usize| vec!["a"; names].join(".");
    assert_eq!(MetadataPath::parse(&of(8)).unwrap().names().len(), 8);
    assert_eq!(MetadataPath::parse(&of(9)), None);
    assert_eq!(MetadataPath::new(vec!["a".to_owned(); 9]), None);
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

/// A filter's value: an empty one is refused.
fn value() -> impl Strategy<Value = String> {
    text().prop_map(|text| if text.is_empty() { "empty".to_owned() } else { text })
}

fn values() -> impl Strategy<Value = Vec<String>> {
    vec(value(), 0..4)
}

fn path() -> impl Strategy<Value = MetadataPath> {
    let name = prop_oneof![r"[a.\\]{1,4}", r"\PC{1,8}"];
    vec(name, 1..4).prop_map(|names| MetadataPath::new(names).unwrap())
}

fn network() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<std::net::Ipv4Addr>(), 0..=32_u8)
        .prop_map(|(address, length)| IpNet::new(address.into(), length).unwrap().trunc());
    let v6 = (any::<std::net::Ipv6Addr>(), 0..=128_u8)
        .prop_filter("read as IPv4", |(address, _)| address.to_ipv4_mapped().is_none())
        .prop_map(|(address, length)| IpNet::new(address.into(), length).unwrap().trunc());
    prop_oneof![v4, v6]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.micros()..=Timestamp::MAX.micros()).prop_map(Timestamp::from_micros)
}

fn seconds() -> impl Strategy<Value = f64> {
    any::<f64>().prop_map(f64::abs).prop_filter("finite", |seconds| seconds.is_finite())
}

fn filter() -> impl Strategy<Value = EventFilter> {
    let metadata = vec((path(), text()), 0..6).prop_map(|filters| {
        let filters = filters.into_iter().map(|(path, value)| MetadataFilter { path, value });
        let mut filters: Vec<_> = filters.collect();
        filters.sort();
        filters
    });
    let status = prop_oneof!["[a-eg-z]{1,8}", Just("failure".to_owned())];
    (
        (values(), values(), values(), vec(status, 0..4)),
        (of(network()), of(value()), of(time()), of(time())),
        (metadata, of(seconds()), of(seconds())),
    )
        .prop_map(|(names, place, rest)| EventFilter {
            device_ids: names.0,
            application_ids: names.1,
            connection_types: names.2,
            statuses: names.3,
            ip_network: place.0,
            session_id: place.1,
            since: place.2,
            until: place.3,
            metadata: rest.0,
            min_duration: rest.1,
            max_duration: rest.2,
        })
}

proptest! {
    #[test]
    fn a_filter_written_as_json_is_read_as_the_same_filter(filter in filter()) {
        let json = filter.to_json();
        prop_assert_eq!(EventFilter::from_json(&json), Ok(filter.clone()));
        let text: Value = serde_json::from_str(&json.to_string()).unwrap();
        prop_assert_eq!(EventFilter::from_json(&text), Ok(filter));
    }

    #[test]
    fn a_path_written_as_text_is_read_as_the_same_path(path in path()) {
        prop_assert_eq!(MetadataPath::parse(&path.to_string()), Some(path));
    }
}
