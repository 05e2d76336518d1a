//! The index of the log: sorted runs instead of secondary indexes.
//!
//! An append writes only to the log. Later the follower [`Index`] makes a *sorted run* of each few
//! thousand events: their keys ([`terms`]), sorted, packed into blocks of a page ([`block`]), so
//! that every write goes to the end. Runs are merged level by level ([`merge`]), so that there are
//! only some dozens of them, however long the log is. A read ([`page`]) goes through the runs in
//! the requested order, and through the events that are in no run yet, in one snapshot: its result
//! equals that of a scan of the log, at every state of the index.
//!
//! Architecture invariant: nothing here changes an event or is needed to find one. Without any runs
//! reads are only slower.

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

/// The highest level of runs. The limit bounds the work and the space of a merge, and the work of a
/// read within one run. Ten million events are 19 runs of this level.
const LEVEL_MAX: i16 = 2;

/// The number of runs of the level below in a run. With fewer, each key is rewritten more often;
/// with more, a read looks into more runs.
const FAN_OUT: i64 = 16;

/// Blocks written by one statement: a MiB.
const BLOCKS_AT_ONCE: usize = 256;

/// The numbers of events of runs.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// The size of a run of level 0.
    smallest: i64,
}

impl Sizes {
    fn of(self, level: i16) -> i64 {
        (0..level).fold(self.smallest, |size, _| size.saturating_mul(FAN_OUT))
    }

    /// The level of a run with that many events. If the index is far behind, larger runs save
    /// merges.
    fn level_of(self, events: i64) -> Option<i16> {
        [1, 0].into_iter().find(|level| events >= self.of(*level))
    }
}

/// The follower for the index.
pub(super) struct Index {
    sizes: Sizes,
}

impl Index {
    /// `run_events` is the size of a run of level 0.
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

/// Adds a run at the end of the index.
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
