//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break for a
//! formula. Texts that begin so get an apostrophe before them, which spreadsheets do not show
//! (OWASP, "CSV Injection").

use std::borrow::Cow;
use std::io::Write;

use conn_log_core::Record;

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

/// In the header's order. A field without a value is an empty cell.
fn cells(record: &Record) -> [Cow<'_, str>; COLUMNS] {
    let parts = record.event.fields();
    [
        record.id.to_string().into(),
        safe(&parts.device_id),
        safe(&parts.application_id),
        safe(&parts.connection_type),
        parts.timestamp.to_string().into(),
        parts.ip_address.map(|address| address.to_string()).unwrap_or_default().into(),
        safe(parts.user_agent.as_deref().unwrap_or_default()),
        safe(&parts.status),
        parts.duration.map(|seconds| seconds.to_string()).unwrap_or_default().into(),
        record.created_at.to_string().into(),
        safe(&parts.metadata),
        safe(parts.session_id.as_deref().unwrap_or_default()),
        safe(parts.event_id.as_deref().unwrap_or_default()),
    ]
}

fn safe(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
