//! One step: a run of events, taken in by the projections that stand before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::prelude::*;

use super::fact;
use super::names::{self, NameCache, Names, NewNames};
use super::read::in_snapshot;
use super::tables::{projections, upsert};
use super::{ALL, LEASE, Prepared};
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

/// Events that some projections take in, and all that this will write.
struct Run {
    tenant: TenantId,
    mark: i64,
    /// Where they stand afterwards.
    end: i64,
    count: usize,
    names: Names,
    new_names: NewNames,
    /// What each of the group is to write.
    prepared: Vec<(&'static str, Box<dyn Prepared>)>,
}

impl Run {
    /// The next events for those who stand at `mark`, no further than the next one ahead of them.
    /// `None` if there are none.
    fn prepare(
        connection: &mut AnyConnection,
        tenant: TenantId,
        mark: i64,
        events_max: usize,
        cache: &NameCache,
    ) -> QueryResult<Option<Self>> {
        let watermarks = watermarks(connection, tenant)?;
        let group = group_at(&watermarks, mark);
        let ahead = watermarks.values().copied().filter(|other| *other > mark).min();
        let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
        let facts = fact::read(connection, tenant, mark, ahead.unwrap_or(i64::MAX), limit)?;
        let (Some(last), false) = (facts.last(), group.is_empty()) else {
            return Ok(None);
        };
        let (end, count) = (last.id, facts.len());
        let (names, new_names) = names::give(connection, tenant, cache, &facts)?;
        let mut prepared = Vec::with_capacity(group.len());
        for projection in ALL.iter().filter(|projection| group.contains(&projection.name())) {
            let rows = projection.prepare(connection, tenant, &facts, &names)?;
            prepared.push((projection.name(), rows));
        }
        Ok(Some(Run { tenant, mark, end, count, names, new_names, prepared }))
    }

    /// Which part of which projection's rows is to be written, one after the other.
    fn parts(&self) -> Vec<(usize, usize)> {
        let parts = |(index, (_, rows)): (usize, &(_, Box<dyn Prepared>))| {
            (0..rows.parts()).map(move |part| (index, part))
        };
        self.prepared.iter().enumerate().flat_map(parts).collect()
    }

    /// Everything at once, for who has held the lease since it was prepared.
    fn write_in_txn(&self, connection: &mut AnyConnection) -> QueryResult<()> {
        self.new_names.write_in_txn(connection)?;
        self.parts().into_iter().try_for_each(|part| self.write_part_in_txn(connection, part))
    }

    /// A part of what a projection writes; with the last of them its watermark.
    fn write_part_in_txn(
        &self,
        connection: &mut AnyConnection,
        (index, part): (usize, usize),
    ) -> QueryResult<()> {
        let (name, rows) = &self.prepared[index];
        rows.write_part_in_txn(connection, part)?;
        if part + 1 == rows.parts() {
            set_watermark(connection, self.tenant, name, self.end)?;
        }
        Ok(())
    }

