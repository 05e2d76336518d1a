//! Reading the log: one record, a page of records, its size.
//!
//! Pages are keyset pages: each begins at a place and not at a count of rows, so that page 10,000
//! costs what page 1 costs.

use conn_log_core::{EventQuery, Record, Start, Timestamp};
use diesel::prelude::*;

use crate::connection::{AnyConnection, MultiBackend};
use crate::error::StoreError;
use crate::filter::Dialect;
use crate::index;
use crate::place;
use crate::rows::EventRow;
use crate::scan::{Deadline, Scan, opposite};
use crate::schema::{events, heads};
use crate::snapshot::{Plans, in_snapshot};
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
        Ok(find_in(&mut *self.reader()?, tenant, &[id], None)?.pop())
    }

    /// A page of the log. Blocks the thread.
    pub fn event_list(
        &self,
        tenant: TenantId,
        query: &EventQuery,
    ) -> Result<EventPage, StoreError> {
        let deadline = Deadline::after(self.read_time_max());
        in_snapshot(&mut *self.reader()?, Plans::ByKey, |connection| {
            list_in(connection, tenant, query, None, deadline)
        })
    }

    /// The same, of the events up to an id: however few the filter leaves, the read ends there. For
    /// who goes through the log in its order, span by span. Blocks the thread.
    pub fn event_list_to(
        &self,
        tenant: TenantId,
        query: &EventQuery,
        last: i64,
    ) -> Result<EventPage, StoreError> {
        let deadline = Deadline::after(self.read_time_max());
        in_snapshot(&mut *self.reader()?, Plans::ByKey, |connection| {
            list_in(connection, tenant, query, Some(last), deadline)
        })
    }

    /// The last id of the log; 0 while it is empty. Blocks the thread.
    pub fn log_size(&self, tenant: TenantId) -> Result<i64, StoreError> {
        heads::table
            .find(tenant.0)
            .select(heads::size)
            .first(&mut *self.watcher()?)
            .optional()?
            .ok_or(StoreError::NotFound("tenant"))
    }
}

/// The leaf hash of an event; of one that was stored then, where that is known.
pub(crate) fn leaf_hash(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
    created_at: Option<Timestamp>,
) -> QueryResult<Option<Vec<u8>>> {
    let dialect = Dialect::from(&mut *connection);
    let mut select = events::table
        .filter(place::is_any_of(tenant, &[id], dialect))
        .select(events::leaf_hash)
        .into_boxed::<MultiBackend>();
    if let Some(created_at) = created_at {
        select = select.filter(events::created_at.eq(Micros(created_at)));
    }
    select.first(connection).optional()
}

/// The records of those ids, in the order of the log. No more than a few hundred at a time. Who
/// knows within which times they were stored spares PostgreSQL a look into every partition.
pub(crate) fn find_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ids: &[i64],
    created_at: Option<(Timestamp, Timestamp)>,
) -> Result<Vec<Record>, StoreError> {
    let dialect = Dialect::from(&mut *connection);
    let mut select = events::table
        .filter(place::is_any_of(tenant, ids, dialect))
        .order(place::key(dialect))
        .select(EventRow::as_select())
        .into_boxed::<MultiBackend>();
    if let Some((first, last)) = created_at {
        select = select.filter(events::created_at.between(Micros(first), Micros(last)));
    }
    let rows: Vec<EventRow> = select.load(connection)?;
    Ok(rows.into_iter().map(Record::from).collect())
}

/// A page of the log, up to an id if one is given. Within one snapshot, which is the caller's: neither an
/// append nor a merge of the index moves anything meanwhile.
pub(crate) fn list_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    query: &EventQuery,
    last: Option<i64>,
    deadline: Deadline,
) -> Result<EventPage, StoreError> {
    let limit = query.limit.max(1);
    let (order, position, is_backwards) = match query.start {
        Start::First => (query.order, None, false),
        Start::After(position) => (query.order, Some(position), false),
        Start::Before(position) => (opposite(query.order), Some(position), true),
    };
    let scan = Scan { tenant, filter: &query.filter, order, position, last, stored: None };
    // One more than the page tells whether there are more.
    let wanted = limit.saturating_add(1);
    let mut records = index::list(connection, scan, wanted, deadline)?;
    let has_more = records.len() > limit;
    records.truncate(limit);
    if is_backwards {
        records.reverse();
    }
    Ok(EventPage { records, has_more })
}
