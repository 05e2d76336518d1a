//! One step: a run of events, taken in by the projections that stand before it.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::ALL;
use super::fact::{self, Facts};
use super::names::{self, NameCache, Names};
use super::tables::{projections, upsert};
use crate::connection::AnyConnection;
use crate::derived::{anchor_in_txn, forget_anchor_in_txn};
use crate::error::StoreError;
use crate::lease::Lease;
use crate::schema::heads;
use crate::store::Store;
use crate::tenants::TenantId;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// That many events were taken in.
    Taken(usize),
    /// Some rows of a projection that is computed anew were removed.
    Cleared,
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

/// The last id that each projection has taken in, or [`CLEARING`].
pub(super) type Watermarks = BTreeMap<&'static str, i64>;

/// The watermark of a projection that is computed anew and still holds rows from before.
pub(super) const CLEARING: i64 = -1;

/// The events that follow `mark`, no further than the next projection ahead of it.
fn next_facts(
    connection: &mut AnyConnection,
    tenant: TenantId,
    mark: i64,
    events_max: usize,
) -> QueryResult<Facts> {
    let marks = watermarks(connection, tenant)?;
    let ahead = marks.values().copied().filter(|other| *other > mark).min();
    let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
    fact::read(connection, tenant, mark, ahead.unwrap_or(i64::MAX), limit)
}

/// Has those who stand at `mark` take in what follows it, which may have been read before: how many
/// events they were, and their names. `None` if there are none, or nobody stands there any more.
fn take_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    mark: i64,
    events_max: usize,
    facts: Option<Facts>,
    cache: &NameCache,
) -> QueryResult<Option<(usize, Names)>> {
    let group = group_at(&watermarks(connection, tenant)?, mark);
    let facts = match facts {
        Some(facts) => facts,
        None => next_facts(connection, tenant, mark, events_max)?,
    };
    let (Some(last_id), false) = (facts.last_id(), group.is_empty()) else {
        return Ok(None);
    };
    let names = names::give_in_txn(connection, tenant, cache, facts.names())?;
    let facts = facts.numbered(&names);
    for projection in ALL.iter().filter(|projection| group.contains(&projection.name())) {
        projection.take_in_txn(connection, tenant, &facts, &names)?;
        set_watermark(connection, tenant, projection.name(), last_id)?;
        anchor_in_txn(connection, tenant, projection.name(), last_id)?;
    }
    Ok(Some((facts.len(), names)))
}

/// Who stands there.
fn group_at(watermarks: &Watermarks, mark: i64) -> Vec<&'static str> {
    watermarks.iter().filter(|(_, other)| **other == mark).map(|(name, _)| *name).collect()
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
#[diesel(table_name = projections, treat_none_as_default_value = false)]
struct WatermarkRow<'a> {
    tenant_id: i32,
    name: &'a str,
    watermark: i64,
}

fn set_watermark(
    connection: &mut AnyConnection,
    tenant: TenantId,
    name: &str,
    watermark: i64,
) -> QueryResult<()> {
    let row = WatermarkRow { tenant_id: tenant.0, name, watermark };
    upsert!(connection, projections, &[row], key: (tenant_id, name), set: (watermark));
    Ok(())
}

