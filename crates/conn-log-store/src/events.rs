//! Reading the log: one record, a page of records, its size.
//!
//! Pages are keyset pages: each begins at a place and not at a count of rows, so that page 10,000
//! costs what page 1 costs.

use conn_log_core::{EventQuery, Order, Position, Record, Start};
use diesel::prelude::*;

use crate::connection::{AnyConnection, MultiBackend};
use crate::error::StoreError;
use crate::filter::{Condition, conditions};
use crate::rows::EventRow;
use crate::schema::{events, heads};
use crate::store::Store;
use crate::tenants::TenantId;
use crate::types::Micros;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// In the order that was asked for, whichever way the page was read.
    pub records: Vec<Record>,
    /// Whether there are more beyond the page, in the direction that it was read.
    pub has_more: bool,
}

impl Store {
    /// The record of that id. Blocks the thread.
    pub fn event_get(&self, tenant: TenantId, id: i64) -> Result<Option<Record>, StoreError> {
        Ok(find_in(&mut *self.reader()?, tenant, &[id])?.pop())
    }

    /// A page of the log. Blocks the thread.
    pub fn event_list(
        &self,
        tenant: TenantId,
        query: &EventQuery,
    ) -> Result<EventPage, StoreError> {
        list_in(&mut *self.reader()?, tenant, query)
    }

    /// The last id of the log; 0 while it is empty. Blocks the thread.
    pub fn log_size(&self, tenant: TenantId) -> Result<i64, StoreError> {
        heads::table
            .find(tenant.0)
            .select(heads::size)
            .first(&mut *self.reader()?)
            .optional()?
            .ok_or(StoreError::NotFound("tenant"))
    }
}

/// The records of those ids, in the order of the log. No more than a few hundred at a time.
pub(crate) fn find_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ids: &[i64],
) -> Result<Vec<Record>, StoreError> {
    let rows: Vec<EventRow> = events::table
        .filter(events::tenant_id.eq(tenant.0))
        .filter(events::id.eq_any(ids))
        .order(events::id)
        .select(EventRow::as_select())
        .load(connection)?;
    Ok(rows.into_iter().map(Record::from).collect())
}

pub(crate) fn list_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    query: &EventQuery,
) -> Result<EventPage, StoreError> {
    let limit = query.limit.max(1);
    let mut select = events::table
        .filter(events::tenant_id.eq(tenant.0))
        .select(EventRow::as_select())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
        .into_boxed::<MultiBackend>();
    for condition in conditions(&query.filter, connection.into()) {
        select = select.filter(condition);
    }
    let (order, position, is_backwards) = match query.start {
        Start::First => (query.order, None, false),
        Start::After(position) => (query.order, Some(position), false),
        Start::Before(position) => (opposite(query.order), Some(position), true),
    };
    if let Some(position) = position {
        select = select.filter(beyond(order, position));
    }
    let select = match order {
        Order::IdAscending => select.order(events::id.asc()),
        Order::IdDescending => select.order(events::id.desc()),
        Order::TimestampAscending => select.order((events::timestamp.asc(), events::id.asc())),
        Order::TimestampDescending => select.order((events::timestamp.desc(), events::id.desc())),
    };
    let mut rows: Vec<EventRow> = select.load(connection)?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    if is_backwards {
        rows.reverse();
    }
    Ok(EventPage { records: rows.into_iter().map(Record::from).collect(), has_more })
}

fn opposite(order: Order) -> Order {
    match order {
        Order::IdAscending => Order::IdDescending,
        Order::IdDescending => Order::IdAscending,
        Order::TimestampAscending => Order::TimestampDescending,
        Order::TimestampDescending => Order::TimestampAscending,
    }
}

/// Only what comes after that place in that order.
fn beyond(order: Order, Position { timestamp, id }: Position) -> Condition {
    let time = Micros(timestamp);
    match order {
        Order::IdAscending => Box::new(events::id.gt(id).nullable()),
        Order::IdDescending => Box::new(events::id.lt(id).nullable()),
        Order::TimestampAscending => Box::new(
            events::timestamp
                .ge(time)
                .and(events::timestamp.gt(time).or(events::id.gt(id)))
                .nullable(),
        ),
        Order::TimestampDescending => Box::new(
            events::timestamp
                .le(time)
                .and(events::timestamp.lt(time).or(events::id.lt(id)))
                .nullable(),
        ),
    }
}
