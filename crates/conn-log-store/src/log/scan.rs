//! Reads rows of the log in SQL: by a filter, an order, a start position, and the ids to look at.
//!
//! Every list uses this module. It knows no index and no page.

use std::time::{Duration, Instant};

use conn_log_core::{EventFilter, Order, Position, Record};
use diesel::prelude::*;

use super::filter::{Condition, conditions};
use super::key;
use super::rows::{self, EventRow};
use super::schema::events;
use super::span::Span;
use super::texts::{self, Kind};
use crate::engine::{AnyConnection, Dialect, Micros, MultiBackend};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The time at which a read must end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Deadline(Instant::now().checked_add(time))
    }

    /// SQLite does not stop a statement by itself: its reads consist of short statements, and check
    /// the time between them.
    pub(crate) fn check(self) -> Result<(), StoreError> {
        match self.0 {
            Some(end) if Instant::now() >= end => Err(StoreError::QueryTimeout),
            _ => Ok(()),
        }
    }
}

/// The rows to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    Within(Span),
    /// The rows with these ids; at most a page of them.
    Of(&'a [i64]),
}

/// One list: its tenant, its filter and its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) filter: &'a EventFilter,
    /// The order of reading; it differs from the list's order if a page is read backwards.
    pub(crate) order: Order,
    /// Only rows after this position in that order.
    pub(crate) position: Option<Position>,
    /// No id above this one.
    pub(crate) last: Option<i64>,
    /// The range of `created_at` of all rows to look at. It lets PostgreSQL prune partitions.
    pub(crate) created: Option<(Micros, Micros)>,
}

impl Scan<'_> {
    /// The first `limit` records among those rows.
    pub(crate) fn read(
        &self,
        connection: &mut AnyConnection,
        rows: Rows<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let select = self.query(connection, rows, limit)?;
        let found: Vec<EventRow> = select.select(EventRow::as_select()).load(connection)?;
        rows::records(connection, self.tenant, found)
    }

    /// Reads only their ids: if many rows are sorted for a few results, moving whole rows is slow.
    pub(crate) fn ids(
        &self,
        connection: &mut AnyConnection,
        rows: Rows<'_>,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        Ok(self.query(connection, rows, limit)?.select(events::id).load(connection)?)
    }

    fn query<'a>(
        &self,
        connection: &mut AnyConnection,
        rows: Rows<'_>,
        limit: usize,
    ) -> QueryResult<events::BoxedQuery<'a, MultiBackend>> {
        let dialect = Dialect::from(&mut *connection);
        let mut select = events::table
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .into_boxed::<MultiBackend>();
        let shapes = match connection {
            AnyConnection::Sqlite(sqlite) if !self.filter.metadata.is_empty() => {
                texts::all(sqlite, self.tenant, Kind::Shape)?
            }
            _ => Vec::new(),
        };
        for condition in conditions(self.filter, dialect, &shapes) {
            select = select.filter(condition);
        }
        if let Some(position) = self.position {
            select = select.filter(beyond(self.order, position));
        }
        if let Some(last) = self.last {
            select = select.filter(events::id.le(last));
        }
        if let Some(condition) = self.created.and_then(|range| key::created_within(range, dialect))
        {
            select = select.filter(condition);
        }
        select = select.filter(match rows {
            Rows::Within(span) => key::within(self.tenant, self.up_to_last(span), dialect),
            Rows::Of(ids) => key::is_any_of_scattered(self.tenant, ids, dialect),
        });
        Ok(match self.order {
            Order::IdAscending => select.order(key::order(dialect).asc()),
            Order::IdDescending => select.order(key::order(dialect).desc()),
            Order::TimestampAscending => select.order((events::timestamp.asc(), events::id.asc())),
            Order::TimestampDescending => {
                select.order((events::timestamp.desc(), events::id.desc()))
            }
        })
    }

    fn up_to_last(&self, span: Span) -> Span {
        Span { last: span.last.min(self.last.unwrap_or(i64::MAX)), ..span }
    }

    pub(crate) fn is_descending(&self) -> bool {
        matches!(self.order, Order::IdDescending | Order::TimestampDescending)
    }
}

pub(crate) fn opposite(order: Order) -> Order {
    match order {
        Order::IdAscending => Order::IdDescending,
        Order::IdDescending => Order::IdAscending,
        Order::TimestampAscending => Order::TimestampDescending,
        Order::TimestampDescending => Order::TimestampAscending,
    }
}

/// Condition: only rows after that position in that order.
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