impl Store {
    /// Lets the tenant's projections take in up to that many more events each, in a transaction for each
    /// place at which they stand; those furthest on first, so that one that is computed anew does not
    /// hold up the others. The store's own thread does this as events come. Blocks the thread.
    pub fn projections_step(
        &self,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Progress, StoreError> {
        let places: BTreeSet<i64> =
            watermarks(&mut *self.reader()?, tenant)?.into_values().collect();
        let mut all = Progress::UpToDate;
        for mark in places.into_iter().rev() {
            all = match (all, self.step_from(tenant, mark, events_max)?) {
                (Progress::Taken(some), Progress::Taken(more)) => Progress::Taken(some + more),
                (Progress::UpToDate | Progress::Busy, other) | (other, _) => other,
            };
        }
        Ok(all)
    }

    /// One transaction: those who stand at that place take in what follows it.
    pub(super) fn step_from(
        &self,
        tenant: TenantId,
        mark: i64,
        events_max: usize,
    ) -> Result<Progress, StoreError> {
        if mark == CLEARING {
            return self.clear_some(tenant);
        }
        let cache = self.names();
        // On SQLite who reads the log keeps its write-ahead log from beginning anew: not for as long as
        // the step writes. On PostgreSQL who has no lease need not read.
        let facts = if self.is_embedded() {
            Some(next_facts(&mut *self.reader()?, tenant, mark, events_max)?)
        } else {
            None
        };
        let taken = self.derive_alone(tenant, Lease::Projections, |connection| {
            Ok(take_in_txn(connection, tenant, mark, events_max, facts, &cache)?)
        })?;
        match taken {
            None => Ok(Progress::Busy),
            Some(None) => Ok(Progress::UpToDate),
            Some(Some((count, names))) => {
                // What was rolled back is remembered by nobody.
                cache.remember(tenant, &names);
                Ok(Progress::Taken(count))
            }
        }
    }

    /// Removes some of what those hold that are computed anew; the last of it lets them begin.
    fn clear_some(&self, tenant: TenantId) -> Result<Progress, StoreError> {
        let done = self.derive_alone(tenant, Lease::Projections, |connection| {
            let cleared = group_at(&watermarks(connection, tenant)?, CLEARING);
            for projection in ALL.iter().filter(|p| cleared.contains(&p.name())) {
                if !projection.clear_some_in_txn(connection, tenant)? {
                    set_watermark(connection, tenant, projection.name(), 0)?;
                }
            }
            Ok(Progress::Cleared)
        })?;
        Ok(done.unwrap_or(Progress::Busy))
    }

    /// Has a projection of that tenant forget everything and computed anew from the log, by the steps
    /// that follow. Until it is, reads of it take part in the work or are told to come back. Blocks the
    /// thread.
    pub fn projection_reset(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Result<(), UnknownProjection>, StoreError> {
        let Some(projection) = ALL.iter().find(|projection| projection.name() == name) else {
            return Ok(Err(UnknownProjection(name.to_owned())));
        };
        self.derive_in_turn(tenant, Lease::Projections, |connection| {
            Ok(forget_in_txn(connection, tenant, projection.name())?)
        })?;
        Ok(Ok(()))
    }

    /// Events of the log that the slowest of the tenant's projections has not taken in. Blocks the
    /// thread.
    pub fn projections_behind(&self, tenant: TenantId) -> Result<i64, StoreError> {
        let connection = &mut *self.reader()?;
        let lowest = watermarks(connection, tenant)?.values().copied().min().unwrap_or(0).max(0);
        let size: i64 = heads::table.find(tenant.0).select(heads::size).first(connection)?;
        Ok(size.saturating_sub(lowest))
    }

    /// Tenants with events that a projection has not taken in.
    pub(super) fn projections_due(&self) -> Result<Vec<TenantId>, StoreError> {
        let connection = &mut *self.reader()?;
        let mut due = behind_by_tenant(connection)?;
        due.retain(|_, events| *events > 0);
        // One that is to forget what it holds has something to do, however short the log.
        let clearing: Vec<i32> = projections::table
            .filter(projections::watermark.eq(CLEARING))
            .select(projections::tenant_id)
            .load(connection)?;
        due.extend(clearing.into_iter().map(|tenant| (TenantId(tenant), 0)));
        Ok(due.into_keys().collect())
    }
}

/// Has a projection forget what it holds, by the steps that follow.
pub(crate) fn forget_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    name: &str,
) -> QueryResult<()> {
    forget_anchor_in_txn(connection, tenant, name)?;
    set_watermark(connection, tenant, name, CLEARING)
}

/// Of each tenant, the events that its slowest projection has not taken in.
pub(crate) fn behind_by_tenant(
    connection: &mut AnyConnection,
) -> QueryResult<BTreeMap<TenantId, i64>> {
    // Read first: no watermark is beyond a size that is read later.
    let rows: Vec<(i32, String, i64)> = projections::table.load(connection)?;
    let sizes: Vec<(i32, i64)> =
        heads::table.select((heads::tenant_id, heads::size)).load(connection)?;
    let mut known: BTreeMap<i32, (usize, i64)> = BTreeMap::new();
    for (tenant, name, watermark) in rows {
        if ALL.iter().any(|projection| projection.name() == name) {
            let (count, lowest) = known.entry(tenant).or_insert((0, i64::MAX));
            *count += 1;
            *lowest = watermark.min(*lowest);
        }
    }
    let behind = |(tenant, size): (i32, i64)| {
        // One without a watermark has not begun.
        let lowest = known.get(&tenant).filter(|(count, _)| *count == ALL.len());
        (TenantId(tenant), size - lowest.map_or(0, |(_, lowest)| (*lowest).max(0)))
    };
    Ok(sizes.into_iter().map(behind).collect())
}
