//! What every format's writer does.

use conn_log_core::Record;

use crate::WriteError;

/// Writes records in one format, in the order in which they are given.
///
/// A file is complete only after [`finish`](RecordWriter::finish). After an error the writer is of
/// no more use: its output ends somewhere within a record.
pub trait RecordWriter {
    /// Writes some records. The writer may hold a part of them back for now.
    fn write(&mut self, records: &[Record]) -> Result<(), WriteError>;

    /// Writes everything held back and the format's end, and flushes the output.
    fn finish(self: Box<Self>) -> Result<(), WriteError>;
}
