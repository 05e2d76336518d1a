//! One step: a run of events, taken in by the projections that stand before it.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::fact::{self, Fact};
use super::names::{self, NameCache, Names};
use super::tables::{projections, upsert};
use super::{ALL, LEASE};
use crate::connection::AnyConnection;
use crate::error::StoreError;
use crate::schema::heads;
use crate::store::Store;
use crate::tenants::TenantId;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// That many events were taken in.
    Taken(usize),
    /// There was none.
    UpToDate,
    /// Someone else is at work on this tenant's projections.
    Busy,
}

/// A name that no projection has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a projection; the projections are {known}", known = known_names())]
pub struct UnknownProjection(pub String);

fn known_names() -> String {
    ALL.iter().map(|projection| projection.name()).collect::<Vec<_>>().join(", ")
}

/// The last id that each projection has taken in.
pub(super) type Watermarks = BTreeMap<&'static str, i64>;

/// Events, and who stands before them.
struct Run {
    watermarks: Watermarks,
    facts: Vec<Fact>,
}

impl Run {
    /// The next run: from the lowest watermark on, no further than the next higher one.
    fn read(
        connection: &mut AnyConnection,
        tenant: TenantId,
        events_max: usize,
    ) -> QueryResult<Self> {
        let watermarks = watermarks(connection, tenant)?;
        let lowest = watermarks.values().copied().min().unwrap_or(0);
        let next = watermarks.values().copied().filter(|mark| *mark > lowest).min();
        let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
        let until = next.unwrap_or(i64::MAX);
        let facts = fact::read(connection, tenant, lowest, until, limit)?;
        Ok(Run { watermarks, facts })
    }

    /// Where those that take it in stand afterwards.
    fn end(&self) -> Option<i64> {
        self.facts.last().map(|fact| fact.id)
    }

    fn apply_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        cache: &NameCache,
    ) -> QueryResult<Names> {
        let Some(end) = self.end() else {
            return Ok(Names::default());
        };
        let names = names::give_in_txn(connection, tenant, cache, &self.facts)?;
        let lowest = self.watermarks.values().copied().min();
        for projection in ALL {
            let watermark = self.watermarks.get(projection.name()).copied();
            if watermark == lowest {
                projection.apply_in_txn(connection, tenant, &self.facts, &names)?;
                set_watermark(connection, tenant, projection.name(), end)?;
            }
        }
        Ok(names)
    }
}

/// The watermark of every projection of a tenant.
pub(super) fn watermarks(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<Watermarks> {
    let rows: Vec<(String, i64)> = projections::table
        .filter(projections::tenant_id.eq(tenant.0))
        .select((projections::name, projections::watermark))
        .load(connection)?;
    let of = |name| rows.iter().find(|row| row.0 == name).map_or(0, |row| row.1);
    Ok(ALL.iter().map(|projection| (projection.name(), of(projection.name()))).collect())
}

#[derive(Insertable)]
#[diesel(table_name = projections)]
struct WatermarkRow {
    tenant_id: i32,
    name: &'static str,
    watermark: i64,
}

fn set_watermark(
    connection: &mut AnyConnection,
    tenant: TenantId,
    name: &'static str,
    watermark: i64,
) -> QueryResult<()> {
    let row = WatermarkRow { tenant_id: tenant.0, name, watermark };
    upsert!(connection, projections, &[row], (tenant_id, name), (watermark));
    Ok(())
}

/// What to do where another holds the lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    Yes,
}

/// Takes the right to work on a tenant's projections until the transaction ends; tells whether it
/// was to be had. On SQLite whoever writes has it.
fn lease_in_txn(connection: &mut AnyConnection, tenant: TenantId, wait: Wait) -> QueryResult<bool> {
    let AnyConnection::Postgres(postgres) = connection else {
        return Ok(true);
    };
    diesel::insert_into(projections::table)
        .values(WatermarkRow { tenant_id: tenant.0, name: LEASE, watermark: 0 })
        .on_conflict_do_nothing()
        .execute(postgres)?;
    let row = projections::table
        .filter(projections::tenant_id.eq(tenant.0))
        .filter(projections::name.eq(LEASE))
        .select(projections::watermark)
        .for_update();
    let taken: Option<i64> = match wait {
        Wait::No => row.skip_locked().first(postgres).optional()?,
        Wait::Yes => row.first(postgres).optional()?,
    };
    Ok(taken.is_some())
}

