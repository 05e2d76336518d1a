//! Reading rows of the log in SQL: a filter, an order, a place to begin, and the ids to look at.
//!
//! What every list comes down to; it knows no index and no page.

use std::time::{Duration, Instant};

use conn_log_core::{EventFilter, Order, Position, Record};
use diesel::prelude::*;

use crate::connection::{AnyConnection, MultiBackend};
use crate::error::StoreError;
use crate::filter::{Condition, Dialect, conditions};
use crate::index::Span;
use crate::place;
use crate::rows::EventRow;
use crate::schema::events;
use crate::tenants::TenantId;
use crate::types::Micros;

/// When a read has to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Deadline(Instant::now().checked_add(time))
    }

    /// SQLite stops no statement by itself: its reads are made of short ones, and ask between them.
    pub(crate) fn check(self) -> Result<(), StoreError> {
        match self.0 {
            Some(end) if Instant::now() >= end => Err(StoreError::QueryTimeout),
            _ => Ok(()),
        }
    }
}

/// Which rows to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    Within(Span),
    /// No more than a page of them.
    Of(&'a [i64]),
}

/// One list: whose, of what, in which order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) filter: &'a EventFilter,
    /// The order in which rows are read, which is not the list's where a page is read backwards.
    pub(crate) order: Order,
    /// Only what comes after it in that order.
    pub(crate) position: Option<Position>,
    /// No id beyond this one.
    pub(crate) last: Option<i64>,
    /// All rows that are looked at were stored within these times: PostgreSQL looks into no other
    /// partition.
    pub(crate) stored: Option<(Micros, Micros)>,
}

impl Scan<'_> {
    /// The first `limit` records among those rows.
    pub(crate) fn read(
        &self,
        connection: &mut AnyConnection,
        rows: Rows<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let select = self.query(connection, rows, limit);
        let rows: Vec<EventRow> = select.select(EventRow::as_select()).load(connection)?;
        Ok(rows.into_iter().map(Record::from).collect())
    }

    /// Their ids alone: where many rows are sorted for a few, whole rows are slow to move about.
    pub(crate) fn ids(
        &self,
        connection: &mut AnyConnection,
        rows: Rows<'_>,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        Ok(self.query(connection, rows, limit).select(events::id).load(connection)?)
    }

    fn query<'a>(
        &self,
        connection: &mut AnyConnection,
        rows: Rows<'_>,
        limit: usize,
    ) -> events::BoxedQuery<'a, MultiBackend> {
        let dialect = Dialect::from(&mut *connection);
        let mut select = events::table
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .into_boxed::<MultiBackend>();
        for condition in conditions(self.filter, dialect) {
            select = select.filter(condition);
        }
        if let Some(position) = self.position {
            select = select.filter(beyond(self.order, position));
        }
        if let Some(last) = self.last {
            select = select.filter(events::id.le(last));
        }
        if let (Some((first, last)), Dialect::Postgres) = (self.stored, dialect) {
            select = select.filter(events::created_at.between(first, last));
        }
        select = select.filter(match rows {
            Rows::Within(span) => place::within(self.tenant, self.up_to_last(span), dialect),
            Rows::Of(ids) => apart(self.tenant, ids, dialect),
        });
        match self.order {
            Order::IdAscending => select.order(place::key(dialect).asc()),
            Order::IdDescending => select.order(place::key(dialect).desc()),
            Order::TimestampAscending => select.order((events::timestamp.asc(), events::id.asc())),
            Order::TimestampDescending => {
                select.order((events::timestamp.desc(), events::id.desc()))
            }
        }
    }

    fn up_to_last(&self, span: Span) -> Span {
        Span { last: span.last.min(self.last.unwrap_or(i64::MAX)), ..span }
    }

    pub(crate) fn is_descending(&self) -> bool {
        matches!(self.order, Order::IdDescending | Order::TimestampDescending)
    }
}

/// A tenant's rows of these ids, each likely on a page of its own.
fn apart(tenant: TenantId, ids: &[i64], dialect: Dialect) -> Condition {
    let any = |ids| place::is_any_of(tenant, ids, dialect);
    match dialect {
        Dialect::Sqlite => any(ids),
        // Of an OR that has the tenant in either arm nothing is left to PostgreSQL but to find the rows'
        // places by a bitmap of its key. Then it asks the disk for many pages at once, and does not go
        // through all of a tenant because it takes it for small.
        Dialect::Postgres => Box::new(any(ids).or(any(&[]))),
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
