//! Each format, as a reader of its files sees it.

// Makes Clippy treat all of this as tests, helpers too: clippy.toml says what tests may do.
#![cfg(test)]

mod csv;
mod dependencies;
mod names;
mod ndjson;
mod outputs;
#[cfg(feature = "parquet")]
mod parquet;

use conn_log_core::{Event, EventFields, Record, Timestamp};
use conn_log_formats::Format;

/// The records as a file of that format.
fn file(format: Format, records: &[Record]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = format.writer(&mut file).unwrap();
    // Page by page, as an export does it.
    for page in records.chunks(1_000) {
        writer.write(page).unwrap();
    }
    writer.finish().unwrap();
    file
}

fn record(id: i64, parts: EventFields) -> Record {
    let created_at = Timestamp::parse("2024-01-15T10:30:01.5Z").unwrap();
    Record { id, created_at, event: Event::from_store(parts) }
}

/// An event without any optional value.
fn sparse() -> EventFields {
    EventFields {
        device_id: "dev_1".to_owned(),
        application_id: "app_1".to_owned(),
        connection_type: "established".to_owned(),
        status: "success".to_owned(),
        timestamp: Timestamp::parse("2024-01-15T10:30:00.25Z").unwrap(),
        ip_address: None,
        user_agent: None,
        duration: None,
        session_id: None,
        event_id: None,
        metadata: "{}".to_owned(),
    }
}

/// An event with every value.
fn full() -> EventFields {
    EventFields {
        ip_address: Some("2001:db8::1".parse().unwrap()),
        user_agent: Some("a \"quoted\", agent\r\nwith lines".to_owned()),
        duration: Some(1.5),
        session_id: Some("s-1".to_owned()),
        event_id: Some("e-1".to_owned()),
        metadata: r#"{"signal_strength":-45,"text":"ü"}"#.to_owned(),
        ..sparse()
    }
}
