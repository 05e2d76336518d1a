//! A record a line, as the API answers it.

use std::io::Write as _;

use conn_log_core::Record;

use super::{ExportError, RecordWriter};
use crate::http::pipe::Pipe;

pub(super) struct NdjsonWriter(Pipe);

impl NdjsonWriter {
    pub(super) fn new(out: Pipe) -> Self {
        NdjsonWriter(out)
    }
}

impl RecordWriter for NdjsonWriter {
    fn write(&mut self, records: &[Record]) -> Result<(), ExportError> {
        for record in records {
            self.0.write_all(record.to_json().as_bytes())?;
            self.0.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        Ok(self.0.flush()?)
    }
}
