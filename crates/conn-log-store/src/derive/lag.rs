//! The lag of followers behind their logs, and the followers that have a step to make.

use std::collections::BTreeSet;

use super::Derivation;
use super::follower::Pace;
use super::marks::{CLEARING, Marks, all_marks, marks, of_new_log};
use crate::engine::{AnyConnection, Tenants};
use crate::error::StoreError;
use crate::log::heads::{self, LogBounds};
use crate::tenant_id::TenantId;

impl Derivation {
    /// Events of a tenant's log that a follower has not taken in, removed ones excepted.
    pub(crate) fn behind(&self, tenant: TenantId, name: &str) -> Result<i64, StoreError> {
        let connection = &mut *self.engine.reader_of(tenant)?;
        let marks = marks(connection, tenant, self.find(name).into_iter())?;
        let log = heads::bounds(connection, tenant)?;
        Ok(marks.values().map(|mark| log.size - (*mark).max(log.first_id - 1)).sum())
    }

    /// Events of a tenant's log that the slowest follower of a pace has not taken in.
    pub(crate) fn behind_slowest(&self, tenant: TenantId, pace: Pace) -> Result<i64, StoreError> {
        let connection = &mut *self.engine.reader_of(tenant)?;
        let marks = marks(connection, tenant, self.of_pace(pace))?;
        let log = heads::bounds(connection, tenant)?;
        let lowest = marks.values().copied().min().unwrap_or(log.size);
        Ok(log.size - lowest.max(log.first_id - 1).min(log.size))
    }

    /// Tenants for which a follower of that pace has a step to make: of all, or of some. Notes their
    /// lags.
    pub(super) fn due(
        &self,
        connection: &mut AnyConnection,
        tenants: Tenants<'_>,
        pace: Pace,
    ) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut due = BTreeSet::new();
        for (tenant, standing) in self.standings(connection, tenants, pace)? {
            if self.engine.lanes().is_distributed() {
                self.lags().insert((pace, tenant), standing.behind);
            }
            if standing.is_due {
                due.insert(tenant);
            }
        }
        Ok(due)
    }

    /// How the followers of a pace stand in each log, or in those of some tenants.
    fn standings(
        &self,
        connection: &mut AnyConnection,
        tenants: Tenants<'_>,
        pace: Pace,
    ) -> Result<Vec<(TenantId, Standing)>, StoreError> {
        // Read before the sizes: so no watermark is beyond a size.
        let marks = all_marks(connection, tenants, self.of_pace(pace))?;
        let new = of_new_log(self.of_pace(pace));
        let bounds = heads::bounds_of(connection, tenants)?;
        let standing = |(tenant, log): (TenantId, LogBounds)| {
            let marks = marks.get(&tenant).unwrap_or(&new);
            let lowest = marks.values().copied().min().unwrap_or(log.size);
            let behind = log.size - lowest.max(log.first_id - 1).min(log.size);
            (tenant, Standing { behind, is_due: self.is_due(marks, log, pace) })
        };
        Ok(bounds.into_iter().map(standing).collect())
    }

    fn is_due(&self, marks: &Marks, log: LogBounds, pace: Pace) -> bool {
        self.of_pace(pace).any(|follower| match marks.get(follower.name()) {
            None => false,
            Some(&CLEARING) => true,
            Some(mark) => {
                let behind = log.size - (*mark).max(log.first_id - 1);
                let is_beginning_gone = *mark < log.first_id - 1;
                is_beginning_gone
                    || follower.batch_events(behind, pace.batch_events_max(false)).is_some()
            }
        })
    }

    /// Events that followers of each pace have not taken in, summed over all logs: (prompt,
    /// patient). On a distributed database it is the lag that the threads of this process saw last,
    /// so that a node that hangs does not hold it up.
    pub(crate) fn lag(&self) -> Result<(i64, i64), StoreError> {
        Ok((self.lag_of(Pace::Prompt)?, self.lag_of(Pace::Patient)?))
    }

    fn lag_of(&self, pace: Pace) -> Result<i64, StoreError> {
        let seen: Vec<i64> = {
            let lags = self.lags();
            lags.iter().filter(|((of, _), _)| *of == pace).map(|(_, lag)| *lag).collect()
        };
        // A process whose threads have not looked, or that has none, must ask.
        if !seen.is_empty() {
            return Ok(seen.iter().sum());
        }
        let mut sum = 0;
        self.engine.each_lane(|lane| {
            let standings = self
                .engine
                .in_lane(lane, |connection, tenants| self.standings(connection, tenants, pace))?;
            sum += standings.iter().map(|(_, standing)| standing.behind).sum::<i64>();
            Ok(())
        })?;
        Ok(sum)
    }
}

/// How the followers of a pace stand in a log.
struct Standing {
    /// The events that the slowest of them has not taken in.
    behind: i64,
    /// Whether one of them has a step to make.
    is_due: bool,
}
