//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.
//!
//! A spreadsheet reads a cell as a formula if it begins with `=`, `+`, `-`, `@`, their full-width
//! forms, a tab or a line break. Such texts get an apostrophe in front, which spreadsheets do not
//! show (OWASP, "CSV Injection"). Times always have six digits of fraction, so that a column has
//! one format.

use std::borrow::Cow;
use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use conn_log_core::{Record, Timestamp};

use crate::{RecordWriter, WriteError};

const COLUMNS: usize = 13;

const HEADER: [&str; COLUMNS] = [
    "id",
    "device_id",
    "application_id",
    "connection_type",
    "timestamp",
    "ip_address",
    "user_agent",
    "status",
    "duration",
    "created_at",
    "metadata",
    "session_id",
    "event_id",
];

pub(crate) struct CsvWriter<W: Write>(csv::Writer<W>);

impl<W: Write> CsvWriter<W> {
    pub(crate) fn new(out: W) -> Result<Self, WriteError> {
        let terminator = csv::Terminator::CRLF;
        let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(out);
        writer.write_record(HEADER)?;
        Ok(CsvWriter(writer))
    }
}

impl<W: Write> RecordWriter for CsvWriter<W> {
    fn write(&mut self, records: &[Record]) -> Result<(), WriteError> {
        for record in records {
            self.0.write_record(cells(record).iter().map(|cell| cell.as_bytes()))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        Ok(self.0.flush()?)
    }
}

/// A record's cells in the order of the header. A field without a value is an empty cell.
fn cells(record: &Record) -> [Cow<'_, str>; COLUMNS] {
    let parts = record.event.fields();
    [
        record.id.to_string().into(),
        safe(&parts.device_id),
        safe(&parts.application_id),
        safe(&parts.connection_type),
        time(parts.timestamp).into(),
        parts.ip_address.map(|address| address.to_string()).unwrap_or_default().into(),
        safe(parts.user_agent.as_deref().unwrap_or_default()),
        safe(&parts.status),
        parts.duration.map(|seconds| seconds.to_string()).unwrap_or_default().into(),
        time(record.created_at).into(),
        safe(&parts.metadata),
        safe(parts.session_id.as_deref().unwrap_or_default()),
        safe(parts.event_id.as_deref().unwrap_or_default()),
    ]
}

/// A time, always with six digits of fraction.
fn time(time: Timestamp) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The characters that start a formula in a spreadsheet. The full-width ones count as the others if
/// the locale is Chinese, Japanese or Korean.
const FORMULA_STARTS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

fn safe(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA_STARTS) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
