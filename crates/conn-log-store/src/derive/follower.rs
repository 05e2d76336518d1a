//! What every follower of the log is.

use std::time::Duration;

use super::dictionary::Names;
use super::facts::Fact;
use super::keys::KeyRow;
use crate::engine::{AnyConnection, Engine, Home, Lease, Signals};
use crate::error::StoreError;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// Something that follows the log: it takes events in, in the order of the log, and keeps what it makes of them in
/// tables of its own.
///
/// **Invariants**
/// - What it keeps is a function of the set of events up to its watermark, and not of how they were cut into
///   batches.
/// - It writes only under its lease, in the transaction that moves its watermark.
pub(crate) trait Follower: Send + Sync {
    /// As `conn-log rebuild` and the table of positions call it.
    fn name(&self) -> &'static str;

    /// The version of what it keeps: its format and its meaning. Data of a lower one is computed anew.
    fn version(&self) -> i16;

    /// Where it keeps it.
    fn home(&self) -> Home {
        Home::Rebuildable
    }

    /// Which thread steps it.
    fn pace(&self) -> Pace;

    /// What it reads of events.
    fn input(&self) -> Input<'_>;

    /// How many of the events that it is behind it takes in next, at most `most`. `None` to wait for more.
    fn batch_events(&self, behind: i64, most: i64) -> Option<i64> {
        Some(behind.min(most)).filter(|events| *events > 0)
    }

    /// Hides what it keeps from readers that do not ask where it stands, before it is cleared.
    fn hide_in_txn(&self, _: &mut AnyConnection, _: TenantId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Clears some of what it keeps; tells whether there may be more.
    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<bool, StoreError>;

    /// Does some of its upkeep, in transactions of its own; tells whether there may be more. Called after it has
    /// taken something in, and now and then.
    fn maintain(&self, _: Upkeep<'_>) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// Whose upkeep is due, and by what means.
pub(crate) struct Upkeep<'a> {
    pub(crate) engine: &'a Engine,
    /// A connection that reads.
    pub(crate) reader: &'a mut AnyConnection,
    pub(crate) tenant: TenantId,
    pub(crate) signals: &'a Signals,
}

/// What a follower reads of events, and how it takes a batch of them in.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// What projections look at, with numbers in the place of names.
    Facts(&'a dyn TakesFacts),
    /// The columns that events are found by.
    Keys(&'a dyn TakesKeys),
}

/// The kinds of input. Followers that read the same kind from the same position share one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InputKind {
    Facts,
    Keys,
}

impl Input<'_> {
    pub(super) fn kind(self) -> InputKind {
        match self {
            Input::Facts(_) => InputKind::Facts,
            Input::Keys(_) => InputKind::Keys,
        }
    }
}

/// Takes facts in.
pub(crate) trait TakesFacts {
    /// Changes the rows that these events concern.
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        names: &Names,
    ) -> Result<(), StoreError>;
}

/// Takes keys in.
pub(crate) trait TakesKeys {
    /// Writes what it makes of the events of a span, some of which may be gone.
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        span: Span,
        rows: &[KeyRow],
    ) -> Result<(), StoreError>;
}

/// How soon a follower takes in what was committed. Each pace is a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// Soon after the commit, as often as there is a batch.
    Prompt,
    /// When something has gathered. A batch writes each row that it touches once: the more events, the less each
    /// costs. Reads add up by themselves what gathers meanwhile.
    Patient,
}

impl Pace {
    /// The name of its thread.
    pub(super) fn thread(self) -> &'static str {
        match self {
            Pace::Prompt => "conn-log-index",
            Pace::Patient => "conn-log-projections",
        }
    }

    /// How long events gather after a commit before a step that could take in more of them.
    pub(super) fn gather(self) -> Duration {
        match self {
            // A fraction of the time that reading a tail of one run's events takes to grow.
            Pace::Prompt => Duration::from_millis(50),
            Pace::Patient => Duration::from_millis(1_500),
        }
    }

    /// Events of one step at most.
    pub(super) fn batch_events_max(self) -> i64 {
        match self {
            Pace::Prompt => i64::MAX,
            Pace::Patient => 64_000,
        }
    }

    /// Whether its thread gives way to threads that someone waits for.
    pub(super) fn gives_way(self) -> bool {
        self == Pace::Patient
    }
}

/// What followers have in common that can share a read and a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) pace: Pace,
    pub(super) kind: InputKind,
    pub(super) home: Home,
}

impl Lane {
    pub(super) fn of(follower: &dyn Follower) -> Self {
        let kind = follower.input().kind();
        Lane { pace: follower.pace(), kind, home: follower.home() }
    }
}

impl dyn Follower + '_ {
    /// The lease to write its data of a tenant's log.
    pub(super) fn lease(&self, tenant: TenantId) -> Lease {
        Lease { tenant, name: self.name(), version: self.version(), home: self.home() }
    }
}
