//! PostgreSQL: windows of time in the order of the log.
//!
//! The planner has two ways for `timestamp` between two instants in the order of `id`: to walk the
//! whole log until it meets the window, or to sort all of the window. Each takes seconds where the
//! other takes a millisecond. `events_window` gives a third: *zones* of ids, one after the other, and
//! in each zone only what lies in the window.

use conn_log_core::{EventFilter, Order, Record};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable};

use crate::connection::{AnyConnection, MultiBackend};
use crate::error::StoreError;
use crate::filter::{Condition, Dialect, conditions};
use crate::scan::{Rows, Scan};
use crate::schema::events;
use crate::types::{Address, Ip};

/// Up to this many events of a block of addresses are looked at one by one, by the index on
/// addresses; a block with more of them is met in zones soon enough.
const ADDRESSES_MAX: i64 = 10_000;

/// Records read by id in one statement.
const IDS_AT_ONCE: usize = 500;

/// Whether a list is one that zones are for: another index that leads to few events is better.
pub(crate) fn suit(scan: &Scan<'_>) -> bool {
    let filter = scan.filter;
    matches!(scan.order, Order::IdAscending | Order::IdDescending)
        && (filter.since.is_some() || filter.until.is_some())
        && filter.device_ids.is_empty()
        && filter.session_id.is_none()
        && !is_failures(filter)
}

/// The first `limit` records of a list.
pub(crate) fn list(
    connection: &mut AnyConnection,
    scan: &Scan<'_>,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let query = if has_few_addresses(connection, scan)? {
        sorted(scan, limit).load(connection)
    } else {
        InZones::new(scan, limit).load(connection)
    };
    let ids: Vec<i64> = query?;
    let mut records = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_AT_ONCE) {
        records.extend(scan.read(connection, Rows::Of(some), some.len())?);
    }
    Ok(records)
}

fn is_failures(filter: &EventFilter) -> bool {
    !filter.application_ids.is_empty()
        && !filter.statuses.is_empty()
        && !filter.statuses.iter().any(|status| status == "success")
}

fn has_few_addresses(connection: &mut AnyConnection, scan: &Scan<'_>) -> Result<bool, StoreError> {
    let Some(block) = scan.filter.ip_network else {
        return Ok(false);
    };
    let beyond: Option<i64> = events::table
        .filter(events::tenant_id.eq(scan.tenant.0))
        .filter(events::ip_address.between(Ip(block.network()), Ip(block.broadcast())))
        .select(sql::<BigInt>("1::bigint"))
        .offset(ADDRESSES_MAX)
        .first(connection)
        .optional()?;
    Ok(beyond.is_none())
}

type Ids<'a> = events::BoxedQuery<'a, MultiBackend, BigInt>;

fn ids<'a>(scan: &Scan<'_>, filter: &EventFilter, limit: usize) -> Ids<'a> {
    let mut select = events::table
        .filter(events::tenant_id.eq(scan.tenant.0))
        .select(events::id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .into_boxed::<MultiBackend>();
    for condition in conditions(filter, Dialect::Postgres) {
        select = select.filter(condition);
    }
    if let Some(last) = scan.last {
        select = select.filter(events::id.le(last));
    }
    if let Some(at) = scan.position {
        select = if scan.is_descending() {
            select.filter(events::id.lt(at.id))
        } else {
            select.filter(events::id.gt(at.id))
        };
    }
    select
}

/// All that the filter lets through, sorted: `id + 0` is in the order of no index, so that the
/// planner does not walk one.
fn sorted<'a>(scan: &Scan<'_>, limit: usize) -> Ids<'a> {
    let select = ids(scan, scan.filter, limit);
    if scan.is_descending() {
        select.order(sql::<BigInt>("events.id + 0").desc())
    } else {
        select.order(sql::<BigInt>("events.id + 0").asc())
    }
}

/// Zone after zone, the ids of each sorted.
struct InZones<'a> {
    tenant: i32,
    /// The id whose zone comes first; none for the end of the log where it comes first.
    from: Option<i64>,
    /// The id whose zone is the highest.
    last: i64,
    is_descending: bool,
    of_zone: Ids<'a>,
    limit: i64,
}

impl InZones<'_> {
    fn new(scan: &Scan<'_>, limit: usize) -> Self {
        let filter = EventFilter { ip_network: None, ..scan.filter.clone() };
        let mut of_zone =
            ids(scan, &filter, limit).filter(sql::<Nullable<Bool>>("(events.id >> 14) = zone"));
        if let Some(block) = scan.filter.ip_network {
            of_zone = of_zone.filter(is_in(block.network(), block.broadcast()));
        }
        of_zone = if scan.is_descending() {
            of_zone.order(events::id.desc())
        } else {
            of_zone.order(events::id.asc())
        };
        InZones {
            tenant: scan.tenant.0,
            from: scan.position.map(|at| at.id.max(0)),
            last: scan.last.unwrap_or(i64::MAX).max(0),
            is_descending: scan.is_descending(),
            of_zone,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        }
    }
}

/// `ip_address + 0` is what no index has: within a zone the one on addresses would be gone through
/// whole.
fn is_in(first: std::net::IpAddr, last: std::net::IpAddr) -> Condition {
    Box::new(
        sql::<Nullable<Bool>>("(events.ip_address + 0) BETWEEN ")
            .bind::<Address, _>(Ip(first))
            .sql(" AND ")
            .bind::<Address, _>(Ip(last)),
    )
}

impl QueryFragment<MultiBackend> for InZones<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        // In one statement with the rest, and so of one snapshot.
        let last_zone = |out: &mut AstPass<'_, 'b, MultiBackend>| {
            out.push_sql("least((SELECT size FROM heads WHERE tenant_id = ");
            out.push_bind_param::<Integer, _>(&self.tenant)?;
            out.push_sql("), ");
            out.push_bind_param::<BigInt, _>(&self.last)?;
            out.push_sql(")");
            QueryResult::Ok(())
        };
        out.push_sql("SELECT zoned.id FROM generate_series(");
        if self.is_descending {
            out.push_sql("least(");
            last_zone(&mut out)?;
            out.push_sql(", ");
            out.push_bind_param::<Nullable<BigInt>, _>(&self.from)?;
            out.push_sql(") >> 14, 0, -1");
        } else {
            out.push_sql("coalesce(");
            out.push_bind_param::<Nullable<BigInt>, _>(&self.from)?;
            out.push_sql(", 0) >> 14, ");
            last_zone(&mut out)?;
            out.push_sql(" >> 14, 1");
        }
        out.push_sql(") AS zone, LATERAL (");
        <Ids<'_> as QueryFragment<MultiBackend>>::walk_ast(&self.of_zone, out.reborrow())?;
        out.push_sql(") AS zoned LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        Ok(())
    }
}

impl Query for InZones<'_> {
    type SqlType = BigInt;
}
impl QueryId for InZones<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
impl RunQueryDsl<AnyConnection> for InZones<'_> {}
