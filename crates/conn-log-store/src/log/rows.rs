//! A record as a row of `events`: borrowed for writing, owned after reading.
#![expect(clippy::ref_option_ref, reason = "what diesel derives for borrowed rows")]

use std::borrow::Cow;

use conn_log_core::{Event, EventFields, Record};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::heads::Head;
use super::key;
use super::schema::events;
use super::texts::{AgentOfRow, Damaged, PackedMetadata, Packer, ShapeOfRow, Unpacker, unpack};
use crate::engine::{
    Address, AnyConnection, Instant, Ip, JsonObject, JsonText, Micros, Packed, Shape,
    insert_or_copy,
};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// A row to insert.
#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub(crate) struct NewEventRow<'a> {
    tenant_id: i32,
    id: i64,
    created_at: Micros,
    device_id: &'a str,
    application_id: &'a str,
    connection_type: &'a str,
    status: &'a str,
    timestamp: Micros,
    ip_address: Option<Ip>,
    user_agent: Option<&'a str>,
    duration: Option<f64>,
    session_id: Option<&'a str>,
    event_id: Option<&'a str>,
    metadata: JsonText<'a>,
    leaf_hash: &'a [u8],
}

impl<'a> NewEventRow<'a> {
    fn new(tenant: TenantId, record: &'a Record, leaf_hash: &'a [u8; 32]) -> Self {
        let parts = record.event.fields();
        NewEventRow {
            tenant_id: tenant.0,
            id: record.id,
            created_at: Micros(record.created_at),
            device_id: &parts.device_id,
            application_id: &parts.application_id,
            connection_type: &parts.connection_type,
            status: &parts.status,
            timestamp: Micros(parts.timestamp),
            ip_address: parts.ip_address.map(Ip),
            user_agent: parts.user_agent.as_deref(),
            duration: parts.duration,
            session_id: parts.session_id.as_deref(),
            event_id: parts.event_id.as_deref(),
            metadata: JsonText(Cow::Borrowed(&parts.metadata)),
            leaf_hash,
        }
    }
}

impl<'a> NewEventRow<'a> {
    /// The row with its metadata, and perhaps its user agent, in packed form.
    fn packed(self, packed: Option<PackedMetadata<'a>>) -> Self {
        match packed {
            Some(packed) => NewEventRow {
                metadata: JsonText(Cow::Borrowed(packed.text)),
                user_agent: if packed.has_agent { None } else { self.user_agent },
                ..self
            },
            None => self,
        }
    }
}

/// A row as it is read, perhaps with packed metadata.
#[derive(Queryable, Selectable)]
#[diesel(table_name = events)]
pub(crate) struct EventRow {
    id: i64,
    created_at: Micros,
    device_id: String,
    application_id: String,
    connection_type: String,
    status: String,
    timestamp: Micros,
    ip_address: Option<Ip>,
    user_agent: Option<String>,
    duration: Option<f64>,
    session_id: Option<String>,
    event_id: Option<String>,
    metadata: JsonText<'static>,
}

/// For a row whose metadata is not packed.
impl From<EventRow> for Record {
    fn from(row: EventRow) -> Self {
        Record {
            id: row.id,
            created_at: row.created_at.0,
            event: Event::from_store(EventFields {
                device_id: row.device_id,
                application_id: row.application_id,
                connection_type: row.connection_type,
                status: row.status,
                timestamp: row.timestamp.0,
                ip_address: row.ip_address.map(|ip| ip.0),
                user_agent: row.user_agent,
                duration: row.duration,
                session_id: row.session_id,
                event_id: row.event_id,
                metadata: row.metadata.0.into_owned(),
            }),
        }
    }
}

impl EventRow {
    /// The record of a row with packed metadata, given what [`unpack`] makes of it.
    fn unpacked(mut self, (metadata, agent): (String, Option<String>)) -> Record {
        self.metadata = JsonText(Cow::Owned(metadata));
        self.user_agent = agent.or(self.user_agent);
        self.into()
    }
}

