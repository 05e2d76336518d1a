//! Parquet, read back by the reader of the crate `parquet`.

use bytes::Bytes;
use conn_log_core::{EventFields, Record};
use conn_log_formats::Format;
use parquet::basic::{Compression, ConvertedType, Type};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, RowAccessor as _};

use crate::{file, full, record, sparse};

fn read(records: &[Record]) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(Bytes::from(file(Format::Parquet, records))).unwrap()
}

fn rows(records: &[Record]) -> Vec<Vec<Field>> {
    let rows = read(records).get_row_iter(None).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    rows.iter().map(|row| row.get_column_iter().map(|(_, field)| field.clone()).collect()).collect()
}

fn text(text: &str) -> Field {
    Field::Str(text.to_owned())
}

#[test]
fn every_value_comes_back_and_a_missing_one_is_null() {
    let (one, other) = (record(1, full()), record(2, sparse()));
    let rows = rows(&[one.clone(), other]);
    let metadata = r#"{"signal_strength":-45,"text":"ü"}"#;
    let expected = [
        Field::Long(1),
        text("dev_1"),
        text("app_1"),
        text("established"),
        Field::TimestampMicros(one.event.fields().timestamp.micros()),
        text("2001:db8::1"),
        text("a \"quoted\", agent\r\nwith lines"),
        text("success"),
        Field::Double(1.5),
        Field::TimestampMicros(one.created_at.micros()),
        text(metadata),
        text("s-1"),
        text("e-1"),
    ];
    assert_eq!(rows[0], expected);
    let missing: Vec<usize> = (0..13).filter(|column| rows[1][*column] == Field::Null).collect();
    assert_eq!(missing, [5, 6, 8, 11, 12]);
}

#[test]
fn columns_have_the_types_that_engines_expect() {
    let file = read(&[record(1, full())]);
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let types: Vec<_> = schema
        .columns()
        .iter()
        .map(|column| (column.name(), column.physical_type(), column.converted_type()))
        .collect();
    let utf8 = |name| (name, Type::BYTE_ARRAY, ConvertedType::UTF8);
    let time = |name| (name, Type::INT64, ConvertedType::TIMESTAMP_MICROS);
    let expected = [
        ("id", Type::INT64, ConvertedType::NONE),
        utf8("device_id"),
        utf8("application_id"),
        utf8("connection_type"),
        time("timestamp"),
        utf8("ip_address"),
        utf8("user_agent"),
        utf8("status"),
        ("duration", Type::DOUBLE, ConvertedType::NONE),
        time("created_at"),
        ("metadata", Type::BYTE_ARRAY, ConvertedType::JSON),
        utf8("session_id"),
        utf8("event_id"),
    ];
    assert_eq!(types, expected);
    let columns = file.metadata().row_group(0).columns();
    let is_zstd = |compression| matches!(compression, Compression::ZSTD(_));
    assert!(columns.iter().all(|column| is_zstd(column.compression())));
}

#[test]
fn no_records_make_a_file_without_rows() {
    let file = read(&[]);
    assert_eq!(file.metadata().num_row_groups(), 0);
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
    assert_eq!(file.metadata().file_metadata().schema_descr().num_columns(), 13);
}

fn group_sizes(file: &SerializedFileReader<Bytes>) -> Vec<i64> {
    file.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect()
}

/// More rows than one row group holds.
#[test]
fn row_groups_have_twenty_thousand_rows_and_keep_the_order() {
    let records: Vec<Record> = (1..=45_000).map(|id| record(id, sparse())).collect();
    let file = read(&records);
    assert_eq!(group_sizes(&file), [20_000, 20_000, 5_000]);
    let rows = file.get_row_iter(None).unwrap();
    let ids: Vec<i64> = rows.map(|row| row.unwrap().get_long(0).unwrap()).collect();
    assert_eq!(ids, (1..=45_000).collect::<Vec<i64>>());
}

#[test]
fn a_row_group_ends_early_where_its_metadata_is_large() {
    let mebibyte = format!(r#"{{"text":"{}"}}"#, "x".repeat((1 << 20) - 11));
    assert_eq!(mebibyte.len(), 1 << 20);
    let large = EventFields { metadata: mebibyte, ..sparse() };
    let records: Vec<Record> = (1..=20).map(|id| record(id, large.clone())).collect();
    let sizes = group_sizes(&read(&records));
    assert_eq!(sizes.iter().sum::<i64>(), 20);
    assert!(sizes.iter().all(|rows| *rows <= 16), "{sizes:?}");
}
