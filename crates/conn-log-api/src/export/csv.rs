//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break for a
//! formula. Texts that begin so get an apostrophe before them, which spreadsheets do not show
//! (OWASP, "CSV Injection").

use std::borrow::Cow;

use conn_log_core::Record;

use super::{ExportError, RecordWriter};
use crate::pipe::Pipe;

const HEADER: [&str; 13] = [
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

pub(super) struct CsvWriter(csv::Writer<Pipe>);

impl CsvWriter {
    pub(super) fn new(out: Pipe) -> Result<Self, ExportError> {
        let terminator = csv::Terminator::CRLF;
        let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(out);
        writer.write_record(HEADER)?;
        Ok(CsvWriter(writer))
    }
}

impl RecordWriter for CsvWriter {
    fn write(&mut self, records: &[Record]) -> Result<(), ExportError> {
        for record in records {
            let parts = record.event.fields();
            let optional = |text: &Option<String>| text.clone().unwrap_or_default();
            let cells: [Cow<'_, str>; 13] = [
                record.id.to_string().into(),
                safe(&parts.device_id),
                safe(&parts.application_id),
                safe(&parts.connection_type),
                parts.timestamp.to_string().into(),
                parts.ip_address.map(|address| address.to_string()).unwrap_or_default().into(),
                safe(&optional(&parts.user_agent)).into_owned().into(),
                safe(&parts.status),
                parts.duration.map(|seconds| seconds.to_string()).unwrap_or_default().into(),
                record.created_at.to_string().into(),
                safe(&parts.metadata),
                safe(&optional(&parts.session_id)).into_owned().into(),
                safe(&optional(&parts.event_id)).into_owned().into(),
            ];
            self.0.write_record(cells.iter().map(|cell| cell.as_bytes()))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        Ok(self.0.flush()?)
    }
}

fn safe(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
