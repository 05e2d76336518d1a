//! A page of the log through the index: what both kinds of order share.

use conn_log_core::{Order, Record, Timestamp};
use diesel::prelude::*;

use super::tables::Run;
use super::terms::{self, Dimension};
use super::{Span, by_id, by_time, runs, small_in_tests};
use crate::connection::AnyConnection;
use crate::error::StoreError;
use crate::scan::{Deadline, Rows, Scan};
use crate::schema::heads;
use crate::types::Micros;

/// Ids in one statement that looks at each of them: a few milliseconds, so that a read ends when its
/// time is over.
const WALK_IDS: usize = small_in_tests(16_384, 50);

/// The first `limit` records of a list, within the caller's snapshot.
pub(crate) fn list(
    connection: &mut AnyConnection,
    scan: Scan<'_>,
    limit: usize,
    deadline: Deadline,
) -> Result<Vec<Record>, StoreError> {
    // Before the log: it is never behind them.
    let runs = runs::of_log(connection, scan.tenant)?;
    let size: Option<i64> =
        heads::table.find(scan.tenant.0).select(heads::size).first(connection).optional()?;
    let indexed_to = runs.last().map_or(0, |run| run.last_id);
    let mut reading = Reading {
        connection,
        scan,
        limit,
        deadline,
        dimensions: terms::dimensions(scan.filter),
        records: Vec::new(),
    };
    let tail = Tail {
        span: Span { first: indexed_to + 1, last: size.unwrap_or(0) },
        stored: runs.last().map(|run| (run.created_at_max, Micros(Timestamp::MAX))),
    };
    match scan.order {
        Order::IdAscending | Order::IdDescending => {
            by_id::read(&mut reading, &runs, tail)?;
        }
        Order::TimestampAscending | Order::TimestampDescending => {
            by_time::read(&mut reading, &runs, tail)?;
        }
    }
    Ok(reading.records)
}

/// The events that no run knows yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) span: Span,
    /// Within which times they were stored.
    pub(super) stored: Option<(Micros, Micros)>,
}

/// A list being read.
pub(super) struct Reading<'a> {
    pub(super) connection: &'a mut AnyConnection,
    pub(super) scan: Scan<'a>,
    pub(super) limit: usize,
    pub(super) deadline: Deadline,
    pub(super) dimensions: Vec<Dimension>,
    /// Found by now, in order.
    pub(super) records: Vec<Record>,
}

impl Reading<'_> {
    pub(super) fn missing(&self) -> usize {
        self.limit.saturating_sub(self.records.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.missing() == 0
    }

    /// Those of a few rows that the filter lets through, in the list's order.
    pub(super) fn fetch(
        &mut self,
        rows: Rows<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.deadline.check()?;
        self.scan.read(self.connection, rows, limit)
    }

    /// Looks at up to [`WALK_IDS`] ids at the near end of a span, and cuts them off it.
    pub(super) fn walk(&mut self, ids: &mut Span, limit: usize) -> Result<Vec<Record>, StoreError> {
        let some = self.cut(ids);
        self.fetch(Rows::Within(some), limit)
    }

    /// What is looked at from here on is of these runs.
    pub(super) fn look_into<'r>(&mut self, runs: impl Iterator<Item = &'r Run> + Clone) {
        let first = runs.clone().map(|run| run.created_at_min).min();
        let last = runs.map(|run| run.created_at_max).max();
        self.scan.stored = first.zip(last);
    }

    /// Cuts as many ids off the near end of a span as one statement may look at.
    pub(super) fn cut(&self, ids: &mut Span) -> Span {
        ids.cut(i64::try_from(WALK_IDS).unwrap_or(i64::MAX), self.scan.is_descending())
    }

    /// Whether the filter's window of time has anything of a run.
    pub(super) fn overlaps(&self, run: &Run) -> bool {
        let filter = self.scan.filter;
        filter.since.is_none_or(|since| since <= run.timestamp_max.0)
            && filter.until.is_none_or(|until| run.timestamp_min.0 < until)
    }

    /// Whether all of a run is within the filter's window of time.
    pub(super) fn covers(&self, run: &Run) -> bool {
        let filter = self.scan.filter;
        filter.since.is_none_or(|since| since <= run.timestamp_min.0)
            && filter.until.is_none_or(|until| run.timestamp_max.0 < until)
    }
}
