//! Rollups in their table: rows are read, added to and written back.

use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::cells::{self, Cells, Delta, LEVELS, Level, RowKey};
use super::codec::Damaged;
use super::summary::Figures;
use super::tally::Tally;
use crate::connection::AnyConnection;
use crate::projections::tables::{KEYS_AT_ONCE, clear_some, rollups, upsert};
use crate::tenants::TenantId;
use crate::types::Micros;

#[derive(Insertable)]
#[diesel(table_name = rollups, treat_none_as_default_value = false)]
struct RollupRow {
    tenant_id: i32,
    level: i16,
    start: Micros,
    lead: i32,
    summary: Option<Vec<u8>>,
    cells: Vec<u8>,
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
    for ((level, start), leads) in by_start {
        for some in leads.chunks(KEYS_AT_ONCE) {
            let mut known = load(connection, tenant, level, start, some)?;
            let mut rows = Vec::with_capacity(some.len());
            for lead in some {
                let key = RowKey { level, start, lead: *lead };
                let Some(new) = delta.get(&key) else {
                    continue;
                };
                let row = match known.remove(lead) {
                    None => row_of(tenant, key, new),
                    Some(bytes) => {
                        let mut all = cells::decode_cells(key, &bytes)?;
                        cells::add(&mut all, new);
                        row_of(tenant, key, &all)
                    }
                };
                rows.push(row);
            }
            upsert!(connection, rollups, &rows, (tenant_id, level, start, lead), (summary, cells));
        }
    }
    Ok(())
}

fn row_of(tenant: TenantId, key: RowKey, all: &Cells) -> RollupRow {
    let summary = (key.level == Level::ApplicationHour).then(|| {
        let mut whole = Tally::default();
        for tally in all.values() {
            whole.add(tally);
        }
        Figures::of(&whole).encode()
    });
    RollupRow {
        tenant_id: tenant.0,
        level: key.level as i16,
        start: micros(key.start),
        lead: column(key.lead),
        summary,
        cells: cells::encode(key.level, all),
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
        .filter(rollups::lead.eq_any(leads.iter().map(|lead| column(*lead))))
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

/// Summaries read at once: some dozens of bytes each.
const SUMMARIES_AT_ONCE: i64 = 16_000;

/// Hands every row's column to `take`: its cells, or its summary.
macro_rules! each {
    ($connection:expr, $tenant:expr, $stretch:expr, $column:ident, $type:ty, $at_once:expr, $take:expr) => {{
        let stretch = $stretch;
        let mut from = (micros(stretch.since), i32::MIN);
        loop {
            let mut select = rollups::table
                .filter(rollups::tenant_id.eq($tenant.0))
                .filter(rollups::start.lt(micros(stretch.until)))
                .filter(rollups::start.ge(from.0))
                .filter(rollups::start.gt(from.0).or(rollups::lead.gt(from.1)))
                .select((rollups::start, rollups::lead, rollups::$column))
                .order((rollups::start, rollups::lead))
                .limit($at_once)
                .into_boxed();
            select = match (stretch.level, &stretch.leads) {
                // As the partial index has it.
                (Level::DeviceDay, Some(_)) => select.filter(sql::<Bool>("level = 3")),
                (level, _) => select.filter(rollups::level.eq(level as i16)),
            };
            if let Some(leads) = &stretch.leads {
                let leads: Vec<i32> = leads.iter().map(|lead| column(*lead)).collect();
                select = select.filter(rollups::lead.eq_any(leads));
            }
            let rows: Vec<(Micros, i32, $type)> = select.load($connection)?;
            let count = i64::try_from(rows.len()).unwrap_or(0);
            if let Some((start, lead, _)) = rows.last() {
                from = (*start, *lead);
            }
            for (start, lead, bytes) in rows {
                let key = RowKey {
                    level: stretch.level,
                    start: start.0.micros(),
                    lead: lead.unsigned_abs(),
                };
                $take(key, bytes)?;
            }
            if count < $at_once {
                break;
            }
        }
    }};
}

/// Hands the cells of every row to `take`.
pub(super) fn each_cells<E: From<diesel::result::Error>>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    stretch: &Stretch,
    mut take: impl FnMut(RowKey, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    each!(connection, tenant, stretch, cells, Vec<u8>, CELLS_AT_ONCE, take);
    Ok(())
}

/// Hands the figures of every row of level 1 to `take`.
pub(super) fn each_summary<E: From<diesel::result::Error>>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    stretch: &Stretch,
    mut take: impl FnMut(RowKey, Figures) -> Result<(), E>,
) -> Result<(), E> {
    let mut take = |key, bytes: Option<Vec<u8>>| {
        let figures = Figures::decode(&bytes.unwrap_or_default());
        take(key, figures.map_err(diesel::result::Error::from)?)
    };
    each!(connection, tenant, stretch, summary, Option<Vec<u8>>, SUMMARIES_AT_ONCE, take);
    Ok(())
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
    Ok(false)
}
