//! The lag of followers behind their logs, and the followers that have a step to make.

use std::collections::BTreeMap;

use super::Derivation;
use super::follower::Pace;
use super::marks::{CLEARING, all_marks, marks, of_new_log};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::heads::{self, LogBounds};
use crate::tenant_id::TenantId;

impl Derivation {
    /// Events of a tenant's log that a follower has not taken in, removed ones excepted.
    pub(crate) fn behind(&self, tenant: TenantId, name: &str) -> Result<i64, StoreError> {
        let connection = &mut *self.engine.reader()?;
        let marks = marks(connection, tenant, self.find(name).into_iter())?;
        let log = heads::bounds(connection, tenant)?;
        Ok(marks.values().map(|mark| log.size - (*mark).max(log.first_id - 1)).sum())
    }

    /// Events of a tenant's log that the slowest follower of a pace has not taken in.
    pub(crate) fn behind_slowest(&self, tenant: TenantId, pace: Pace) -> Result<i64, StoreError> {
        let connection = &mut *self.engine.reader()?;
        let marks = marks(connection, tenant, self.of_pace(pace))?;
        let log = heads::bounds(connection, tenant)?;
        let lowest = marks.values().copied().min().unwrap_or(log.size);
        Ok(log.size - lowest.max(log.first_id - 1).min(log.size))
    }

    /// For each tenant, the events that the slowest of some followers has not taken in.
    pub(super) fn behind_by_tenant(
        &self,
        connection: &mut AnyConnection,
        pace: Pace,
    ) -> Result<BTreeMap<TenantId, i64>, StoreError> {
        // Read before the sizes: so no watermark is beyond a size.
        let marks = all_marks(connection, self.of_pace(pace))?;
        let behind = |(tenant, log): (TenantId, LogBounds)| {
            let lowest = match marks.get(&tenant) {
                Some(marks) => marks.values().copied().min().unwrap_or(log.size),
                None => 0,
            };
            (tenant, log.size - lowest.max(log.first_id - 1).min(log.size))
        };
        Ok(heads::all_bounds(connection)?.into_iter().map(behind).collect())
    }

    /// Tenants for which a follower of that pace has a step to make.
    pub(super) fn due(
        &self,
        connection: &mut AnyConnection,
        pace: Pace,
    ) -> Result<Vec<TenantId>, StoreError> {
        let marks = all_marks(connection, self.of_pace(pace))?;
        let new = of_new_log(self.of_pace(pace));
        let is_due = |tenant: TenantId, log: LogBounds| {
            let marks = marks.get(&tenant).unwrap_or(&new);
            self.of_pace(pace).any(|follower| match marks.get(follower.name()) {
                None => false,
                Some(&CLEARING) => true,
                Some(mark) => {
                    let behind = log.size - (*mark).max(log.first_id - 1);
                    let is_beginning_gone = *mark < log.first_id - 1;
                    is_beginning_gone
                        || follower.batch_events(behind, pace.batch_events_max()).is_some()
                }
            })
        };
        let bounds = heads::all_bounds(connection)?;
        Ok(bounds.into_iter().filter(|(t, log)| is_due(*t, *log)).map(|(t, _)| t).collect())
    }

    /// Events that followers of each pace have not taken in, summed over all logs: (prompt,
    /// patient).
    pub(crate) fn lag(&self) -> Result<(i64, i64), StoreError> {
        let connection = &mut *self.engine.watcher()?;
        let prompt = self.behind_by_tenant(connection, Pace::Prompt)?;
        let patient = self.behind_by_tenant(connection, Pace::Patient)?;
        Ok((prompt.into_values().sum(), patient.into_values().sum()))
    }
}