impl Store {
    /// Lets the tenant's projections take in up to that many more events, in one transaction. The
    /// store's own thread does this as events come. Blocks the thread.
    pub fn projections_step(
        &self,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Progress, StoreError> {
        let cache = self.names();
        // On SQLite everything else that writes waits for the turn: the run is read before it.
        let read = if self.is_server() {
            None
        } else {
            Some(Run::read(&mut *self.reader()?, tenant, events_max)?)
        };
        if read.as_ref().is_some_and(|run| run.facts.is_empty()) {
            return Ok(Progress::UpToDate);
        }
        let given = std::sync::Arc::clone(&cache);
        let (progress, names) = self.write(move |connection| {
            connection.in_txn(|connection| {
                let busy = (Progress::Busy, Names::default());
                if !lease_in_txn(connection, tenant, Wait::No)? {
                    return Ok(busy);
                }
                let run = match read {
                    // Another process has moved on since it was read.
                    Some(run) if run.watermarks != watermarks(connection, tenant)? => {
                        return Ok(busy);
                    }
                    Some(run) => run,
                    None => Run::read(connection, tenant, events_max)?,
                };
                let names = run.apply_in_txn(connection, tenant, &given)?;
                let progress = match run.facts.len() {
                    0 => Progress::UpToDate,
                    count => Progress::Taken(count),
                };
                Ok::<_, StoreError>((progress, names))
            })
        })?;
        cache.remember(tenant, &names);
        Ok(progress)
    }

    /// Makes a projection of that tenant forget everything, so that it is computed anew from the
    /// log, by the steps that follow. Blocks the thread.
    pub fn projection_reset(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Result<(), UnknownProjection>, StoreError> {
        let Some(projection) = ALL.iter().find(|projection| projection.name() == name) else {
            return Ok(Err(UnknownProjection(name.to_owned())));
        };
        self.write(move |connection| {
            connection.in_txn(|connection| {
                lease_in_txn(connection, tenant, Wait::Yes)?;
                projection.clear_in_txn(connection, tenant)?;
                Ok(set_watermark(connection, tenant, projection.name(), 0)?)
            })
        })?;
        Ok(Ok(()))
    }

    /// Events of the log that the slowest of the tenant's projections has not taken in. Blocks the
    /// thread.
    pub fn projections_behind(&self, tenant: TenantId) -> Result<i64, StoreError> {
        let connection = &mut *self.reader()?;
        let lowest = watermarks(connection, tenant)?.values().copied().min().unwrap_or(0);
        let size: i64 = heads::table.find(tenant.0).select(heads::size).first(connection)?;
        Ok(size.saturating_sub(lowest))
    }

    /// Tenants with events that a projection has not taken in.
    pub(super) fn projections_due(&self) -> Result<Vec<TenantId>, StoreError> {
        let connection = &mut *self.reader()?;
        let sizes: Vec<(i32, i64)> =
            heads::table.select((heads::tenant_id, heads::size)).load(connection)?;
        let rows: Vec<(i32, String, i64)> = projections::table.load(connection)?;
        let mut lowest: BTreeMap<i32, (usize, i64)> = BTreeMap::new();
        for (tenant, name, watermark) in rows {
            if ALL.iter().any(|projection| projection.name() == name) {
                let (count, low) = lowest.entry(tenant).or_insert((0, i64::MAX));
                *count += 1;
                *low = watermark.min(*low);
            }
        }
        let is_due = |(tenant, size): &(i32, i64)| match lowest.get(tenant) {
            Some((count, low)) => *count < ALL.len() && *size > 0 || low < size,
            None => *size > 0,
        };
        Ok(sizes.iter().filter(|row| is_due(row)).map(|(tenant, _)| TenantId(*tenant)).collect())
    }
}
