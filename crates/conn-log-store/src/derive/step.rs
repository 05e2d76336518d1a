//! One step: a batch of events, taken in by the followers that stand before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Derivation;
use super::dictionary::{self, Names};
use super::facts::{self, Facts};
use super::follower::{Follower, Input, InputKind, Lane, Pace};
use super::keys::{self, KeyRow};
use super::marks::{CLEARING, all_marks, begin_anew_in_txn, marks, of_new_log, set_mark_in_txn};
use crate::engine::{AnyConnection, Wait};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::read::leaf_hash;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// That many events were taken in, events that are gone included.
    Taken(usize),
    /// Some rows of a follower that begins anew were removed.
    Cleared,
    /// There was nothing to do.
    UpToDate,
    /// Another process is at work on this tenant's derived data.
    Busy,
}

impl Progress {
    fn and(self, other: Progress) -> Progress {
        match (self, other) {
            (Progress::Taken(some), Progress::Taken(more)) => Progress::Taken(some + more),
            (Progress::UpToDate | Progress::Busy, other) | (other, _) => other,
        }
    }
}

/// A name that no follower of the log has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} does not follow the log; {known} do")]
pub struct UnknownFollower {
    /// The name.
    pub name: String,
    /// The names that there are.
    pub known: String,
}

/// Events to take in.
struct Batch {
    /// Their ids. Some may have no event any more.
    span: Span,
    events: Events,
}

enum Events {
    Facts(Facts),
    Keys(Vec<KeyRow>),
}

/// Followers that stand together: from which watermark on they read, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) mark: i64,
    pub(super) lane: Lane,
}

/// What a transaction took in.
enum Taken {
    Some {
        events: i64,
        names: Names,
    },
    Nothing,
    /// Another process has the lease of each.
    Busy,
}

impl Derivation {
    /// Lets the followers of a pace take in up to that many more events each, in a transaction for each group;
    /// those furthest on first, so that one that begins anew does not hold up the others.
    pub(crate) fn step(
        self: &Arc<Self>,
        reader: &mut AnyConnection,
        tenant: TenantId,
        pace: Pace,
        events_max: i64,
    ) -> Result<Progress, StoreError> {
        let marks = marks(reader, tenant, self.of_pace(pace))?;
        let groups: BTreeSet<Group> = self
            .of_pace(pace)
            .filter_map(|follower| {
                let mark = *marks.get(follower.name())?;
                Some(Group { mark, lane: Lane::of(follower) })
            })
            .collect();
        let mut all = Progress::UpToDate;
        for group in groups.into_iter().rev() {
            all = all.and(self.step_group(reader, tenant, group, events_max)?);
        }
        Ok(all)
    }

    /// One transaction: those of a group take in what follows.
    pub(super) fn step_group(
        self: &Arc<Self>,
        reader: &mut AnyConnection,
        tenant: TenantId,
        group: Group,
        events_max: i64,
    ) -> Result<Progress, StoreError> {
        if group.mark == CLEARING {
            return self.clear_some(tenant, group.lane);
        }
        // An open read of the log keeps SQLite's write-ahead log from beginning anew: not for as long as the step
        // writes. On PostgreSQL a process without a lease need not read.
        let read = if self.engine.derived_is_apart() {
            Some(self.next_batch(reader, tenant, group, events_max)?)
        } else {
            None
        };
        if let Some(None) = read {
            return Ok(Progress::UpToDate);
        }
        let derivation = Arc::clone(self);
        let taken = self.engine.derive(group.lane.home, move |connection| {
            derivation.take_in_txn(connection, tenant, group, events_max, read.flatten())
        })?;
        match taken {
            None | Some(Taken::Busy) => Ok(Progress::Busy),
            Some(Taken::Nothing) => Ok(Progress::UpToDate),
            Some(Taken::Some { events, names }) => {
                // Names that were rolled back are never remembered.
                self.dictionary.remember(tenant, &names);
                Ok(Progress::Taken(usize::try_from(events).unwrap_or(0)))
            }
        }
    }

    /// The events that follow a group, no further than the next group ahead. `None` where they are too few.
    fn next_batch(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        group: Group,
        events_max: i64,
    ) -> Result<Option<Batch>, StoreError> {
        // Before the events: all up to its end are committed.
        let log = heads::bounds(connection, tenant)?;
        let marks = marks(connection, tenant, self.of_lane(group.lane))?;
        let ahead = marks.values().copied().filter(|other| *other > group.mark).min();
        let until = log.size.min(ahead.unwrap_or(i64::MAX));
        // Events before the log's beginning are gone.
        let from = group.mark.max(log.first_id - 1).min(until);
        let behind = until - from;
        let of_group =
            self.of_lane(group.lane).filter(|f| marks.get(f.name()) == Some(&group.mark));
        let events = of_group.filter_map(|f| f.batch_events(behind, events_max)).min();
        // Where only removed ids are left, the watermark moves over them.
        let events = match events {
            Some(events) => events,
            None if from > group.mark => 0,
            None => return Ok(None),
        };
        let span = Span { first: from + 1, last: from + events };
        let events = match group.lane.kind {
            InputKind::Facts => Events::Facts(facts::read(connection, tenant, span)?),
            InputKind::Keys => Events::Keys(keys::read(connection, tenant, span)?),
        };
        Ok(Some(Batch { span, events }))
    }

