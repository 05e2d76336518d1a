//! The key by which each database finds the rows of `events`.
//!
//! On PostgreSQL the key is the tenant and the id. On SQLite it is one number, the *row id*, with
//! the tenant above the id. An append to a table with such a key touches only the table's last
//! page; with a key of two columns SQLite balances three pages at the end of the table (decision
//! 014). On SQLite `tenant_id` and `id` are computed from the row id: they can be read and
//! compared, but no index finds a row by them.

use diesel::backend::Backend;
use diesel::dsl;
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;

use super::filter::Condition;
use super::schema::events;
use super::span::Span;
use crate::engine::{Dialect, Micros, MultiBackend};
use crate::tenant_id::TenantId;

/// The number of bits of a row id that hold the event's id; the migration has the same number.
const ID_BITS: u32 = 44;

/// The end of the ids: every event has a lower id. At 100,000 events a second this takes five
/// years.
pub(crate) const ID_END: i64 = (1 << ID_BITS) - 1;

/// The highest tenant number whose row ids fit into 63 bits.
const SQLITE_TENANT_MAX: i32 = i32::MAX >> (ID_BITS - 32);

/// The highest tenant number that the database can store.
pub(crate) fn tenant_max(dialect: Dialect) -> i32 {
    match dialect {
        Dialect::Sqlite => SQLITE_TENANT_MAX,
        Dialect::Postgres => i32::MAX,
    }
}

/// An expression that sorts a tenant's rows by their ids.
pub(crate) type Key = Box<dyn BoxableExpression<events::table, MultiBackend, SqlType = BigInt>>;

/// The row id of an event on SQLite. An id without an event gets a row id without an event.
pub(crate) fn row_id(tenant: TenantId, id: i64) -> i64 {
    (i64::from(tenant.0) << ID_BITS) | id.clamp(0, ID_END)
}

/// Orders a tenant's rows by id along the key, so that the database needs no sort.
pub(crate) fn order(dialect: Dialect) -> Key {
    match dialect {
        Dialect::Sqlite => Box::new(RowId),
        Dialect::Postgres => Box::new(events::id),
    }
}

/// Condition: a tenant's rows with ids within a span.
pub(crate) fn within(tenant: TenantId, span: Span, dialect: Dialect) -> Condition {
    match dialect {
        Dialect::Sqlite => Box::new(
            RowId.between(row_id(tenant, span.first), row_id(tenant, span.last)).nullable(),
        ),
        Dialect::Postgres => Box::new(
            events::tenant_id
                .eq(tenant.0)
                .and(events::id.between(span.first, span.last))
                .nullable(),
        ),
    }
}

/// Condition on SQLite: the row of an event. Its statement does not depend on the id, so that it can
/// be kept as a prepared one.
pub(crate) fn is_row(tenant: TenantId, id: i64) -> dsl::Eq<RowId, i64> {
    RowId.eq(row_id(tenant, id))
}

/// Condition: a tenant's rows with any of these ids.
pub(crate) fn is_any_of(tenant: TenantId, ids: &[i64], dialect: Dialect) -> Condition {
    match dialect {
        Dialect::Sqlite => {
            let row_ids: Vec<i64> = ids.iter().map(|id| row_id(tenant, *id)).collect();
            Box::new(RowId.eq_any(row_ids).nullable())
        }
        Dialect::Postgres => {
            Box::new(events::tenant_id.eq(tenant.0).and(events::id.eq_any(ids.to_vec())).nullable())
        }
    }
}

/// Condition: a tenant's rows with any of these ids, each likely on a page of its own.
pub(crate) fn is_any_of_scattered(tenant: TenantId, ids: &[i64], dialect: Dialect) -> Condition {
    let any = |ids| is_any_of(tenant, ids, dialect);
    match dialect {
        Dialect::Sqlite => any(ids),
        // An OR with the tenant in both arms leaves PostgreSQL only one plan: a bitmap scan of the
        // key. It then asks the disk for many pages at once, and it does not scan the whole tenant
        // because it estimates the tenant to be small.
        Dialect::Postgres => Box::new(any(ids).or(any(&[]))),
    }
}

/// The range of `created_at` that lets PostgreSQL prune partitions. `None` if there are no
/// partitions.
pub(crate) fn created_within(range: (Micros, Micros), dialect: Dialect) -> Option<Condition> {
    match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgres => {
            Some(Box::new(events::created_at.between(range.0, range.1).nullable()))
        }
    }
}

/// The column that only SQLite's table has.
#[derive(Clone, Copy, Debug, QueryId)]
pub(crate) struct RowId;

impl Expression for RowId {
    type SqlType = BigInt;
}
impl AppearsOnTable<events::table> for RowId {}
impl SelectableExpression<events::table> for RowId {}
impl ValidGrouping<()> for RowId {
    type IsAggregate = is_aggregate::No;
}
impl<DB: Backend> QueryFragment<DB> for RowId {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("events.row_id");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_ids_keep_tenants_apart_and_ids_in_order_whatever_is_asked_for() {
        let ids = [i64::MIN, -1, 0, 1, 2, ID_END - 1, ID_END, i64::MAX];
        let tenants = [
            TenantId(1),
            TenantId(2),
            TenantId(SQLITE_TENANT_MAX - 1),
            TenantId(SQLITE_TENANT_MAX),
        ];
        let row_ids: Vec<i64> =
            tenants.iter().flat_map(|tenant| ids.map(|id| row_id(*tenant, id))).collect();
        assert!(row_ids.is_sorted(), "{row_ids:?}");
        assert!(row_ids[0] > 0);
        for tenant in tenants {
            let events = row_id(tenant, 1)..=row_id(tenant, ID_END - 1);
            for no_event in [i64::MIN, -1, 0, ID_END, i64::MAX] {
                assert!(!events.contains(&row_id(tenant, no_event)), "{no_event}");
            }
        }
    }
}
