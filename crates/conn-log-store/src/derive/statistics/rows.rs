//! Rollups in their table: reads rows, adds to them and writes them back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use diesel::prelude::*;

use super::cells::{self, Cells, Delta};
use super::codec::{Devices, Reader, Writer};
use super::counts;
use super::figures::Figures;
use super::level::{DAY, LEVELS, Level, RowKey};
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
    whole: Option<Vec<u8>>,
    cells: Vec<u8>,
}

/// A row's bytes.
pub(super) struct Stored {
    whole: Option<Vec<u8>>,
    pub(super) cells: Vec<u8>,
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

/// The value of a name's number in the tables.
fn column(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn columns(numbers: &[u32]) -> Vec<i32> {
    numbers.iter().copied().map(column).collect()
}

fn micros(start: i64) -> Micros {
    Micros(Timestamp::from_micros(start))
}

/// Adds to the table, some rows at a time: so memory holds only a few of them.
pub(crate) fn add_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    delta: &Delta,
) -> QueryResult<()> {
    let mut by_start: BTreeMap<(Level, i64), Vec<u32>> = BTreeMap::new();
    for key in delta.cells.keys().chain(delta.counts.keys()) {
        by_start.entry((key.level, key.start)).or_default().push(key.lead);
    }
    let mut changed = Changed::default();
    for ((level, start), mut leads) in by_start {
        leads.sort_unstable();
        for some in leads.chunks(KEYS_AT_ONCE) {
            let mut known = load(connection, tenant, level, start, some)?;
            for lead in some {
                let key = RowKey { level, start, lead: *lead };
                changed.add(tenant, key, known.remove(lead), delta)?;
            }
            // If events are spread over a month, each hour has only a few.
            if changed.rows.len() >= ROWS_AT_ONCE {
                std::mem::take(&mut changed).write_in_txn(connection)?;
            }
        }
    }
    changed.write_in_txn(connection)
}

/// Rows to write, of any hours.
#[derive(Default)]
struct Changed {
    rows: Vec<RollupRow>,
    hours: Vec<HourRow>,
}

impl Changed {
    /// Adds to a row whose bytes in the table are `known`.
    fn add(
        &mut self,
        tenant: TenantId,
        key: RowKey,
        known: Option<Stored>,
        delta: &Delta,
    ) -> QueryResult<()> {
        if let Some(more) = delta.counts.get(&key) {
            let before = known.map_or_else(Vec::new, |known| known.cells);
            self.rows.push(RollupRow::new(tenant, key, None, counts::merge(&before, more)?));
            return Ok(());
        }
        let Some(new) = delta.cells.get(&key) else {
            return Ok(());
        };
        let known_whole = known.as_ref().and_then(|known| known.whole.as_deref());
        let whole = whole_of(key, known_whole, new)?;
        let sum = match known {
            None => Cow::Borrowed(new),
            Some(known) => {
                let mut sum = cells::decode(key, &known.cells)?;
                cells::add(&mut sum, new);
                Cow::Owned(sum)
            }
        };
        let cells = cells::encode(key.level, &sum);
        self.rows.push(RollupRow::new(tenant, key, whole, cells));
        if key.level == Level::ApplicationHour {
            self.hours.push(hour_of(tenant, key, &sum));
        }
        Ok(())
    }

