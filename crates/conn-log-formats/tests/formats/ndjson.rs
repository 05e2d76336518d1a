//! NDJSON holds each record in the form in which the API answers it.

use conn_log_formats::Format;

use crate::{file, full, record, sparse};

#[test]
fn a_line_is_the_record_s_json() {
    let records = [record(1, full()), record(2, sparse())];
    let file = String::from_utf8(file(Format::Ndjson, &records)).unwrap();
    assert_eq!(file, format!("{}\n{}\n", records[0].to_json(), records[1].to_json()));
}

#[test]
fn no_records_make_an_empty_file() {
    assert_eq!(file(Format::Ndjson, &[]), b"");
}
