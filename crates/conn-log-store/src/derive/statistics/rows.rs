//! Rollups in their table: rows are read, added to and written back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::cells::{self, Cells, Delta, LEVELS, Level, RowKey};
use super::codec::Damaged;
use super::figures::Figures;
use super::tally::Tally;
use crate::derive::schema::{application_hours, rollups};
use crate::engine::{AnyConnection, KEYS_AT_ONCE, Micros, ROWS_AT_ONCE, clear_some, upsert};
use crate::tenant_id::TenantId;

#[derive(Insertable)]
#[diesel(table_name = rollups, treat_none_as_default_value = false)]
struct RollupRow {
    tenant_id: i32,
    level: i16,
    start: Micros,
    lead: i32,
    cells: Vec<u8>,
}

/// The figures of a row of level 1.
#[derive(Insertable)]
#[diesel(table_name = application_hours, treat_none_as_default_value = false)]
struct HourRow {
    tenant_id: i32,
    start: Micros,
    application: i32,
    figures: Vec<u8>,
}

impl From<Damaged> for diesel::result::Error {
    fn from(damaged: Damaged) -> Self {
        diesel::result::Error::DeserializationError(Box::new(damaged))
    }
}

/// A name's number as tables hold it.
fn column(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn columns(numbers: &[u32]) -> Vec<i32> {
    numbers.iter().copied().map(column).collect()
}

fn micros(start: i64) -> Micros {
    Micros(Timestamp::from_micros(start))
}

/// Adds to what the table has, some rows at a time: however many there are, memory holds a few.
pub(crate) fn add_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    delta: &Delta,
) -> QueryResult<()> {
    let mut by_start: BTreeMap<(Level, i64), Vec<u32>> = BTreeMap::new();
    for key in delta.keys() {
        by_start.entry((key.level, key.start)).or_default().push(key.lead);
    }
    let mut changed = Changed::default();
    for ((level, start), mut leads) in by_start {
        leads.sort_unstable();
        for some in leads.chunks(KEYS_AT_ONCE) {
            let mut known = load(connection, tenant, level, start, some)?;
            for lead in some {
                let key = RowKey { level, start, lead: *lead };
                let Some(new) = delta.get(&key) else {
                    continue;
                };
                let sum = match known.remove(lead) {
                    None => Cow::Borrowed(new),
                    Some(bytes) => {
                        let mut sum = cells::decode(key, &bytes)?;
                        cells::add(&mut sum, new);
                        Cow::Owned(sum)
                    }
                };
                changed.rows.push(row_of(tenant, key, &sum));
                if level == Level::ApplicationHour {
                    changed.hours.push(hour_of(tenant, key, &sum));
                }
            }
            // Of events from all over a month there are few of each hour.
            if changed.rows.len() >= ROWS_AT_ONCE {
                std::mem::take(&mut changed).write_in_txn(connection)?;
            }
        }
    }
    changed.write_in_txn(connection)
}

/// Rows to be written, of any hours.
#[derive(Default)]
struct Changed {
    rows: Vec<RollupRow>,
    hours: Vec<HourRow>,
}

impl Changed {
    fn write_in_txn(self, connection: &mut AnyConnection) -> QueryResult<()> {
        upsert!(
            connection,
            rollups,
            &self.rows,
            key: (tenant_id, level, start, lead),
            set: (cells)
        );
        upsert!(
            connection,
            application_hours,
            &self.hours,
            key: (tenant_id, start, application),
            set: (figures)
        );
        Ok(())
    }
}

fn row_of(tenant: TenantId, key: RowKey, all: &Cells) -> RollupRow {
    RollupRow {
        tenant_id: tenant.0,
        level: key.level as i16,
        start: micros(key.start),
        lead: column(key.lead),
        cells: cells::encode(key.level, all),
    }
}

fn hour_of(tenant: TenantId, key: RowKey, all: &Cells) -> HourRow {
    let mut whole = Tally::default();
    for tally in all.values() {
        whole.add(tally);
    }
    HourRow {
        tenant_id: tenant.0,
        start: micros(key.start),
        application: column(key.lead),
        figures: Figures::of(&whole).encode(),
    }
}