    fn write_in_txn(self, connection: &mut AnyConnection) -> QueryResult<()> {
        upsert!(
            connection,
            rollups,
            &self.rows,
            key: (tenant_id, level, start, lead),
            set: (whole, cells)
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

impl RollupRow {
    fn new(tenant: TenantId, key: RowKey, whole: Option<Vec<u8>>, cells: Vec<u8>) -> Self {
        RollupRow {
            tenant_id: tenant.0,
            level: key.level as i16,
            start: micros(key.start),
            lead: column(key.lead),
            whole,
            cells,
        }
    }
}

fn hour_of(tenant: TenantId, key: RowKey, all: &Cells) -> HourRow {
    HourRow {
        tenant_id: tenant.0,
        start: micros(key.start),
        application: column(key.lead),
        figures: Figures::of(&cells::whole(all)).encode(),
    }
}

/// The sum of a device's row, stored beside its cells: new cells are added to it, without a new sum
/// of all cells.
fn whole_of(key: RowKey, known: Option<&[u8]>, new: &Cells) -> QueryResult<Option<Vec<u8>>> {
    if !key.level.is_of_device() {
        return Ok(None);
    }
    let mut whole = cells::whole(new);
    if let Some(bytes) = known {
        Reader(bytes).add_tally(Devices::Unsaid, &mut whole)?;
    }
    let mut writer = Writer::default();
    writer.tally(&whole, false);
    Ok(Some(writer.0))
}

/// Reads those rows that exist.
pub(super) fn load(
    connection: &mut AnyConnection,
    tenant: TenantId,
    level: Level,
    start: i64,
    leads: &[u32],
) -> QueryResult<BTreeMap<u32, Stored>> {
    let rows: Vec<(i32, Option<Vec<u8>>, Vec<u8>)> = rollups::table
        .filter(rollups::tenant_id.eq(tenant.0))
        .filter(rollups::level.eq(level as i16))
        .filter(rollups::start.eq(micros(start)))
        .filter(rollups::lead.eq_any(columns(leads)))
        .select((rollups::lead, rollups::whole, rollups::cells))
        .load(connection)?;
    let stored = |(lead, whole, cells): (i32, _, _)| (lead.unsigned_abs(), Stored { whole, cells });
    Ok(rows.into_iter().map(stored).collect())
}

/// A selection of rows: those of a level that begin within a range of time, with some leads or with
/// all.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) level: Level,
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) leads: Option<Vec<u32>>,
    pub(super) bytes: Bytes,
}

/// The column of a row to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    Cells,
    /// Its sum, in the column after the cells: SQLite does not read the cells for it.
    Whole,
}

/// Rows read at once: each has up to some KiB.
const ROWS_READ_AT_ONCE: i64 = 2_000;

/// Days whose rows of some devices are looked up at once. The key leads with the day: an index led
/// by the device would have each day's rows at as many places as there are devices.
const DAYS_AT_ONCE: i64 = 500;

/// Passes the bytes of every row to `take`.
pub(super) fn each_row<E: From<diesel::result::Error>>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    stretch: &Stretch,
    mut take: impl FnMut(RowKey, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut since = stretch.since;
    while since < stretch.until {
        let is_by_day = stretch.level.is_of_device() && stretch.leads.is_some();
        let until =
            if is_by_day { stretch.until.min(since + DAYS_AT_ONCE * DAY) } else { stretch.until };
        each_row_within(connection, tenant, stretch, (since, until), &mut take)?;
        since = until;
    }
    Ok(())
}

/// Passes the bytes of the rows that begin within a part of the stretch.
fn each_row_within<E: From<diesel::result::Error>>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    stretch: &Stretch,
    (since, until): (i64, i64),
    take: &mut impl FnMut(RowKey, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = (micros(since), i32::MIN);
    loop {
        let select = rollups::table
            .filter(rollups::tenant_id.eq(tenant.0))
            .filter(rollups::start.lt(micros(until)))
            .filter(rollups::start.ge(from.0))
            .filter(rollups::start.gt(from.0).or(rollups::lead.gt(from.1)))
            .order((rollups::start, rollups::lead))
            .limit(ROWS_READ_AT_ONCE);
        let key = (rollups::start, rollups::lead);
        let mut select = match stretch.bytes {
            Bytes::Cells => select.select((key.0, key.1, rollups::cells.nullable())).into_boxed(),
            Bytes::Whole => select.select((key.0, key.1, rollups::whole)).into_boxed(),
        };
        select = select.filter(rollups::level.eq(stretch.level as i16));
        if let Some(leads) = &stretch.leads {
            if stretch.level.is_of_device() {
                let first = Level::DeviceDay.start(from.0.0.micros());
                let days = (0..).map(|day| first + day * DAY).take_while(|day| *day < until);
                select = select.filter(rollups::start.eq_any(days.map(micros)));
            }
            select = select.filter(rollups::lead.eq_any(columns(leads)));
        }
        let rows: Vec<(Micros, i32, Option<Vec<u8>>)> = select.load(connection)?;
        let count = i64::try_from(rows.len()).unwrap_or(0);
        if let Some((start, lead, _)) = rows.last() {
            from = (*start, *lead);
        }
        for (start, lead, bytes) in rows {
            let (start, lead) = (start.0.micros(), lead.unsigned_abs());
            take(RowKey { level: stretch.level, start, lead }, bytes.unwrap_or_default())?;
        }
        if count < ROWS_READ_AT_ONCE {
            return Ok(());
        }
    }
}

/// Reads the figures of whole hours of applications: of the first `limit` rows of level 1, in their
/// order.
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

/// The time range of the events in the rollups, in whole days. `None` if there are no rows.
pub(super) fn extent(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<Option<(i64, i64)>> {
    // A day has no row without its row of all events. Naming that one's lead would have SQLite look for it in every row.
    let days = rollups::table
        .filter(rollups::tenant_id.eq(tenant.0))
        .filter(rollups::level.eq(Level::Day as i16))
        .select(rollups::start)
        .limit(1);
    let first: Option<Micros> = days.order(rollups::start.asc()).first(connection).optional()?;
    let last: Option<Micros> = days.order(rollups::start.desc()).first(connection).optional()?;
    Ok(first.zip(last).map(|(first, last)| (first.0.micros(), last.0.micros() + DAY)))
}

/// Deletes some rows of a tenant; returns whether there may be more.
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
