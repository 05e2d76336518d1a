//! Parquet with typed columns, for DuckDB, pandas, Spark and the like.
//!
//! Records are collected into row groups; one row group is in memory at a time.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use conn_log_core::{EventFields, Record};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::{RecordWriter, WriteError};

/// Rows of a group. Readers skip and split files by groups; a writer holds one group.
const GROUP_ROWS: usize = 20_000;

/// Maximum bytes of a group's texts. They are in memory once as rows and once as columns.
const GROUP_BYTES: usize = 8 << 20;

/// The columns, in the order of the record. Instants are microseconds in UTC.
pub const SCHEMA: &str = "message connection_log {
    required int64 id;
    required binary device_id (STRING);
    required binary application_id (STRING);
    required binary connection_type (STRING);
    required int64 timestamp (TIMESTAMP(MICROS, true));
    optional binary ip_address (STRING);
    optional binary user_agent (STRING);
    required binary status (STRING);
    optional double duration;
    required int64 created_at (TIMESTAMP(MICROS, true));
    required binary metadata (JSON);
    optional binary session_id (STRING);
    optional binary event_id (STRING);
}";

pub(crate) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Record>,
    /// Bytes of the rows' texts.
    bytes: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(crate) fn new(out: W) -> Result<Self, WriteError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let compression = Compression::ZSTD(ZstdLevel::try_new(1)?);
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(ParquetWriter { file, rows: Vec::new(), bytes: 0 })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = Group { out: self.file.next_row_group()?, rows: &rows };
        group.numbers(|record| record.id)?;
        group.texts(|parts| &parts.device_id)?;
        group.texts(|parts| &parts.application_id)?;
        group.texts(|parts| &parts.connection_type)?;
        group.numbers(|record| record.event.fields().timestamp.micros())?;
        group.addresses()?;
        group.optional_texts(|parts| parts.user_agent.as_deref())?;
        group.texts(|parts| &parts.status)?;
        group.durations()?;
        group.numbers(|record| record.created_at.micros())?;
        group.texts(|parts| &parts.metadata)?;
        group.optional_texts(|parts| parts.session_id.as_deref())?;
        group.optional_texts(|parts| parts.event_id.as_deref())?;
        group.out.close()?;
        Ok(())
    }
}

impl<W: Write + Send> RecordWriter for ParquetWriter<W> {
    fn write(&mut self, records: &[Record]) -> Result<(), WriteError> {
        for record in records {
            self.bytes += record.event.fields().metadata.len();
            self.rows.push(record.clone());
            if self.rows.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
                self.write_group()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        self.write_group()?;
        let mut out = self.file.into_inner()?;
        Ok(out.flush()?)
    }
}

/// A row group being written, one column after the other.
struct Group<'a, W: Write> {
    out: SerializedRowGroupWriter<'a, W>,
    rows: &'a [Record],
}

impl<W: Write + Send> Group<'_, W> {
    fn numbers(&mut self, number: impl Fn(&Record) -> i64) -> Result<(), ParquetError> {
        let values: Vec<i64> = self.rows.iter().map(number).collect();
        self.column::<Int64Type>(&values, None)
    }

    fn texts(&mut self, text: impl Fn(&EventFields) -> &String) -> Result<(), ParquetError> {
        let texts = self.rows.iter().map(|record| text(record.event.fields()).as_str());
        let values: Vec<ByteArray> = texts.map(ByteArray::from).collect();
        self.column::<ByteArrayType>(&values, None)
    }

    fn optional_texts(
        &mut self,
        text: impl Fn(&EventFields) -> Option<&str>,
    ) -> Result<(), ParquetError> {
        let texts: Vec<_> = self.rows.iter().map(|record| text(record.event.fields())).collect();
        let values: Vec<ByteArray> = texts.iter().copied().flatten().map(ByteArray::from).collect();
        let levels = levels(texts.iter().map(Option::is_some));
        self.column::<ByteArrayType>(&values, Some(&levels))
    }

    fn addresses(&mut self) -> Result<(), ParquetError> {
        let addresses = || self.rows.iter().map(|record| record.event.fields().ip_address);
        let text = |address: IpAddr| ByteArray::from(address.to_string().as_str());
        let values: Vec<ByteArray> = addresses().flatten().map(text).collect();
        let levels = levels(addresses().map(|address| address.is_some()));
        self.column::<ByteArrayType>(&values, Some(&levels))
    }

    fn durations(&mut self) -> Result<(), ParquetError> {
        let durations = || self.rows.iter().map(|record| record.event.fields().duration);
        let values: Vec<f64> = durations().flatten().collect();
        let levels = levels(durations().map(|duration| duration.is_some()));
        self.column::<DoubleType>(&values, Some(&levels))
    }

    fn column<T: parquet::data_type::DataType>(
        &mut self,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) -> Result<(), ParquetError> {
        let Some(mut column) = self.out.next_column()? else {
            return Err(ParquetError::General("more columns than the schema has".to_owned()));
        };
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()
    }
}

/// The definition levels of an optional column: 1 for a value, 0 for none.
fn levels(is_there: impl Iterator<Item = bool>) -> Vec<i16> {
    is_there.map(i16::from).collect()
}
