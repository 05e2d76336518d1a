//! Writes and finds runs: the SQL on the two tables.
//!
//! A run is created in one transaction: its row, its blocks, and the removal of the runs that it
//! replaces. So a reader sees all of the change or nothing.

use diesel::prelude::*;

use super::block::Block;
use super::tables::{BlockRow, NewRun, Run, index_blocks as blocks, index_runs as runs};
use crate::engine::{AnyConnection, insert_all};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The runs of a log, in its order. They follow each other without a gap, from the first event on.
pub(super) fn of_log(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<Vec<Run>, StoreError> {
    Ok(runs::table
        .filter(runs::tenant_id.eq(tenant.0))
        .order(runs::first_id)
        .select(Run::as_select())
        .load(connection)?)
}

/// The last id in the index; 0 if the index is empty.
#[cfg(test)]
pub(super) fn indexed_to(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<i64, StoreError> {
    let last: Option<i64> = runs::table
        .filter(runs::tenant_id.eq(tenant.0))
        .order(runs::first_id.desc())
        .select(runs::last_id)
        .first(connection)
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// Creates a run's row; returns its number, which is higher than those of all runs of the log.
pub(super) fn begin_in_txn(connection: &mut AnyConnection, new: NewRun) -> QueryResult<i64> {
    let last: Option<i64> = runs::table
        .filter(runs::tenant_id.eq(new.tenant_id))
        .select(diesel::dsl::max(runs::run))
        .first(connection)?;
    let run = last.unwrap_or(0) + 1;
    diesel::insert_into(runs::table).values((runs::run.eq(run), new)).execute(connection)?;
    Ok(run)
}

/// Writes some of a run's blocks.
pub(super) fn write_in_txn(
    connection: &mut AnyConnection,
    tenant: i32,
    run: i64,
    new: &[Block],
) -> QueryResult<()> {
    let rows = new.iter().map(|Block { first_key, entries }| BlockRow {
        tenant_id: tenant,
        run,
        first_key,
        entries,
    });
    insert_all!(connection, blocks, rows);
    Ok(())
}

/// Removes runs of a log.
pub(super) fn remove_in_txn(
    connection: &mut AnyConnection,
    tenant: i32,
    some: &[i64],
) -> QueryResult<()> {
    let of_log = blocks::table.filter(blocks::tenant_id.eq(tenant));
    diesel::delete(of_log.filter(blocks::run.eq_any(some))).execute(connection)?;
    let of_log = runs::table.filter(runs::tenant_id.eq(tenant));
    diesel::delete(of_log.filter(runs::run.eq_any(some))).execute(connection)?;
    Ok(())
}

/// Hides all runs of a log from readers. Their blocks stay in the table.
pub(super) fn hide_in_txn(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<()> {
    diesel::delete(runs::table.filter(runs::tenant_id.eq(tenant.0))).execute(connection)?;
    Ok(())
}

/// Deletes the blocks of one run of a log; returns whether there was one.
pub(super) fn clear_one_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<bool> {
    let run: Option<i64> = blocks::table
        .filter(blocks::tenant_id.eq(tenant.0))
        .order((blocks::run, blocks::first_key))
        .select(blocks::run)
        .first(connection)
        .optional()?;
    if let Some(run) = run {
        remove_in_txn(connection, tenant.0, &[run])?;
    }
    Ok(run.is_some())
}

/// A block's first key and its bytes.
type Found = (Vec<u8>, Vec<u8>);

/// The block that contains a position, and the blocks after it that begin before another: up to
/// `limit`.
pub(super) fn blocks_from(
    connection: &mut AnyConnection,
    run: &Run,
    position: &[u8],
    before: &[u8],
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    let mut found: Vec<Found> = blocks::table
        .filter(blocks::tenant_id.eq(run.tenant_id))
        .filter(blocks::run.eq(run.number))
        .filter(blocks::first_key.le(position))
        .order(blocks::first_key.desc())
        .limit(1)
        .select((blocks::first_key, blocks::entries))
        .load(connection)?;
    let limit = limit - i64::from(!found.is_empty());
    if limit > 0 {
        found.extend(blocks_between(connection, run, position, before, limit)?);
    }
    Ok(found)
}

/// Up to `limit` blocks that begin after one position and before another.
pub(super) fn blocks_between(
    connection: &mut AnyConnection,
    run: &Run,
    after: &[u8],
    before: &[u8],
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    Ok(blocks::table
        .filter(blocks::tenant_id.eq(run.tenant_id))
        .filter(blocks::run.eq(run.number))
        .filter(blocks::first_key.gt(after))
        .filter(blocks::first_key.lt(before))
        .order(blocks::first_key)
        .limit(limit)
        .select((blocks::first_key, blocks::entries))
        .load(connection)?)
}

/// Up to `limit` blocks that begin before a position, the last one first.
pub(super) fn blocks_before(
    connection: &mut AnyConnection,
    run: &Run,
    before: &[u8],
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    Ok(blocks::table
        .filter(blocks::tenant_id.eq(run.tenant_id))
        .filter(blocks::run.eq(run.number))
        .filter(blocks::first_key.lt(before))
        .order(blocks::first_key.desc())
        .limit(limit)
        .select((blocks::first_key, blocks::entries))
        .load(connection)?)
}

/// The number of blocks that begin within a range: an estimate of its size.
pub(super) fn count_between(
    connection: &mut AnyConnection,
    run: &Run,
    from: &[u8],
    to: &[u8],
) -> Result<i64, StoreError> {
    Ok(blocks::table
        .filter(blocks::tenant_id.eq(run.tenant_id))
        .filter(blocks::run.eq(run.number))
        .filter(blocks::first_key.ge(from))
        .filter(blocks::first_key.lt(to))
        .count()
        .get_result(connection)?)
}
