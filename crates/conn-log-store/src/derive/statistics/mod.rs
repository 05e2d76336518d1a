//! Statistics: counts, distinct devices and percentiles, kept in rollups of several levels.
//!
//! A [`tally::Tally`] is what is known of some events; two of them add up to one. A rollup
//! ([`cells`]) is a row of tallies, one for each of the finer parts of a span of time of an
//! application or device. A question ([`query`]) adds up the rollups of the coarsest level that
//! can answer it, the events at its edges, and those that no rollup has yet. Only [`rows`] and
//! [`query`] do I/O.

mod cells;
mod codec;
mod figures;
mod groups;
mod query;
mod rows;
mod spread;
mod tally;

pub use figures::{Durations, Figures, SignalStrengths};
pub use groups::{StatisticsAnswer, StatisticsRow};
pub(crate) use query::statistics;
pub use query::{GroupBy, Interval, StatisticsError, StatisticsQuery};

use super::dictionary::Names;
use super::facts::Fact;
use super::follower::{Follower, Input, Pace, TakesFacts};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

const STATISTICS: &str = "statistics";

/// The follower.
pub(super) struct Statistics;

impl Follower for Statistics {
    fn name(&self) -> &'static str {
        STATISTICS
    }

    fn version(&self) -> i16 {
        1
    }

    fn pace(&self) -> Pace {
        Pace::Patient
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
