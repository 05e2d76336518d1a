//! The index behind the log: sorted runs in place of secondary indexes.
//!
//! An append writes the log and nothing else. Behind it the follower [`Index`] makes a *sorted run* of each
//! few thousand events: their keys ([`terms`]), sorted, packed into blocks of a page ([`block`]), so
//! that every write goes to the end. Runs are merged level by level ([`merge`]), so that there are
//! some dozens of them, however long the log is. A read ([`page`]) goes through the runs in the order
//! asked for, and through the events that no run knows yet, in one snapshot: it gives what a scan of
//! the log gives, at every state of the index.
//!
//! Architecture invariant: nothing here changes an event or is needed to find one. Dropping every
//! run loses nothing but time.

mod block;
mod build;
mod by_id;
mod by_time;
mod id_set;
mod list;
mod merge;
mod probe;
mod ranges;
mod runs;
mod tables;
mod terms;
#[cfg(test)]
mod tests;
mod upkeep;

pub(crate) use list::page;

use super::follower::{Follower, Input, Pace, TakesKeys, Upkeep};
use super::keys::KeyRow;
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

pub(crate) const INDEX: &str = "index";

/// Runs are merged up to this level, and no further: a merge, the space that it needs meanwhile, and
/// the work of a read within one run stay bounded. Ten million events are 19 runs of it.
const LEVEL_MAX: i16 = 2;

/// A run holds this many of the level below. Fewer, and each key is rewritten more often; more, and a
/// read looks into more runs.
const FAN_OUT: i64 = 16;

/// Blocks written in a statement: a MiB.
const BLOCKS_AT_ONCE: usize = 256;

/// How many events make a run.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Of level 0.
    smallest: i64,
}

impl Sizes {
    fn of(self, level: i16) -> i64 {
        (0..level).fold(self.smallest, |size, _| size.saturating_mul(FAN_OUT))
    }

    /// The level of the run that so many events make at once. Far behind, larger runs save merges.
    fn level_of(self, events: i64) -> Option<i16> {
        [1, 0].into_iter().find(|level| events >= self.of(*level))
    }
}

/// The follower.
pub(super) struct Index {
    sizes: Sizes,
}

impl Index {
    /// Runs of level 0 have that many events.
    pub(super) fn new(run_events: u32) -> Self {
        Index { sizes: Sizes { smallest: i64::from(run_events.max(1)) } }
    }
}

impl Follower for Index {
    fn name(&self) -> &'static str {
        INDEX
    }

    fn version(&self) -> i16 {
        1
    }

    fn pace(&self) -> Pace {
        Pace::Prompt
    }

    fn input(&self) -> Input<'_> {
        Input::Keys(self)
    }

    fn batch_events(&self, behind: i64, most: i64) -> Option<i64> {
        self.sizes.level_of(behind.min(most)).map(|level| self.sizes.of(level))
    }

    fn hide_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<(), StoreError> {
        Ok(runs::hide_in_txn(connection, tenant)?)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<bool, StoreError> {
        Ok(runs::clear_one_in_txn(connection, tenant)?)
    }

    fn maintain(&self, upkeep: Upkeep<'_>) -> Result<bool, StoreError> {
        upkeep::merge(upkeep, self)
    }
}

impl TakesKeys for Index {
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        span: Span,
        rows: &[KeyRow],
    ) -> Result<(), StoreError> {
        if span.is_empty() {
            return Ok(());
        }
        let events = i64::try_from(span.len()).unwrap_or(i64::MAX);
        let level = self.sizes.level_of(events).unwrap_or(0);
        let (new, blocks) = build::build(tenant, level, span, rows);
        add_in_txn(connection, new, &blocks)
    }
}

/// Adds a run to the end.
fn add_in_txn(
    connection: &mut AnyConnection,
    new: tables::NewRun,
    blocks: &[block::Block],
) -> Result<(), StoreError> {
    let run = runs::begin_in_txn(connection, new)?;
    for some in blocks.chunks(BLOCKS_AT_ONCE) {
        runs::write_in_txn(connection, new.tenant_id, run, some)?;
    }
    Ok(())
}
