//! A Parquet file of one row group for each block, with the columns of an export.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use conn_log_core::{Event, EventFields, Record, Timestamp};
use conn_log_formats::PARQUET_SCHEMA;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{
    AsBytes as _, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray,
    FixedLenByteArrayType, Int64Type,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::codec::{Codec, Item, Wanted};

/// The columns of an export, and the nonce.
fn schema() -> String {
    let columns = PARQUET_SCHEMA.trim_end_matches('}');
    format!("{columns}    optional fixed_len_byte_array(16) nonce;\n}}")
}

pub(super) struct Parquet {
    level: i32,
}

impl Parquet {
    pub(super) fn new(level: i32) -> Self {
        Parquet { level }
    }
}

impl Codec for Parquet {
    fn seal(&mut self, items: &[Item]) -> anyhow::Result<Vec<u8>> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(self.level)?))
            // A block is found by its ids, and not by what its columns have.
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .build();
        let schema = Arc::new(parse_message_type(&schema())?);
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        write_group(Group { out: file.next_row_group()?, items })?;
        Ok(file.into_inner()?)
    }

    fn open(&mut self, bytes: &[u8], wanted: Wanted<'_>) -> anyhow::Result<Vec<Item>> {
        let file = SerializedFileReader::new(Bytes::copy_from_slice(bytes))?;
        let rows = Rows::read(&*file.get_row_group(0)?)?;
        match wanted {
            Wanted::All => (0..rows.ids.len()).map(|place| rows.item(place)).collect(),
            Wanted::Ids(ids) => {
                let place = |id: &i64| rows.ids.binary_search(&Some(*id)).ok();
                ids.iter().filter_map(place).map(|place| rows.item(place)).collect()
            }
        }
    }
}

fn write_group(mut group: Group<'_>) -> anyhow::Result<()> {
    group.numbers(|record| record.id)?;
    group.texts(|fields| Some(&fields.device_id))?;
    group.texts(|fields| Some(&fields.application_id))?;
    group.texts(|fields| Some(&fields.connection_type))?;
    group.numbers(|record| record.event.fields().timestamp.micros())?;
    group.optional(|fields| fields.ip_address.map(|ip| ByteArray::from(&*ip.to_string())))?;
    group.optional(|fields| fields.user_agent.as_deref().map(ByteArray::from))?;
    group.texts(|fields| Some(&fields.status))?;
    group.column::<DoubleType>(true, |item| item.record.event.fields().duration)?;
    group.numbers(|record| record.created_at.micros())?;
    group.texts(|fields| Some(&fields.metadata))?;
    group.optional(|fields| fields.session_id.as_deref().map(ByteArray::from))?;
    group.optional(|fields| fields.event_id.as_deref().map(ByteArray::from))?;
    group.column::<FixedLenByteArrayType>(true, |item| {
        item.nonce.map(|nonce| FixedLenByteArray::from(nonce.to_vec()))
    })?;
    group.out.close()?;
    Ok(())
}

/// A row group being written, one column after the other.
struct Group<'a> {
    out: SerializedRowGroupWriter<'a, Vec<u8>>,
    items: &'a [Item],
}

impl Group<'_> {
    fn numbers(&mut self, number: impl Fn(&Record) -> i64) -> anyhow::Result<()> {
        self.column::<Int64Type>(false, |item| Some(number(&item.record)))
    }

    fn texts(&mut self, text: impl Fn(&EventFields) -> Option<&String>) -> anyhow::Result<()> {
        self.column::<ByteArrayType>(false, |item| {
            text(item.record.event.fields()).map(|text| ByteArray::from(text.as_str()))
        })
    }

    fn optional(&mut self, text: impl Fn(&EventFields) -> Option<ByteArray>) -> anyhow::Result<()> {
        self.column::<ByteArrayType>(true, |item| text(item.record.event.fields()))
    }

    fn column<T: DataType>(
        &mut self,
        may_be_missing: bool,
        value: impl Fn(&Item) -> Option<T::T>,
    ) -> anyhow::Result<()> {
        let all: Vec<Option<T::T>> = self.items.iter().map(value).collect();
        let levels: Vec<i16> = all.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<T::T> = all.into_iter().flatten().collect();
        let column = self.out.next_column()?;
        let mut column = column.ok_or_else(|| anyhow::anyhow!("more columns than the schema"))?;
        let typed: &mut ColumnWriterImpl<'_, T> = column.typed::<T>();
        typed.write_batch(&values, may_be_missing.then_some(&levels), None)?;
        Ok(column.close()?)
    }
}

/// The columns of a block that is read.
struct Rows {
    ids: Vec<Option<i64>>,
    texts: Vec<Vec<Option<ByteArray>>>,
    timestamps: Vec<Option<i64>>,
    durations: Vec<Option<f64>>,
    created_at: Vec<Option<i64>>,
    nonces: Vec<Option<FixedLenByteArray>>,
}

/// The columns of texts, by their places in the schema.
const TEXTS: [usize; 9] = [1, 2, 3, 5, 6, 7, 10, 11, 12];

impl Rows {
    fn read(group: &dyn RowGroupReader) -> anyhow::Result<Self> {
        Ok(Rows {
            ids: column::<Int64Type>(group, 0, false)?,
            timestamps: column::<Int64Type>(group, 4, false)?,
            durations: column::<DoubleType>(group, 8, true)?,
            created_at: column::<Int64Type>(group, 9, false)?,
            nonces: column::<FixedLenByteArrayType>(group, 13, true)?,
            texts: TEXTS
                .into_iter()
                .map(|at| column::<ByteArrayType>(group, at, matches!(at, 5 | 6 | 11 | 12)))
                .collect::<anyhow::Result<_>>()?,
        })
    }

    fn item(&self, place: usize) -> anyhow::Result<Item> {
        let text = |column: usize| {
            let text = self.texts[column][place].as_ref();
            let text = text.map(|text| text.as_utf8().map(str::to_owned));
            text.transpose().map_err(anyhow::Error::from)
        };
        let needed = |column: usize| Ok::<_, anyhow::Error>(text(column)?.unwrap_or_default());
        let time = |column: &[Option<i64>]| Timestamp::from_micros(column[place].unwrap_or(0));
        let event = Event::from_store(EventFields {
            device_id: needed(0)?,
            application_id: needed(1)?,
            connection_type: needed(2)?,
            status: needed(5)?,
            timestamp: time(&self.timestamps),
            ip_address: text(3)?.map(|text| text.parse::<IpAddr>()).transpose()?,
            user_agent: text(4)?,
            duration: self.durations[place],
            session_id: text(7)?,
            event_id: text(8)?,
            metadata: needed(6)?,
        });
        let id = self.ids[place].unwrap_or(0);
        let nonce = self.nonces[place].as_ref().map(|nonce| nonce.as_bytes().try_into());
        let record = Record { id, created_at: time(&self.created_at), event };
        Ok(Item { record, nonce: nonce.transpose()? })
    }
}

fn column<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
    may_be_missing: bool,
) -> anyhow::Result<Vec<Option<T::T>>> {
    let count = usize::try_from(group.metadata().num_rows())?;
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let (mut values, mut levels, mut read) = (Vec::with_capacity(count), Vec::new(), 0);
    while read < count {
        let levels = may_be_missing.then_some(&mut levels);
        let (records, ..) = reader.read_records(count - read, levels, None, &mut values)?;
        anyhow::ensure!(records > 0, "a column ends before its rows");
        read += records;
    }
    if !may_be_missing {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| if level == 1 { values.next() } else { None }).collect())
}
