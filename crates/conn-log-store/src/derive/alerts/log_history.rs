//! What the evaluation asks of the log and of the table of alerts.

use std::time::{Duration, Instant};

use conn_log_core::alert::{Episode, GroupKey, History, HistoryQuery};
use conn_log_core::{EventQuery, Order, Record, Start, Timestamp};

use super::reading::Reader;
use super::recall::Known;
use crate::control::alerts::table;
use crate::derive::index;
use crate::engine::in_snapshot;
use crate::error::StoreError;
use crate::log::scan::Deadline;

/// The log, the alerts in the table, and those that are not written yet.
pub(super) struct LogHistory<'a, 'b> {
    reader: &'a mut Reader<'b>,
    begun: Instant,
}

impl<'a, 'b> LogHistory<'a, 'b> {
    pub(super) fn new(reader: &'a mut Reader<'b>) -> Self {
        LogHistory { reader, begun: Instant::now() }
    }
}

impl History for LogHistory<'_, '_> {
    type Error = StoreError;

    fn records(&mut self, query: &HistoryQuery) -> Result<Vec<Record>, StoreError> {
        let page = EventQuery {
            filter: query.filter.clone(),
            order: Order::IdDescending,
            start: Start::First,
            limit: query.limit,
        };
        let Reader { tenant, time_max, plans, .. } = *self.reader;
        let (deadline, last) = (Deadline::after(time_max), query.before_id - 1);
        let found = in_snapshot(self.reader.connection, time_max, plans, |connection| {
            index::page(connection, tenant, &page, Some(last), deadline)
        })?;
        Ok(found.records.into_iter().filter(|record| record.id > query.after_id).collect())
    }

    fn episodes(
        &mut self,
        rule: i64,
        group: &GroupKey,
        from: i64,
        until: i64,
    ) -> Result<Vec<Episode>, StoreError> {
        let Some(Known { version, opened_after, .. }) = self.reader.rules.get(&rule) else {
            return Ok(Vec::new());
        };
        let span = (Timestamp::from_micros(from), Timestamp::from_micros(until));
        let key = (rule, *version, group.hash);
        table::of_group_in(self.reader.connection, self.reader.tenant, key, *opened_after, span)
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
