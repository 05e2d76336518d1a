//! From events to the blocks of a run.

use conn_log_core::Timestamp;
use diesel::prelude::*;

use super::block::{Block, BlockWriter};
use super::tables::NewRun;
use super::{Span, terms};
use crate::connection::AnyConnection;
use crate::error::StoreError;
use crate::filter::Dialect;
use crate::place;
use crate::schema::events;
use crate::tenants::TenantId;
use crate::types::{Ip, Micros};

/// Where a run has no events any more.
const LAST: Micros = Micros(Timestamp::MAX);

/// What the index takes of an event.
#[derive(Queryable, Selectable)]
#[diesel(table_name = events)]
struct IndexedRow {
    id: i64,
    created_at: Micros,
    device_id: String,
    application_id: String,
    status: String,
    timestamp: Micros,
    ip_address: Option<Ip>,
    session_id: Option<String>,
}

/// Postings before they are sorted: keys one behind the other in one piece of memory.
#[derive(Default)]
struct Postings {
    keys: Vec<u8>,
    /// Where each key lies, and the event's id.
    places: Vec<(usize, usize, i64)>,
}

impl Postings {
    fn add(&mut self, id: i64, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.keys.len();
        write(&mut self.keys);
        self.places.push((from, self.keys.len(), id));
    }

    fn write_to(mut self, writer: &mut BlockWriter) {
        let keys = &self.keys;
        // Stable: ids of a key stay in order.
        self.places.sort_by(|a, b| keys[a.0..a.1].cmp(&keys[b.0..b.1]));
        for &(from, to, id) in &self.places {
            writer.push(&keys[from..to], id);
        }
    }
}

/// Reads the events of a span and makes a run of them.
pub(super) fn build(
    connection: &mut AnyConnection,
    tenant: TenantId,
    level: i16,
    span: Span,
) -> Result<(NewRun, Vec<Block>), StoreError> {
    let dialect = Dialect::from(&mut *connection);
    let rows: Vec<IndexedRow> = events::table
        .filter(place::within(tenant, span, dialect))
        .order(place::key(dialect))
        .select(IndexedRow::as_select())
        .load(connection)?;
    let times = || rows.iter().map(|row| row.timestamp);
    let new = NewRun {
        tenant_id: tenant.0,
        level,
        first_id: span.first,
        last_id: span.last,
        // It never goes back within a log.
        created_at_min: rows.first().map_or(LAST, |row| row.created_at),
        created_at_max: rows.last().map_or(LAST, |row| row.created_at),
        timestamp_min: times().min().unwrap_or(LAST),
        timestamp_max: times().max().unwrap_or(Micros(Timestamp::MIN)),
    };
    // One sort for each kind: smaller, and the one by time is nearly sorted as it comes.
    let mut kinds: [Postings; 6] = Default::default();
    let [devices, sessions, applications, addresses, times, periods] = &mut kinds;
    for row in &rows {
        devices.add(row.id, |key| terms::device(key, &row.device_id));
        if let Some(session) = &row.session_id {
            sessions.add(row.id, |key| terms::session(key, session));
        }
        applications.add(row.id, |key| {
            terms::application(key, &row.application_id, Some(&row.status));
        });
        if let Some(Ip(address)) = row.ip_address {
            addresses.add(row.id, |key| terms::address(key, address));
        }
        times.add(row.id, |key| terms::time(key, row.timestamp.0));
        periods.add(row.id, |key| terms::period(key, row.timestamp.0));
    }
    let mut writer = BlockWriter::new(span.first);
    // In the order of their numbers, which lead the keys.
    for postings in kinds {
        postings.write_to(&mut writer);
    }
    Ok((new, writer.finish()))
}
