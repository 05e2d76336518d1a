//! Statistics: counts, distinct devices and percentiles, kept in rollups of several levels.
//!
//! A [`tally::Tally`] holds the sums of some events; two of them add up to one. A rollup
//! ([`cells`]) is a row of tallies, one for each of the smaller parts of a span of time; rollups
//! have several levels ([`level`]). A question ([`query`]) splits time into the steps of its
//! [`calendar`]. It adds up the coarsest rows that lie within a step, single events for the rest of
//! the step ([`plan`]), and the events that no rollup has yet. Only [`rows`], [`query`] and the
//! functions that look up names do I/O.

mod calendar;
mod cells;
mod codec;
mod counts;
mod figures;
mod groups;
mod level;
mod plan;
mod query;
mod question;
mod rows;
mod spread;
mod sum;
mod tally;
mod top;

pub use calendar::{Interval, UnknownZone, Zone};
pub use figures::{Durations, Figures, SignalStrengths};
pub use groups::{StatisticsAnswer, StatisticsRow};
pub(crate) use query::{statistics, unknown_names};
pub use question::{Figure, GroupBy, ROWS_MAX, Sort, StatisticsError, StatisticsQuery};

use super::dictionary::Names;
use super::facts::Fact;
use super::follower::{Follower, Input, TakesFacts};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

const STATISTICS: &str = "statistics";

/// The follower for statistics.
pub(super) struct Statistics;

impl Follower for Statistics {
    fn name(&self) -> &'static str {
        STATISTICS
    }

    fn version(&self) -> i16 {
        2
    }

    fn input(&self) -> Input<'_> {
        Input::Facts(self)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<bool, StoreError> {
        Ok(rows::clear_some_in_txn(connection, tenant)?)
    }
}

impl TakesFacts for Statistics {
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        _: &Names,
    ) -> Result<(), StoreError> {
        Ok(rows::add_in_txn(connection, tenant, &cells::fold(facts))?)
    }
}
