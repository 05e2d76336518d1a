//! The head row of each log: its first id, its size, and the lock that an append needs.

use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Integer};

use super::schema::heads;
use super::span::Span;
use crate::engine::{AnyConnection, Instant, Micros, Tenants, numbers, on_either};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The first and the last id of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// The first id that retention has not removed: 1 at first. One more than [`size`](Self::size)
    /// if retention has removed all events.
    pub first_id: i64,
    /// The last id that was given; 0 for a new log.
    pub size: i64,
}

impl LogBounds {
    /// The span of ids that may have an event.
    pub(crate) fn span(self) -> Span {
        Span { first: self.first_id, last: self.size }
    }
}

/// The bounds of a log.
pub(crate) fn bounds(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<LogBounds, StoreError> {
    let bounds: Option<(i64, i64)> = heads::table
        .find(tenant.0)
        .select((heads::first_id, heads::size))
        .first(connection)
        .optional()?;
    let (first_id, size) = bounds.ok_or(StoreError::NotFound("tenant"))?;
    Ok(LogBounds { first_id, size })
}

/// The bounds of the logs of these tenants.
pub(crate) fn bounds_of(
    connection: &mut AnyConnection,
    tenants: Tenants<'_>,
) -> QueryResult<BTreeMap<TenantId, LogBounds>> {
    let mut rows =
        heads::table.select((heads::tenant_id, heads::first_id, heads::size)).into_boxed();
    if let Some(tenants) = tenants {
        rows = rows.filter(heads::tenant_id.eq_any(numbers(tenants)));
    }
    let rows: Vec<(i32, i64, i64)> = rows.load(connection)?;
    let bounds = |(tenant, first_id, size)| (TenantId(tenant), LogBounds { first_id, size });
    Ok(rows.into_iter().map(bounds).collect())
}

/// The time of the last event of the logs of these tenants. `None` if there is no event.
pub(crate) fn created_at_last(
    connection: &mut AnyConnection,
    tenants: Tenants<'_>,
) -> QueryResult<Option<Timestamp>> {
    let mut rows =
        heads::table.filter(heads::size.gt(0)).select(heads::created_at_last).into_boxed();
    if let Some(tenants) = tenants {
        rows = rows.filter(heads::tenant_id.eq_any(numbers(tenants)));
    }
    let times: Vec<Micros> = rows.load(connection)?;
    Ok(times.into_iter().map(|time| time.0).max())
}

/// Moves the end of a log to an id, and leaves out the ids before it that no event has.
pub(crate) fn skip_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
) -> QueryResult<()> {
    let head = heads::table.find(tenant.0).filter(heads::size.lt(id));
    diesel::update(head).set(heads::size.eq(id)).execute(connection)?;
    Ok(())
}

/// Creates the head row of a new log.
pub(crate) fn create_in_txn(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<()> {
    diesel::insert_into(heads::table)
        .values((
            heads::tenant_id.eq(tenant.0),
            heads::first_id.eq(1_i64),
            heads::size.eq(0_i64),
            heads::created_at_last.eq(Micros(Timestamp::EPOCH)),
        ))
        .execute(connection)?;
    Ok(())
}

/// A tenant's head row, locked until the transaction ends.
pub(crate) struct Head {
    pub(crate) tenant: TenantId,
    pub(crate) size: i64,
    pub(crate) created_at_last: Micros,
    /// The size that was written when the row was locked.
    pub(crate) moved_to: Option<i64>,
}

/// Locks a log's head row for an append.
///
/// On PostgreSQL by an UPDATE: while Citus moves a tenant to another node, a `SELECT … FOR UPDATE`
/// may lock and read the row on the former node, and the same id would be given twice. An UPDATE
/// goes where the writes go, and keeps the tenant there until the transaction ends.
pub(crate) fn lock_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<Head, StoreError> {
    let head = heads::table.find(tenant.0).select((heads::size, heads::created_at_last));
    let row: Option<(i64, Micros)> = match connection {
        // The transaction already holds the file's lock.
        AnyConnection::Sqlite(sqlite) => head.first(sqlite).optional()?,
        AnyConnection::Postgres(postgres) => {
            let stay = AdvanceHead { tenant, events: 0, now: Micros(Timestamp::EPOCH) };
            stay.get_result(postgres).optional()?
        }
    };
    let (size, created_at_last) = row.ok_or(StoreError::NotFound("tenant"))?;
    Ok(Head { tenant, size, created_at_last, moved_to: None })
}

/// Locks a log's head row for an append of so many events, and moves it on by them in the same
/// statement, with `now` as the time of the last event, or a later time that the log has already.
/// On SQLite a statement costs no round trip, and the row is only locked.
pub(crate) fn advance_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    events: i64,
    now: Timestamp,
) -> Result<Head, StoreError> {
    let AnyConnection::Postgres(postgres) = connection else {
        return lock_in_txn(connection, tenant);
    };
    let advance = AdvanceHead { tenant, events, now: Micros(now) };
    let row: Option<(i64, Micros)> = advance.get_result(postgres).optional()?;
    let (size, created_at_last) = row.ok_or(StoreError::NotFound("tenant"))?;
    Ok(Head { tenant, size: size - events, created_at_last, moved_to: Some(size) })
}

/// Writes a head row that is locked.
pub(crate) fn move_in_txn(connection: &mut AnyConnection, head: &Head) -> QueryResult<()> {
    on_either!(connection, inner => MoveHead(head).execute(inner))?;
    Ok(())
}

/// The statement that writes a head row. Diesel does not cache its own UPDATE as a prepared
/// statement: each commit would plan the statement again, and need two round trips to PostgreSQL.
struct MoveHead<'a>(&'a Head);

impl QueryId for MoveHead<'_> {
    type QueryId = MoveHead<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<C: Connection> RunQueryDsl<C> for MoveHead<'_> {}

impl<DB: Backend + HasSqlType<Instant>> QueryFragment<DB> for MoveHead<'_>
where
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    Micros: ToSql<Instant, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE heads SET size = ");
        out.push_bind_param::<BigInt, _>(&self.0.size)?;
        out.push_sql(", created_at_last = ");
        out.push_bind_param::<Instant, _>(&self.0.created_at_last)?;
        out.push_sql(" WHERE tenant_id = ");
        out.push_bind_param::<Integer, _>(&self.0.tenant.0)
    }
}

/// The statement that locks a head row and moves it on; kept as a prepared statement, too.
struct AdvanceHead {
    tenant: TenantId,
    events: i64,
    now: Micros,
}

impl QueryId for AdvanceHead {
    type QueryId = AdvanceHead;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for AdvanceHead {
    type SqlType = (BigInt, Instant);
}

impl RunQueryDsl<PgConnection> for AdvanceHead {}

impl QueryFragment<Pg> for AdvanceHead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE heads SET size = size + ");
        out.push_bind_param::<BigInt, _>(&self.events)?;
        out.push_sql(", created_at_last = greatest(created_at_last, ");
        out.push_bind_param::<Instant, _>(&self.now)?;
        out.push_sql(") WHERE tenant_id = ");
        out.push_bind_param::<Integer, _>(&self.tenant.0)?;
        out.push_sql(" RETURNING size, created_at_last");
        Ok(())
    }
}
