//! The names of formats, as clients and files give them.

use conn_log_formats::{Format, UnknownFormat};

#[test]
fn a_format_is_found_by_its_name_alone() {
    for &format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
        assert_eq!(format.to_string(), format.name());
        assert!(Format::NAMES.contains(format.name()));
    }
    for name in ["", "NDJSON", "xml", "csv "] {
        let unknown: UnknownFormat = name.parse::<Format>().unwrap_err();
        assert_eq!(unknown.name, name);
        assert!(unknown.to_string().contains(Format::NAMES), "{unknown}");
    }
}

#[test]
fn a_content_type_is_the_media_type_and_names_the_charset_of_csv() {
    assert_eq!(Format::Ndjson.content_type(), "application/x-ndjson");
    assert_eq!(Format::Csv.content_type(), "text/csv; charset=utf-8");
    assert_eq!(Format::Csv.media_type(), "text/csv");
    assert_eq!(Format::Csv.extension(), "csv");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_has_the_media_type_that_is_registered_for_it() {
    assert_eq!(Format::Parquet.content_type(), "application/vnd.apache.parquet");
    assert_eq!(Format::Parquet.extension(), "parquet");
}