    /// Has those of a group that this process gets the lease for take a batch in, which may have been read before.
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        group: Group,
        events_max: i64,
        read: Option<Batch>,
    ) -> Result<Taken, StoreError> {
        let mut leased = Vec::new();
        for follower in self.of_lane(group.lane) {
            if connection.lease_in_txn(follower.lease(tenant), Wait::No)? {
                leased.push(follower);
            }
        }
        if leased.is_empty() {
            return Ok(Taken::Busy);
        }
        // Another process may have been quicker.
        let marks = marks(connection, tenant, leased.iter().copied())?;
        leased.retain(|follower| marks.get(follower.name()) == Some(&group.mark));
        if leased.is_empty() {
            return Ok(Taken::Nothing);
        }
        let batch = match read {
            Some(batch) => Some(batch),
            None => self.next_batch(connection, tenant, group, events_max)?,
        };
        let Some(Batch { span, events }) = batch else {
            return Ok(Taken::Nothing);
        };
        let names = match events {
            Events::Facts(facts) => self.take_facts_in_txn(connection, tenant, &leased, facts)?,
            Events::Keys(rows) => {
                for follower in &leased {
                    if let Input::Keys(follower) = follower.input() {
                        follower.take_in_txn(connection, tenant, span, &rows)?;
                    }
                }
                Names::default()
            }
        };
        let anchor = if self.engine.derived_is_apart() {
            leaf_hash(connection, tenant, span.last, None)?
        } else {
            None
        };
        for follower in leased {
            set_mark_in_txn(connection, tenant, follower, span.last, anchor.clone())?;
        }
        Ok(Taken::Some { events: span.last - group.mark, names })
    }

    fn take_facts_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        followers: &[&dyn Follower],
        facts: Facts,
    ) -> Result<Names, StoreError> {
        let names = dictionary::give_in_txn(connection, tenant, &self.dictionary, facts.names())?;
        let facts = facts.numbered(&names);
        for follower in followers {
            if let Input::Facts(follower) = follower.input() {
                follower.take_in_txn(connection, tenant, &facts, &names)?;
            }
        }
        Ok(names)
    }

    /// Clears some of what followers keep that begin anew. The last of it lets them begin.
    fn clear_some(self: &Arc<Self>, tenant: TenantId, lane: Lane) -> Result<Progress, StoreError> {
        let derivation = Arc::clone(self);
        let done = self.engine.derive(lane.home, move |connection| {
            derivation.clear_some_in_txn(connection, tenant, lane)
        })?;
        Ok(done.unwrap_or(Progress::Busy))
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        lane: Lane,
    ) -> Result<Progress, StoreError> {
        let mut progress = Progress::Busy;
        for follower in self.of_lane(lane) {
            let of_follower = || std::iter::once(follower);
            let before = marks(connection, tenant, of_follower())?;
            if before.get(follower.name()) != Some(&CLEARING)
                || !connection.lease_in_txn(follower.lease(tenant), Wait::No)?
            {
                continue;
            }
            // Another process may have cleared the last of it.
            let marks = marks(connection, tenant, of_follower())?;
            if marks.get(follower.name()) == Some(&CLEARING)
                && !follower.clear_some_in_txn(connection, tenant)?
            {
                set_mark_in_txn(connection, tenant, follower, 0, None)?;
            }
            progress = Progress::Cleared;
        }
        Ok(progress)
    }

    /// Has a follower forget everything that it keeps of a tenant's log, and begin anew by the steps that come.
    pub(crate) fn rebuild(
        self: &Arc<Self>,
        tenant: TenantId,
        name: &str,
    ) -> Result<Result<(), UnknownFollower>, StoreError> {
        let Some(follower) = self.find(name) else {
            let known: Vec<&str> = self.all().map(Follower::name).collect();
            let (name, known) = (name.to_owned(), known.join(", "));
            return Ok(Err(UnknownFollower { name, known }));
        };
        let (derivation, name) = (Arc::clone(self), follower.name());
        let done = self.engine.derive(follower.home(), move |connection| {
            if let Some(follower) = derivation.find(name) {
                let lease = follower.lease(tenant);
                connection.lease_in_txn(lease, Wait::Yes)?;
                begin_anew_in_txn(connection, tenant, follower)?;
            }
            Ok(())
        })?;
        done.ok_or_else(|| StoreError::unavailable("another process is deriving"))?;
        self.signals.wake();
        Ok(Ok(()))
    }

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

    /// Of each tenant, the events that the slowest of some followers has not taken in.
    pub(super) fn behind_by_tenant(
        &self,
        connection: &mut AnyConnection,
        pace: Pace,
    ) -> Result<BTreeMap<TenantId, i64>, StoreError> {
        // Read first: no watermark is beyond a size that is read later.
        let marks = all_marks(connection, self.of_pace(pace))?;
        let behind = |(tenant, log): (TenantId, heads::LogBounds)| {
            let lowest = match marks.get(&tenant) {
                Some(marks) => marks.values().copied().min().unwrap_or(log.size),
                None => 0,
            };
            (tenant, log.size - lowest.max(log.first_id - 1).min(log.size))
        };
        Ok(heads::all_bounds(connection)?.into_iter().map(behind).collect())
    }

    /// Tenants of which a follower of that pace has a step to make.
    pub(super) fn due(
        &self,
        connection: &mut AnyConnection,
        pace: Pace,
    ) -> Result<Vec<TenantId>, StoreError> {
        let marks = all_marks(connection, self.of_pace(pace))?;
        let new = of_new_log(self.of_pace(pace));
        let is_due = |tenant: TenantId, log: heads::LogBounds| {
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

    /// Events that followers of each pace have not taken in, of all logs: prompt ones, patient ones.
    pub(crate) fn lag(&self) -> Result<(i64, i64), StoreError> {
        let connection = &mut *self.engine.watcher()?;
        let prompt = self.behind_by_tenant(connection, Pace::Prompt)?;
        let patient = self.behind_by_tenant(connection, Pace::Patient)?;
        Ok((prompt.into_values().sum(), patient.into_values().sum()))
    }
}
