//! A page of the log through the index: the common code of both kinds of order.

use conn_log_core::{EventQuery, Order, Record, Start, Timestamp};

use super::tables::Run;
use super::terms::{self, Dimension};
use super::{by_id, by_time, runs};
use crate::engine::{AnyConnection, Micros};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::scan::{Deadline, Rows, Scan, opposite};
use crate::log::span::Span;
use crate::page::EventPage;
use crate::tenant_id::TenantId;

/// Ids that one statement reads one by one: a few milliseconds, so that a read ends soon after its
/// time limit.
const WALK_IDS: usize = 16_384;

/// A page of the log, up to an id if one is given. Runs in the caller's snapshot, so that neither
/// an append nor a merge of the index changes anything meanwhile.
pub(crate) fn page(
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
    let scan = Scan { tenant, filter: &query.filter, order, position, last, created: None };
    // One more record than the page tells whether there are more.
    let mut records = list(connection, scan, limit.saturating_add(1), deadline)?;
    let has_more = records.len() > limit;
    records.truncate(limit);
    if is_backwards {
        records.reverse();
    }
    Ok(EventPage { records, has_more })
}

/// The first `limit` records of a list, in the caller's snapshot.
fn list(
    connection: &mut AnyConnection,
    scan: Scan<'_>,
    limit: usize,
    deadline: Deadline,
) -> Result<Vec<Record>, StoreError> {
    // Read before the log's bounds: so the log is never behind the runs.
    let runs = runs::of_log(connection, scan.tenant)?;
    let log = heads::bounds(connection, scan.tenant)?.span();
    let indexed_to = runs.last().map_or(0, |run| run.last_id);
    let mut reading = Reading {
        connection,
        scan,
        log,
        limit,
        deadline,
        dimensions: terms::dimensions(scan.filter),
        records: Vec::new(),
    };
    let tail = Tail {
        span: Span { first: indexed_to + 1, ..Span::ALL }.and(log),
        created: runs
            .iter()
            .map(|run| run.created_at_max)
            .max()
            .map(|from| (from, Micros(Timestamp::MAX))),
    };
    match reading.scan.order {
        Order::IdAscending | Order::IdDescending => {
            by_id::read(&mut reading, &runs, tail)?;
        }
        Order::TimestampAscending | Order::TimestampDescending => {
            by_time::read(&mut reading, &runs, tail)?;
        }
    }
    Ok(reading.records)
}

/// The events that are in no run yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) span: Span,
    /// The range of their `created_at`.
    pub(super) created: Option<(Micros, Micros)>,
}

/// A list while it is read.
pub(super) struct Reading<'a> {
    pub(super) connection: &'a mut AnyConnection,
    pub(super) scan: Scan<'a>,
    /// The ids that may have an event.
    pub(super) log: Span,
    pub(super) limit: usize,
    pub(super) deadline: Deadline,
    pub(super) dimensions: Vec<Dimension>,
    /// The records found so far, in order.
    pub(super) records: Vec<Record>,
}

impl Reading<'_> {
    pub(super) fn missing(&self) -> usize {
        self.limit.saturating_sub(self.records.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.missing() == 0
    }

    /// Fetches some rows, and returns those that pass the filter, in the list's order.
    pub(super) fn fetch(
        &mut self,
        rows: Rows<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.deadline.check()?;
        self.scan.read(self.connection, rows, limit)
    }

    /// Reads up to [`WALK_IDS`] ids at the near end of a span, and cuts them off the span.
    pub(super) fn walk(&mut self, ids: &mut Span, limit: usize) -> Result<Vec<Record>, StoreError> {
        let some = self.cut(ids);
        self.fetch(Rows::Within(some), limit)
    }

    /// Sets the runs that the next rows are read from.
    pub(super) fn look_into<'r>(&mut self, runs: impl Iterator<Item = &'r Run> + Clone) {
        let first = runs.clone().map(|run| run.created_at_min).min();
        let last = runs.map(|run| run.created_at_max).max();
        self.scan.created = first.zip(last);
    }

    /// Cuts as many ids off the near end of a span as one statement may read.
    pub(super) fn cut(&self, ids: &mut Span) -> Span {
        ids.cut(i64::try_from(WALK_IDS).unwrap_or(i64::MAX), self.scan.is_descending())
    }

    /// Whether the filter's time window overlaps a run.
    pub(super) fn overlaps(&self, run: &Run) -> bool {
        let filter = self.scan.filter;
        filter.since.is_none_or(|since| since <= run.timestamp_max.0)
            && filter.until.is_none_or(|until| run.timestamp_min.0 < until)
    }

    /// Whether the filter's time window contains all of a run.
    pub(super) fn covers(&self, run: &Run) -> bool {
        let filter = self.scan.filter;
        filter.since.is_none_or(|since| since <= run.timestamp_min.0)
            && filter.until.is_none_or(|until| run.timestamp_max.0 < until)
    }
}
