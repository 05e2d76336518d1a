//! A record's exact JSON, its canonical form, and its leaf hash.

use conn_log_core::{Event, EventFields, Record};
use rstest::rstest;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{event, fields, first, second, time};

fn record(event: Event) -> Record {
    Record { id: 12847, created_at: time("2024-01-15T10:30:05.123456Z"), event }
}

fn full() -> Record {
    record(event(&second(&[
        ("ip_address", r#""192.168.1.100""#),
        ("user_agent", r#""My \"App\"/1.0 é\u0007\u007f""#),
        ("duration", "3600"),
        ("metadata", r#"{"protocol": "TLS 1.3", "port": 443}"#),
        ("session_id", r#""s-1""#),
        ("event_id", r#""e-1""#),
    ])))
}

#[test]
fn a_record_s_members_stand_in_the_contract_s_order() {
    assert_eq!(
        full().to_json(),
        concat!(
            r#"{"id":12847,"device_id":"dev_12345","application_id":"app_67890","#,
            r#""connection_type":"established","timestamp":"2024-01-15T10:30:00Z","#,
            r#""ip_address":"192.168.1.100","user_agent":"My \"App\"/1.0 é\u0007"#,
            "\u{7f}",
            r#"","status":"success","duration":3600,"#,
            r#""created_at":"2024-01-15T10:30:05.123456Z","#,
            r#""metadata":{"port":443,"protocol":"TLS 1.3"},"#,
            r#""session_id":"s-1","event_id":"e-1"}"#,
        ),
    );
}

#[test]
fn missing_fields_are_null_and_missing_later_members_are_left_out() {
    assert_eq!(
        record(event(&second(&[]))).to_json(),
        concat!(
            r#"{"id":12847,"device_id":"dev_12345","application_id":"app_67890","#,
            r#""connection_type":"established","timestamp":"2024-01-15T10:30:00Z","#,
            r#""ip_address":null,"user_agent":null,"status":"success","duration":null,"#,
            r#""created_at":"2024-01-15T10:30:05.123456Z","metadata":{}}"#,
        ),
    );
}

#[rstest]
#[case("3600", "3600")]
#[case("3600.0", "3600")]
#[case("1.5", "1.5")]
#[case("0", "0")]
#[case("-0", "0")]
#[case("0.1", "0.1")]
#[case("1e21", "1e+21")]
#[case("1e-7", "1e-7")]
fn a_duration_is_written_as_canonical_json_writes_numbers(
    #[case] given: &str,
    #[case] written: &str,
) {
    let json = record(event(&second(&[("duration", given)]))).to_json();
    assert!(json.contains(&format!("\"duration\":{written},")), "{json}");
}

#[rstest]
#[case("2024-01-15T12:30:00+02:00", "2024-01-15T10:30:00Z")]
#[case("2024-01-15T10:30:00.000Z", "2024-01-15T10:30:00Z")]
#[case("2024-01-15T10:30:00.12Z", "2024-01-15T10:30:00.120Z")]
#[case("2024-01-15T10:30:00.00001Z", "2024-01-15T10:30:00.000010Z")]
fn a_time_is_written_in_utc_with_a_fraction_only_where_there_is_one(
    #[case] given: &str,
    #[case] written: &str,
) {
    let json = record(event(&second(&[("timestamp", &format!("\"{given}\""))]))).to_json();
    assert!(json.contains(&format!("\"timestamp\":\"{written}\"")), "{json}");
}

#[rstest]
#[case::given_beside(&[("session_id", r#""s""#)], true)]
#[case::in_the_metadata_only(&[("metadata", r#"{"session_id": "s"}"#)], false)]
#[case::another_in_the_metadata(
    &[("session_id", r#""s""#), ("metadata", r#"{"session_id": "t"}"#)],
    true
)]
fn a_session_s_id_stands_beside_the_metadata_where_the_metadata_does_not_show_it(
    #[case] members: &[(&str, &str)],
    #[case] shown: bool,
) {
    let json = record(event(&second(members))).to_json();
    assert_eq!(json.ends_with(r#","session_id":"s"}"#), shown, "{json}");
}

#[test]
fn the_canonical_json_is_that_of_rfc_8785() {
    for record in [
        full(),
        record(event(&second(&[]))),
        record(event(&first(&[("signal_strength", "-45.50")]))),
        record(event(&second(&[("metadata", r#"{"session_id": "s"}"#)]))),
    ] {
        let json: Value = serde_json::from_str(&record.to_json()).unwrap();
        assert_eq!(record.to_canonical_json(), serde_json_canonicalizer::to_string(&json).unwrap(),);
    }
}

#[test]
fn a_fixed_record_s_leaf_hash_never_changes() {
    // printf '\0%s' "$canonical_json" | sha256sum; the proofs of every log depend on it.
    let hash = full().leaf_hash().map(|byte| format!("{byte:02x}"));
    assert_eq!(hash.concat(), "83dda699666a6f2274a786536ba57036ea56856105d7e8893fbde0f0f70f08ba");
}

#[test]
fn a_leaf_hash_is_sha_256_of_a_zero_byte_and_the_canonical_json() {
    let mut bytes = vec![0];
    bytes.extend(full().to_canonical_json().into_bytes());
    assert_eq!(full().leaf_hash(), <[u8; 32]>::from(Sha256::digest(bytes)));
}

#[test]
fn another_id_or_time_is_another_leaf() {
    let record = full();
    let other_id = Record { id: 12848, ..record.clone() };
    let other_time = Record { created_at: time("2024-01-15T10:30:05.123457Z"), ..record.clone() };
    assert_ne!(record.leaf_hash(), other_id.leaf_hash());
    assert_ne!(record.leaf_hash(), other_time.leaf_hash());
}

#[test]
fn a_stored_event_is_the_event_that_was_given() {
    let fields: EventFields = fields(&first(&[("duration", "1.5")]));
    let event = Event::from_store(fields.clone());
    assert_eq!(event.fields(), &fields);
    assert_eq!(event.into_fields(), fields);
}
