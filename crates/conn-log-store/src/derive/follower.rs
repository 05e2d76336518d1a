//! The interface of every follower of the log.

use std::time::Duration;

use super::dictionary::Names;
use super::facts::Fact;
use super::keys::KeyRow;
use crate::engine::{AnyConnection, Engine, Home, Lease, Signals};
use crate::error::StoreError;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// A follower of the log: it takes in events in the order of the log, and keeps derived data in its
/// own tables.
///
/// **Invariants**
/// - Its data is a function of the set of events up to its watermark, and does not depend on the
///   batches.
/// - It writes only under its lease, in the transaction that moves its watermark.
pub(crate) trait Follower: Send + Sync {
    /// Its name in `conn-log rebuild` and in the table of positions.
    fn name(&self) -> &'static str;

    /// The version of its data: of the format and of the meaning. Data of a lower version is
    /// computed again.
    fn version(&self) -> i16;

    /// The setting that its data depends on, as a number. When a server with another setting
    /// starts, the data is computed again.
    fn setting(&self) -> i64 {
        0
    }

    /// The home of its data.
    fn home(&self) -> Home {
        Home::Rebuildable
    }

    /// Its pace; each pace has a thread.
    fn pace(&self) -> Pace {
        Pace::Patient
    }

    /// Its input from the log.
    fn input(&self) -> Input<'_>;

    /// The number of events to take in next, at most `most`, if it is `behind` by that many. `None`
    /// to wait for more.
    fn batch_events(&self, behind: i64, most: i64) -> Option<i64> {
        Some(behind.min(most)).filter(|events| *events > 0)
    }

    /// Hides its data, before it is deleted, from readers that do not check its watermark.
    fn hide_in_txn(&self, _: &mut AnyConnection, _: TenantId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Deletes some of its data; returns whether there may be more.
    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<bool, StoreError>;

    /// Does some of its upkeep, in its own transactions; returns whether there may be more. Called
    /// after it has taken in events, and now and then.
    fn maintain(&self, _: Upkeep<'_>) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// The tenant and the resources for a follower's upkeep.
pub(crate) struct Upkeep<'a> {
    pub(crate) engine: &'a Engine,
    /// A connection that reads.
    pub(crate) reader: &'a mut AnyConnection,
    pub(crate) tenant: TenantId,
    pub(crate) signals: &'a Signals,
}

/// A follower's input, and its function that takes in a batch.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// The fields that projections read, with numbers instead of names.
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
    /// Changes the rows that depend on these events.
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
    /// Writes the data of the events of a span, some of which may no longer exist.
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        span: Span,
        rows: &[KeyRow],
    ) -> Result<(), StoreError>;
}

/// The delay with which a follower takes in events. Each pace has a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// Soon after the commit, as soon as there is a batch.
    Prompt,
    /// After many events have gathered. A batch writes each changed row once: so more events cost
    /// less each. Meanwhile reads add the gathered events themselves.
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

    /// The time that events gather after a commit before a step that could take in more of them.
    pub(super) fn gather(self) -> Duration {
        match self {
            // A small part of the time in which the tail grows to a run's number of events.
            Pace::Prompt => Duration::from_millis(50),
            Pace::Patient => Duration::from_millis(1_500),
        }
    }

    /// Limit of events of one step. `is_loaded` tells that events keep coming: on SQLite the steps
    /// of both paces wait for each other, so that the steps are shorter then.
    ///
    /// New sessions are at random places of their indexes: a step of fewer events changes nearly as
    /// many pages. So a log that is behind is written in larger steps.
    pub(super) fn batch_events_max(self, is_loaded: bool) -> i64 {
        match self {
            Pace::Prompt => i64::MAX,
            Pace::Patient if is_loaded => 64_000,
            Pace::Patient => 256_000,
        }
    }

    /// Whether its thread has low priority, so that threads with waiting callers run first.
    pub(super) fn gives_way(self) -> bool {
        self == Pace::Patient
    }
}

/// The properties by which followers can share a read and a transaction.
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
    /// The lease to write the follower's data of a tenant's log.
    pub(super) fn lease(&self, tenant: TenantId) -> Lease {
        let (name, version, setting) = (self.name(), self.version(), self.setting());
        Lease { tenant, name, version, setting, home: self.home() }
    }
}
