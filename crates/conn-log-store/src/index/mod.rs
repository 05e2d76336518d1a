//! The index behind the log: sorted runs in place of secondary indexes.
//!
//! An append writes the log and nothing else. Behind it one thread ([`worker`]) makes a *run* of each
//! few thousand events: their keys ([`terms`]), sorted, packed into blocks of a page ([`block`]), so
//! that every write goes to the end. Runs are merged level by level ([`merge`]), so that there are
//! some dozens of them, however long the log is. A read ([`list()`]) goes through the runs in the order
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
mod worker;

pub(crate) use list::list;
pub(crate) use runs::{behind, forget_in_txn};
pub(crate) use worker::{Worker, spawn};

use crate::error::StoreError;
use crate::lease::Lease;
use crate::store::Store;
use crate::tenants::TenantId;

/// As the events that the index knows are anchored.
pub(crate) const INDEX: &str = "index";

/// Runs are merged up to this level, and no further: a merge, the space that it needs meanwhile, and
/// the work of a read within one run stay bounded. Ten million events are 19 runs of it.
const LEVEL_MAX: i16 = 2;

/// A run holds this many of the level below. Fewer, and each key is rewritten more often; more, and a
/// read looks into more runs.
const FAN_OUT: i64 = 16;

/// The crate's own tests meet each limit with a few hundred events.
const fn small_in_tests(limit: usize, in_tests: usize) -> usize {
    if cfg!(test) { in_tests } else { limit }
}

/// How many events make a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Of level 0.
    pub(crate) smallest: i64,
}

impl Sizes {
    fn of(self, level: i16) -> i64 {
        (0..level).fold(self.smallest, |size, _| size.saturating_mul(FAN_OUT))
    }
}

/// Ids from `first` to `last`, both included; none if `last` is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Span {
    pub(crate) const ALL: Span = Span { first: 1, last: i64::MAX };

    pub(crate) fn len(self) -> u64 {
        self.last.saturating_add(1).saturating_sub(self.first).max(0).cast_unsigned()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.last < self.first
    }

    pub(crate) fn contains(self, id: i64) -> bool {
        self.first <= id && id <= self.last
    }

    pub(crate) fn and(self, other: Span) -> Span {
        Span { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// Cuts off up to `count` ids, from the end or from the start.
    fn cut(&mut self, count: i64, is_descending: bool) -> Span {
        let mut cut = *self;
        if is_descending {
            cut.first = cut.first.max(self.last.saturating_sub(count - 1));
            self.last = cut.first - 1;
        } else {
            cut.last = cut.last.min(self.first.saturating_add(count - 1));
            self.first = cut.last.saturating_add(1);
        }
        cut
    }
}

impl Store {
    /// How many events of a log the index does not know yet; reads look through these one by one.
    /// Blocks the thread.
    pub fn index_lag(&self, tenant: TenantId) -> Result<i64, StoreError> {
        let indexed_to = runs::indexed_to(&mut *self.reader()?, tenant)?;
        Ok(self.log_size(tenant)? - indexed_to)
    }

    /// Drops the index of every log and has it made anew, in the background; reads are right and
    /// slower meanwhile. Blocks the thread.
    pub fn index_rebuild(&self) -> Result<(), StoreError> {
        for log in runs::standings(&mut *self.reader()?)? {
            self.derive_in_turn(log.tenant, Lease::Index, |connection| {
                Ok(runs::forget_in_txn(connection, log.tenant)?)
            })?;
        }
        self.wake();
        Ok(())
    }
}
