//! Writing and finding runs: what happens to the two tables.
//!
//! A run is made in one transaction: its row, its blocks, and the end of the runs that it takes the place
//! of. Whoever looks sees all of it or nothing.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::INDEX;
use super::block::Block;
use super::tables::{BlockRow, NewRun, Run, index_blocks as blocks, index_runs as runs};
use crate::connection::AnyConnection;
use crate::derived::forget_anchor_in_txn;
use crate::error::StoreError;
use crate::schema::heads;
use crate::tenants::TenantId;

/// A log and its index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) tenant: TenantId,
    /// The last id of the log.
    pub(super) size: i64,
    /// The last id that the index knows; 0 if it knows none.
    pub(super) indexed_to: i64,
}

impl Standing {
    pub(super) fn behind(&self) -> i64 {
        (self.size - self.indexed_to).max(0)
    }
}

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

/// The last id that the index knows; 0 if it knows none.
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

/// All logs.
pub(super) fn standings(connection: &mut AnyConnection) -> Result<Vec<Standing>, StoreError> {
    // Before the sizes: it is never behind them.
    let indexed: Vec<(i32, Option<i64>)> = runs::table
        .group_by(runs::tenant_id)
        .select((runs::tenant_id, diesel::dsl::max(runs::last_id)))
        .load(connection)?;
    let indexed: BTreeMap<i32, Option<i64>> = indexed.into_iter().collect();
    let sizes: Vec<(i32, i64)> =
        heads::table.select((heads::tenant_id, heads::size)).load(connection)?;
    let standing = |(tenant, size)| {
        let indexed_to = indexed.get(&tenant).copied().flatten().unwrap_or(0);
        Standing { tenant: TenantId(tenant), size, indexed_to }
    };
    Ok(sizes.into_iter().map(standing).collect())
}

/// Events that the index does not know yet, of all logs.
pub(crate) fn behind(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    Ok(standings(connection)?.iter().map(Standing::behind).sum())
}

/// Begins a run; gives its number.
pub(super) fn begin_in_txn(connection: &mut AnyConnection, new: NewRun) -> QueryResult<i64> {
    let insert = diesel::insert_into(runs::table).values(new).returning(runs::run);
    match connection {
        AnyConnection::Sqlite(sqlite) => insert.get_result(sqlite),
        AnyConnection::Postgres(postgres) => insert.get_result(postgres),
    }
}

/// Writes some of a run's blocks. PostgreSQL takes 16,383 in a statement.
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
    match connection {
        AnyConnection::Sqlite(sqlite) => {
            for row in rows {
                diesel::insert_into(blocks::table).values(row).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            let rows: Vec<BlockRow<'_>> = rows.collect();
            diesel::insert_into(blocks::table).values(rows).execute(postgres)?;
        }
    }
    Ok(())
}

/// Takes runs of a log out.
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

/// Has the index forget a log.
pub(crate) fn forget_in_txn(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<()> {
    let all: Vec<i64> =
        runs::table.filter(runs::tenant_id.eq(tenant.0)).select(runs::run).load(connection)?;
    for run in all {
        remove_in_txn(connection, tenant.0, &[run])?;
    }
    forget_anchor_in_txn(connection, tenant, INDEX)
}

/// A block's first key and its bytes.
type Found = (Vec<u8>, Vec<u8>);

/// The block in which a place lies, and those after it that begin before another: up to `limit`.
pub(super) fn blocks_from(
    connection: &mut AnyConnection,
    run: &Run,
    place: &[u8],
    before: &[u8],
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    let mut found: Vec<Found> = blocks::table
        .filter(blocks::tenant_id.eq(run.tenant_id))
        .filter(blocks::run.eq(run.number))
        .filter(blocks::first_key.le(place))
        .order(blocks::first_key.desc())
        .limit(1)
        .select((blocks::first_key, blocks::entries))
        .load(connection)?;
    let limit = limit - i64::from(!found.is_empty());
    if limit > 0 {
        found.extend(blocks_between(connection, run, place, before, limit)?);
    }
    Ok(found)
}

/// Up to `limit` blocks that begin after one place and before another.
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

/// Up to `limit` blocks that begin before a place, the last one first.
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

/// How many blocks begin within a range: about how much there is in it.
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
