//! Writing and finding runs: what happens to the two tables, a transaction at a time.
//!
//! A run's row comes first, as [`State::Writing`], then its blocks, and last, in one transaction, the
//! change to [`State::Ready`], which takes the place of the runs that it was merged from. A crash
//! leaves at most a run that no reader looks at, and that the next start removes.

use diesel::prelude::*;

use super::INDEX;
use super::block::Block;
use super::tables::{Run, State, index_blocks as blocks, index_runs as runs};
use crate::connection::AnyConnection;
use crate::derived::{anchor_in_txn, forget_anchor_in_txn};
use crate::error::StoreError;
use crate::schema::heads;
use crate::tenants::TenantId;
use crate::types::Micros;

/// A run to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRun {
    pub(super) tenant: TenantId,
    pub(super) level: i16,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) timestamp_min: Micros,
    pub(super) timestamp_max: Micros,
}

/// The runs in use, in the order of the log. They follow each other without a gap, from the first
/// event on.
pub(super) fn ready(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<Vec<Run>, StoreError> {
    Ok(runs::table
        .filter(runs::tenant_id.eq(tenant.0))
        .filter(runs::state.eq(State::Ready as i16))
        .order(runs::first_id)
        .select(Run::as_select())
        .load(connection)?)
}

/// The last id that the index knows; 0 if it knows none.
pub(super) fn indexed_to(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<i64, StoreError> {
    let last: Option<i64> = runs::table
        .filter(runs::tenant_id.eq(tenant.0))
        .filter(runs::state.eq(State::Ready as i16))
        .order(runs::first_id.desc())
        .select(runs::last_id)
        .first(connection)
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// Events that the index does not know yet, of all logs.
pub(crate) fn behind(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let mut behind = 0;
    for (tenant, size) in sizes(connection)? {
        behind += (size - indexed_to(connection, tenant)?).max(0);
    }
    Ok(behind)
}

/// The size of each log.
pub(super) fn sizes(connection: &mut AnyConnection) -> Result<Vec<(TenantId, i64)>, StoreError> {
    let rows: Vec<(i32, i64)> =
        heads::table.select((heads::tenant_id, heads::size)).load(connection)?;
    Ok(rows.into_iter().map(|(tenant, size)| (TenantId(tenant), size)).collect())
}

/// Begins a run; gives its number.
pub(super) fn begin_in_txn(connection: &mut AnyConnection, new: NewRun) -> QueryResult<i64> {
    diesel::insert_into(runs::table)
        .values((
            runs::tenant_id.eq(new.tenant.0),
            runs::level.eq(new.level),
            runs::state.eq(State::Writing as i16),
            runs::first_id.eq(new.first_id),
            runs::last_id.eq(new.last_id),
            runs::timestamp_min.eq(new.timestamp_min),
            runs::timestamp_max.eq(new.timestamp_max),
        ))
        .execute(connection)?;
    // Numbers only grow, and no one else writes during this transaction.
    runs::table
        .select(diesel::dsl::max(runs::run))
        .first::<Option<i64>>(connection)?
        .ok_or(diesel::result::Error::NotFound)
}

pub(super) fn write_in_txn(
    connection: &mut AnyConnection,
    run: i64,
    new: &[Block],
) -> Result<(), StoreError> {
    let is_writing =
        runs::table.filter(runs::run.eq(run)).filter(runs::state.eq(State::Writing as i16));
    if !diesel::select(diesel::dsl::exists(is_writing)).get_result::<bool>(connection)? {
        // Another process has dropped it: no one would ever remove the blocks.
        return Err(StoreError::Unavailable("the index was changed meanwhile".to_owned()));
    }
    for block in new {
        diesel::insert_into(blocks::table)
            .values((
                blocks::run.eq(run),
                blocks::first_key.eq(&block.first_key),
                blocks::entries.eq(&block.entries),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Brings a run into use in place of `merged`; `false` if something has happened to any of them
/// since: another process that has the file open may have been quicker, or dropped the index.
pub(super) fn finish_in_txn(
    connection: &mut AnyConnection,
    run: i64,
    new: &NewRun,
    block_count: usize,
    merged: &[i64],
) -> Result<bool, StoreError> {
    let written: i64 = blocks::table.filter(blocks::run.eq(run)).count().get_result(connection)?;
    if usize::try_from(written).ok() != Some(block_count) {
        return Ok(false);
    }
    if merged.is_empty() {
        if indexed_to(connection, new.tenant)? + 1 != new.first_id {
            return Ok(false);
        }
        anchor_in_txn(connection, new.tenant, INDEX, new.last_id)?;
    } else {
        let dropped = diesel::update(
            runs::table
                .filter(runs::run.eq_any(merged))
                .filter(runs::state.eq(State::Ready as i16)),
        )
        .set(runs::state.eq(State::Dropped as i16))
        .execute(connection)?;
        if dropped != merged.len() {
            return Ok(false);
        }
    }
    let is_there = diesel::update(runs::table.find(run))
        .set(runs::state.eq(State::Ready as i16))
        .execute(connection)?;
    Ok(is_there == 1)
}

/// Takes every run of every log out of use.
pub(super) fn drop_all_in_txn(connection: &mut AnyConnection) -> QueryResult<usize> {
    diesel::update(runs::table).set(runs::state.eq(State::Dropped as i16)).execute(connection)
}

/// The same of one log.
pub(crate) fn forget_in_txn(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<()> {
    diesel::update(runs::table.filter(runs::tenant_id.eq(tenant.0)))
        .set(runs::state.eq(State::Dropped as i16))
        .execute(connection)?;
    forget_anchor_in_txn(connection, tenant, INDEX)
}

/// Takes the runs that a crash left unfinished out of the way.
pub(super) fn drop_unfinished_in_txn(connection: &mut AnyConnection) -> QueryResult<usize> {
    diesel::update(runs::table.filter(runs::state.eq(State::Writing as i16)))
        .set(runs::state.eq(State::Dropped as i16))
        .execute(connection)
}

/// Whether any run is out of use and not removed yet.
pub(super) fn has_dropped(connection: &mut AnyConnection) -> QueryResult<bool> {
    let some = runs::table.filter(runs::state.eq(State::Dropped as i16));
    diesel::select(diesel::dsl::exists(some)).get_result(connection)
}

/// Removes up to `limit` blocks of one run that is out of use, and the run with its last. `false` if
/// there is no such run.
pub(super) fn remove_in_txn(connection: &mut AnyConnection, limit: i64) -> QueryResult<bool> {
    let dropped: Option<i64> = runs::table
        .filter(runs::state.eq(State::Dropped as i16))
        .select(runs::run)
        .first(connection)
        .optional()?;
    let Some(run) = dropped else {
        return Ok(false);
    };
    let some: Vec<i64> = blocks::table
        .filter(blocks::run.eq(run))
        .order(blocks::first_key)
        .limit(limit)
        .select(blocks::block)
        .load(connection)?;
    if some.is_empty() {
        diesel::delete(runs::table.find(run)).execute(connection)?;
    }
    diesel::delete(blocks::table.filter(blocks::block.eq_any(some))).execute(connection)?;
    Ok(true)
}

/// A block's first key and its bytes.
type Found = (Vec<u8>, Vec<u8>);

/// The block in which a place lies, if any is at or before it.
pub(super) fn block_at(
    connection: &mut AnyConnection,
    run: i64,
    place: &[u8],
) -> Result<Option<Found>, StoreError> {
    Ok(blocks::table
        .filter(blocks::run.eq(run))
        .filter(blocks::first_key.le(place))
        .order(blocks::first_key.desc())
        .select((blocks::first_key, blocks::entries))
        .first(connection)
        .optional()?)
}

/// Up to `limit` blocks that begin after one place and before another.
pub(super) fn blocks_between(
    connection: &mut AnyConnection,
    run: i64,
    after: &[u8],
    before: &[u8],
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    Ok(blocks::table
        .filter(blocks::run.eq(run))
        .filter(blocks::first_key.gt(after))
        .filter(blocks::first_key.lt(before))
        .order(blocks::first_key)
        .limit(limit)
        .select((blocks::first_key, blocks::entries))
        .load(connection)?)
}

/// The block that begins last before a place.
pub(super) fn block_before(
    connection: &mut AnyConnection,
    run: i64,
    before: &[u8],
) -> Result<Option<Found>, StoreError> {
    Ok(blocks::table
        .filter(blocks::run.eq(run))
        .filter(blocks::first_key.lt(before))
        .order(blocks::first_key.desc())
        .select((blocks::first_key, blocks::entries))
        .first(connection)
        .optional()?)
}

/// How many blocks begin within a range: about how much there is in it.
pub(super) fn count_between(
    connection: &mut AnyConnection,
    run: i64,
    from: &[u8],
    to: &[u8],
) -> Result<i64, StoreError> {
    Ok(blocks::table
        .filter(blocks::run.eq(run))
        .filter(blocks::first_key.ge(from))
        .filter(blocks::first_key.lt(to))
        .count()
        .get_result(connection)?)
}
