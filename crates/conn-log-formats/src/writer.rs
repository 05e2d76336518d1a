//! The interface of every format's writer.

use conn_log_core::Record;

use crate::WriteError;

/// Writes records in one format, in the order in which they are given.
///
/// A file is complete only after [`finish`](RecordWriter::finish). After an error the writer must
/// not be used again: its output ends within a record.
pub trait RecordWriter {
    /// Writes some records. The writer may buffer a part of them.
    fn write(&mut self, records: &[Record]) -> Result<(), WriteError>;

    /// Writes all buffered records and the end of the format, and flushes the output.
    fn finish(self: Box<Self>) -> Result<(), WriteError>;
}
