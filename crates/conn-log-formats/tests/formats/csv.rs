//! CSV, read back by the crate `csv`.

use conn_log_core::{EventFields, Record};
use conn_log_formats::Format;
use csv::{Reader, StringRecord};
use proptest::prelude::*;
use rstest::rstest;

use crate::{file, full, record, sparse};

const HEADER: &str = "id,device_id,application_id,connection_type,timestamp,ip_address,user_agent,\
                      status,duration,created_at,metadata,session_id,event_id\r\n";

fn rows(records: &[Record]) -> Vec<StringRecord> {
    let file = file(Format::Csv, records);
    Reader::from_reader(file.as_slice()).records().map(Result::unwrap).collect()
}

#[test]
fn every_value_comes_back_and_a_missing_one_is_an_empty_cell() {
    let rows = rows(&[record(1, full()), record(2, sparse())]);
    let expected = [
        "1",
        "dev_1",
        "app_1",
        "established",
        "2024-01-15T10:30:00.250000Z",
        "2001:db8::1",
        "a \"quoted\", agent\r\nwith lines",
        "success",
        "1.5",
        "2024-01-15T10:30:01.500000Z",
        r#"{"signal_strength":-45,"text":"ü"}"#,
        "s-1",
        "e-1",
    ];
    assert_eq!(rows[0], expected[..]);
    let missing: Vec<usize> = (0..13).filter(|column| rows[1][*column].is_empty()).collect();
    assert_eq!(missing, [5, 6, 8, 11, 12]);
}

#[test]
fn a_time_on_the_second_has_six_digits_of_fraction_too() {
    assert_eq!(rows(&[record(1, sparse())])[0][4].len(), "2024-01-15T10:30:00.000000Z".len());
}

#[test]
fn lines_end_as_rfc_4180_says() {
    let file = String::from_utf8(file(Format::Csv, &[record(1, sparse())])).unwrap();
    assert!(file.starts_with(HEADER));
    assert_eq!(file.matches("\r\n").count(), file.matches('\n').count());
    assert!(file.ends_with("\r\n"));
}

#[test]
fn no_records_make_a_header_alone() {
    assert_eq!(file(Format::Csv, &[]), HEADER.as_bytes());
}

#[rstest]
fn a_text_that_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(
    #[values("=1+2", "+1", "-1+2", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x")]
    text: &str,
) {
    let (own, some) = (text.to_owned(), Some(text.to_owned()));
    let parts = EventFields {
        device_id: own.clone(),
        application_id: own.clone(),
        connection_type: own.clone(),
        user_agent: some.clone(),
        status: own.clone(),
        session_id: some.clone(),
        event_id: some,
        metadata: own,
        ..full()
    };
    let rows = rows(&[record(1, parts)]);
    for column in [1, 2, 3, 6, 7, 10, 11, 12] {
        assert_eq!(rows[0][column], format!("'{text}"), "column {column}");
    }
}

#[test]
fn a_text_with_such_a_character_further_on_stays_as_it_is() {
    let parts = EventFields { device_id: "a=b".to_owned(), ..sparse() };
    assert_eq!(rows(&[record(1, parts)])[0][1], *"a=b");
}

proptest! {
    #[test]
    fn any_text_comes_back(device_id in any::<String>(), agent in any::<String>()) {
        let parts = EventFields {
            device_id: device_id.clone(),
            user_agent: Some(agent.clone()),
            ..full()
        };
        let rows = rows(&[record(1, parts)]);
        for (cell, text) in [(&rows[0][1], &device_id), (&rows[0][6], &agent)] {
            let is_text = cell == text || cell.strip_prefix('\'') == Some(text);
            prop_assert!(is_text, "{text:?} became {cell:?}");
            prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']));
        }
    }
}
