//! How each database finds the rows of `events`.
//!
//! PostgreSQL's key is the tenant and the id. SQLite's is one number, the *place*, with the tenant above
//! the id: what is appended to a table with such a key goes to its last page, where one with a key of two
//! columns has the three pages at its end balanced (decision 014). There `tenant_id` and `id` are made of
//! the place: right to read and to compare, but no way to find a row by.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;

use crate::connection::MultiBackend;
use crate::filter::{Condition, Dialect};
use crate::index::Span;
use crate::schema::events;
use crate::tenants::TenantId;

/// How many bits of a place are the id's; migration 0011 says the same.
const ID_BITS: u32 = 44;

/// No event has this id or a higher one. It takes five years at 100,000 events a second.
pub(crate) const ID_END: i64 = (1 << ID_BITS) - 1;

/// The last tenant that has places on SQLite.
pub(crate) const TENANT_MAX: i32 = i32::MAX >> (ID_BITS - 32);

/// Something that sorts a tenant's rows by their ids.
pub(crate) type Key = Box<dyn BoxableExpression<events::table, MultiBackend, SqlType = BigInt>>;

/// The place of an event. An id that no event has gets one that no event has.
pub(crate) fn of(tenant: TenantId, id: i64) -> i64 {
    (i64::from(tenant.0) << ID_BITS) | id.clamp(0, ID_END)
}

/// What sorts a tenant's rows by their ids without sorting them.
pub(crate) fn key(dialect: Dialect) -> Key {
    match dialect {
        Dialect::Sqlite => Box::new(Place),
        Dialect::Postgres => Box::new(events::id),
    }
}

/// A tenant's rows with ids within a span.
pub(crate) fn within(tenant: TenantId, span: Span, dialect: Dialect) -> Condition {
    match dialect {
        Dialect::Sqlite => {
            Box::new(Place.between(of(tenant, span.first), of(tenant, span.last)).nullable())
        }
        Dialect::Postgres => Box::new(
            events::tenant_id
                .eq(tenant.0)
                .and(events::id.between(span.first, span.last))
                .nullable(),
        ),
    }
}

/// A tenant's rows of these ids.
pub(crate) fn is_any_of(tenant: TenantId, ids: &[i64], dialect: Dialect) -> Condition {
    match dialect {
        Dialect::Sqlite => {
            let places: Vec<i64> = ids.iter().map(|id| of(tenant, *id)).collect();
            Box::new(Place.eq_any(places).nullable())
        }
        Dialect::Postgres => {
            Box::new(events::tenant_id.eq(tenant.0).and(events::id.eq_any(ids.to_vec())).nullable())
        }
    }
}

/// The column that only SQLite's table has.
#[derive(Clone, Copy, Debug, QueryId)]
struct Place;

impl Expression for Place {
    type SqlType = BigInt;
}
impl AppearsOnTable<events::table> for Place {}
impl SelectableExpression<events::table> for Place {}
impl ValidGrouping<()> for Place {
    type IsAggregate = is_aggregate::No;
}
impl<DB: Backend> QueryFragment<DB> for Place {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("events.place");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_tenants_apart_and_ids_in_order_whatever_is_asked_for() {
        let ids = [i64::MIN, -1, 0, 1, 2, ID_END - 1, ID_END, i64::MAX];
        let tenants = [TenantId(1), TenantId(2), TenantId(TENANT_MAX - 1), TenantId(TENANT_MAX)];
        let places: Vec<i64> =
            tenants.iter().flat_map(|tenant| ids.map(|id| of(*tenant, id))).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(places[0] > 0);
        for tenant in tenants {
            let events = of(tenant, 1)..=of(tenant, ID_END - 1);
            for nobodys in [i64::MIN, -1, 0, ID_END, i64::MAX] {
                assert!(!events.contains(&of(tenant, nobodys)), "{nobodys}");
            }
        }
    }
}