/// The cells of those rows that are there.
pub(super) fn load(
    connection: &mut AnyConnection,
    tenant: TenantId,
    level: Level,
    start: i64,
    leads: &[u32],
) -> QueryResult<BTreeMap<u32, Vec<u8>>> {
    let rows: Vec<(i32, Vec<u8>)> = rollups::table
        .filter(rollups::tenant_id.eq(tenant.0))
        .filter(rollups::level.eq(level as i16))
        .filter(rollups::start.eq(micros(start)))
        .filter(rollups::lead.eq_any(columns(leads)))
        .select((rollups::lead, rollups::cells))
        .load(connection)?;
    Ok(rows.into_iter().map(|(lead, cells)| (lead.unsigned_abs(), cells)).collect())
}

/// Which rows: those of a level that begin within a span of time, of some leads or of all.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) level: Level,
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) leads: Option<Vec<u32>>,
}

/// Rows of cells read at once: each up to some KiB.
const CELLS_AT_ONCE: i64 = 2_000;

/// Hands the cells of every row to `take`.
pub(super) fn each_cells<E: From<diesel::result::Error>>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    stretch: &Stretch,
    mut take: impl FnMut(RowKey, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = (micros(stretch.since), i32::MIN);
    loop {
        let mut select = rollups::table
            .filter(rollups::tenant_id.eq(tenant.0))
            .filter(rollups::start.lt(micros(stretch.until)))
            .filter(rollups::start.ge(from.0))
            .filter(rollups::start.gt(from.0).or(rollups::lead.gt(from.1)))
            .select((rollups::start, rollups::lead, rollups::cells))
            .order((rollups::start, rollups::lead))
            .limit(CELLS_AT_ONCE)
            .into_boxed();
        select = match (stretch.level, &stretch.leads) {
            // As the partial index has it.
            (Level::DeviceDay, Some(_)) => select.filter(sql::<Bool>("level = 3")),
            (level, _) => select.filter(rollups::level.eq(level as i16)),
        };
        if let Some(leads) = &stretch.leads {
            select = select.filter(rollups::lead.eq_any(columns(leads)));
        }
        let rows: Vec<(Micros, i32, Vec<u8>)> = select.load(connection)?;
        let count = i64::try_from(rows.len()).unwrap_or(0);
        if let Some((start, lead, _)) = rows.last() {
            from = (*start, *lead);
        }
        for (start, lead, bytes) in rows {
            let (start, lead) = (start.0.micros(), lead.unsigned_abs());
            take(RowKey { level: stretch.level, start, lead }, bytes)?;
        }
        if count < CELLS_AT_ONCE {
            return Ok(());
        }
    }
}

/// The figures of whole hours of applications: of the first `limit` rows of level 1, in their order.
pub(super) fn hours(
    connection: &mut AnyConnection,
    tenant: TenantId,
    stretch: &Stretch,
    limit: usize,
) -> QueryResult<Vec<(RowKey, Figures)>> {
    let mut select = application_hours::table
        .filter(application_hours::tenant_id.eq(tenant.0))
        .filter(application_hours::start.ge(micros(stretch.since)))
        .filter(application_hours::start.lt(micros(stretch.until)))
        .select((
            application_hours::start,
            application_hours::application,
            application_hours::figures,
        ))
        .order((application_hours::start, application_hours::application))
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .into_boxed();
    if let Some(leads) = &stretch.leads {
        select = select.filter(application_hours::application.eq_any(columns(leads)));
    }
    let rows: Vec<(Micros, i32, Vec<u8>)> = select.load(connection)?;
    rows.into_iter()
        .map(|(start, application, bytes)| {
            let (start, lead) = (start.0.micros(), application.unsigned_abs());
            let key = RowKey { level: Level::ApplicationHour, start, lead };
            Ok((key, Figures::decode(&bytes)?))
        })
        .collect()
}

/// Forgets some of a tenant's; tells whether there may be more.
pub(crate) fn clear_some_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<bool> {
    for level in LEVELS {
        let of_level = rollups::level.eq(level as i16);
        if clear_some!(connection, rollups, start: Micros, tenant, of_level) {
            return Ok(true);
        }
    }
    Ok(clear_some!(connection, application_hours, start: Micros, tenant))
}