    /// The same, unless somebody has moved on since it was prepared; tells whether it was written.
    fn write_part_if_current_in_txn(
        &self,
        connection: &mut AnyConnection,
        part: (usize, usize),
    ) -> QueryResult<bool> {
        let (name, _) = self.prepared[part.0];
        if watermarks(connection, self.tenant)?.get(name) != Some(&self.mark) {
            return Ok(false);
        }
        // The first transaction has the names of all.
        if part == (0, 0) {
            if !self.new_names.are_free(connection)? {
                return Ok(false);
            }
            self.new_names.write_in_txn(connection)?;
        }
        self.write_part_in_txn(connection, part)?;
        Ok(true)
    }
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
    let of_tenant = || projections::table.filter(projections::tenant_id.eq(tenant.0));
    let row = || of_tenant().filter(projections::name.eq(LEASE));
    // An insert would wait for whoever holds the row: only where there is none.
    if !diesel::select(diesel::dsl::exists(row())).get_result::<bool>(postgres)? {
        diesel::insert_into(projections::table)
            .values(WatermarkRow { tenant_id: tenant.0, name: LEASE, watermark: 0 })
            .on_conflict_do_nothing()
            .execute(postgres)?;
    }
    let row = row().select(projections::watermark).for_update();
    let taken: Option<i64> = match wait {
        Wait::No => row.skip_locked().first(postgres).optional()?,
        Wait::Yes => row.first(postgres).optional()?,
    };
    Ok(taken.is_some())
}

/// A step, and how long it kept others from writing.
pub(super) struct Step {
    pub(super) progress: Progress,
    pub(super) turn: Duration,
}

impl Step {
    fn without_turn(progress: Progress) -> Self {
        Step { progress, turn: Duration::ZERO }
    }
}

impl Store {
    /// Lets the tenant's projections take in up to that many more events each. The store's own
    /// thread does this as events come. Blocks the thread.
    pub fn projections_step(
        &self,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Progress, StoreError> {
        Ok(self.projections_step_timed(tenant, events_max)?.progress)
    }

    /// The same, one transaction for each place at which projections stand; those furthest on first,
    /// so that one that is computed anew does not hold up the others.
    pub(super) fn projections_step_timed(
        &self,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Step, StoreError> {
        let places: BTreeSet<i64> =
            watermarks(&mut *self.reader()?, tenant)?.into_values().collect();
        let mut all = Step::without_turn(Progress::UpToDate);
        for mark in places.into_iter().rev() {
            let step = self.step_from(tenant, mark, events_max)?;
            all.turn = all.turn.max(step.turn);
            all.progress = match (all.progress, step.progress) {
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
    ) -> Result<Step, StoreError> {
        if mark == CLEARING {
            return self.clear_some(tenant);
        }
        let cache = self.names();
        if self.is_server() {
            // Everything under the lease: no one else prepares the same rows.
            let cache = Arc::clone(&cache);
            let run = self.write(move |connection| {
                connection.in_txn(|connection| {
                    if !lease_in_txn(connection, tenant, Wait::No)? {
                        return Ok(Err(Progress::Busy));
                    }
                    let run = Run::prepare(connection, tenant, mark, events_max, &cache)?;
                    if let Some(run) = &run {
                        run.write_in_txn(connection)?;
                    }
                    Ok::<_, StoreError>(run.ok_or(Progress::UpToDate))
                })
            })?;
            return Ok(Step::without_turn(self.taken(tenant, run)));
        }
        // Whatever else writes waits for the turn: all that is read and computed comes before it.
        let run = in_snapshot(&mut *self.reader()?, |connection| {
            Ok::<_, StoreError>(Run::prepare(connection, tenant, mark, events_max, &cache)?)
        })?;
        let Some(run) = run else {
            return Ok(Step::without_turn(Progress::UpToDate));
        };
        self.write_in_turns(run)
    }

    /// Each part in a turn of its own, so that appends wait for less. Projections whose turn a crash
    /// takes away stand further behind, and catch up by themselves.
    fn write_in_turns(&self, run: Run) -> Result<Step, StoreError> {
        let (run, mut turn) = (Arc::new(run), Duration::ZERO);
        for part in run.parts() {
            let work = Arc::clone(&run);
            let (is_written, time) = self.write(move |connection| {
                let begun = Instant::now();
                let is_written = connection.in_txn(|connection| {
                    Ok::<_, StoreError>(work.write_part_if_current_in_txn(connection, part)?)
                })?;
                Ok((is_written, begun.elapsed()))
            })?;
            // The size of a run changes nothing about that of one part of many.
            if run.prepared[part.0].1.parts() == 1 {
                turn = turn.max(time);
            }
            // Another process has moved on.
            if !is_written {
                return Ok(Step { progress: Progress::Busy, turn });
            }
        }
        self.names().remember(run.tenant, &run.names);
        Ok(Step { progress: Progress::Taken(run.count), turn })
    }

    /// What a run came to, once it is committed.
    fn taken(&self, tenant: TenantId, run: Result<Run, Progress>) -> Progress {
        match run {
            Ok(run) => {
                self.names().remember(tenant, &run.names);
                Progress::Taken(run.count)
            }
            Err(progress) => progress,
        }
    }

    /// Removes some of what those hold that are computed anew; the last of it lets them begin.
    fn clear_some(&self, tenant: TenantId) -> Result<Step, StoreError> {
        let progress = self.write(move |connection| {
            connection.in_txn(|connection| {
                if !lease_in_txn(connection, tenant, Wait::No)? {
                    return Ok(Progress::Busy);
                }
                let cleared = group_at(&watermarks(connection, tenant)?, CLEARING);
                for projection in ALL.iter().filter(|p| cleared.contains(&p.name())) {
                    if !projection.clear_some_in_txn(connection, tenant)? {
                        set_watermark(connection, tenant, projection.name(), 0)?;
                    }
                }
                Ok::<_, StoreError>(Progress::Cleared)
            })
        })?;
        Ok(Step::without_turn(progress))
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
        self.write(move |connection| {
            connection.in_txn(|connection| {
                lease_in_txn(connection, tenant, Wait::Yes)?;
                Ok(set_watermark(connection, tenant, projection.name(), CLEARING)?)
            })
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
