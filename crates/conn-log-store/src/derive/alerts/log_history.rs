//! What the evaluation asks of the log and of the table of alerts.

use std::collections::HashMap;
use std::time::Duration;

use conn_log_core::alert::{Episode, GroupKey, History, HistoryQuery};
use conn_log_core::{EventQuery, Order, Record, Start, Timestamp};

use super::recall::Known;
use crate::control::alerts::table;
use crate::derive::index;
use crate::engine::{AnyConnection, Plans, in_snapshot};
use crate::error::StoreError;
use crate::log::scan::Deadline;
use crate::tenant_id::TenantId;

/// The log, the alerts in the table, and those that are not written yet.
pub(super) struct LogHistory<'a> {
    pub(super) connection: &'a mut AnyConnection,
    pub(super) tenant: TenantId,
    pub(super) time_max: Duration,
    pub(super) plans: Plans,
    /// The rules, by their ids.
    pub(super) rules: &'a HashMap<i64, Known>,
}

impl History for LogHistory<'_> {
    type Error = StoreError;

    fn records(&mut self, query: &HistoryQuery) -> Result<Vec<Record>, StoreError> {
        let page = EventQuery {
            filter: query.filter.clone(),
            order: Order::IdDescending,
            start: Start::First,
            limit: query.limit,
        };
        let deadline = Deadline::after(self.time_max);
        let (tenant, last) = (self.tenant, query.before_id - 1);
        let found = in_snapshot(self.connection, self.time_max, self.plans, |connection| {
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
        let Some(Known { version, opened_after }) = self.rules.get(&rule) else {
            return Ok(Vec::new());
        };
        let span = (Timestamp::from_micros(from), Timestamp::from_micros(until));
        let key = (rule, *version, group.hash);
        table::of_group_in(self.connection, self.tenant, key, *opened_after, span)
    }
}
