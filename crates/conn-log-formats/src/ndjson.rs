//! NDJSON: one record per line, in the form in which the API answers it.

use std::io::Write;

use conn_log_core::Record;

use crate::{RecordWriter, WriteError};

pub(crate) struct NdjsonWriter<W>(W);

impl<W: Write> NdjsonWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        NdjsonWriter(out)
    }
}

impl<W: Write> RecordWriter for NdjsonWriter<W> {
    fn write(&mut self, records: &[Record]) -> Result<(), WriteError> {
        for record in records {
            self.0.write_all(record.to_json().as_bytes())?;
            self.0.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        Ok(self.0.flush()?)
    }
}