/// The records of rows of one tenant.
pub(crate) fn records(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rows: Vec<EventRow>,
) -> Result<Vec<Record>, StoreError> {
    let AnyConnection::Sqlite(sqlite) = connection else {
        return Ok(rows.into_iter().map(Record::from).collect());
    };
    let mut unpacker = Unpacker::new(tenant);
    let record = |row: EventRow| {
        if !Packed::is_packed(&row.metadata.0) {
            return Ok(row.into());
        }
        let session_id = row.session_id.as_deref();
        let texts = unpacker.unpack(sqlite, row.id, &row.metadata.0, session_id)?;
        Ok(row.unpacked(texts))
    };
    rows.into_iter().map(record).collect()
}

/// The record with this id on SQLite, by one statement that has the row's texts too, and that is
/// prepared once: diesel prepares a statement with a list of ids anew each time.
pub(crate) fn find(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    id: i64,
) -> Result<Option<Record>, StoreError> {
    let found: Option<(EventRow, Option<String>, Option<String>)> = events::table
        .filter(key::is_row(tenant, id))
        .select((EventRow::as_select(), ShapeOfRow, AgentOfRow))
        .first(connection)
        .optional()?;
    let Some((row, shape, agent)) = found else { return Ok(None) };
    if !Packed::is_packed(&row.metadata.0) {
        return Ok(Some(row.into()));
    }
    let packed = Packed::of(&row.metadata.0, row.session_id.as_deref())
        .ok_or_else(|| StoreError::internal(Damaged(id)))?;
    let shape = shape.as_deref().map(Shape::of);
    let texts = unpack(id, packed, shape.as_ref(), agent.as_deref())?;
    Ok(Some(row.unpacked(texts)))
}

/// The statement that inserts one row on SQLite. Diesel's own insert goes through all columns
/// several times, which takes half as long as SQLite's insert itself.
struct InsertRow<'a> {
    row_id: i64,
    row: NewEventRow<'a>,
}

impl QueryId for InsertRow<'_> {
    type QueryId = InsertRow<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for InsertRow<'_> {}

/// The row id and the columns, each with its type: first the names, then the values.
macro_rules! insert_columns {
    ($out:ident, $row_id:expr, $row:expr, $($column:ident: $type:ty),+) => {{
        $out.push_sql(concat!("INSERT INTO events (row_id,", $(stringify!($column), ","),+));
        $out.push_sql("leaf_hash) VALUES (");
        $out.push_bind_param::<BigInt, _>(&$row_id)?;
        $out.push_sql(",");
        $(
            $out.push_bind_param::<$type, _>(&$row.$column)?;
            $out.push_sql(",");
        )+
        $out.push_bind_param::<Binary, _>($row.leaf_hash)?;
        $out.push_sql(")");
    }};
}

impl QueryFragment<Sqlite> for InsertRow<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        insert_columns!(
            out,
            self.row_id,
            self.row,
            created_at: Instant,
            device_id: Text,
            application_id: Text,
            connection_type: Text,
            status: Text,
            timestamp: Instant,
            ip_address: Nullable<Address>,
            user_agent: Nullable<Text>,
            duration: Nullable<Double>,
            session_id: Nullable<Text>,
            event_id: Nullable<Text>,
            metadata: JsonObject
        );
        Ok(())
    }
}

/// Inserts the records of one log, each with its leaf hash, in the fastest way of each database:
/// SQLite one by one with one prepared statement, PostgreSQL by COPY, or by INSERT if there are few.
/// docs/decisions/001 has the figures. `before` is the locked head of the log without them, `after`
/// with them; `packer` is for SQLite.
pub(crate) fn insert_in_txn<'a>(
    connection: &mut AnyConnection,
    packer: &mut Packer,
    before: &Head,
    after: (i64, Micros),
    records: impl Iterator<Item = (&'a Record, &'a [u8; 32])>,
) -> QueryResult<()> {
    let tenant = before.tenant;
    let rows = records.map(|(record, hash)| (record, NewEventRow::new(tenant, record, hash)));
    match connection {
        AnyConnection::Sqlite(sqlite) => {
            let mut packer = packer.of_log_in_txn(sqlite, before, after)?;
            for (record, row) in rows {
                let row_id = key::row_id(tenant, record.id);
                let row = row.packed(packer.pack_in_txn(sqlite, record)?);
                InsertRow { row_id, row }.execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            let rows: Vec<NewEventRow<'a>> = rows.map(|(_, row)| row).collect();
            insert_or_copy!(postgres, events, rows);
        }
    }
    Ok(())
}
