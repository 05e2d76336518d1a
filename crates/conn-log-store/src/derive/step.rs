//! One step: the followers at one position take in a batch of events.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Derivation;
use super::dictionary::{self, Names};
use super::facts::{self, Facts};
use super::follower::{Follower, Input, InputKind, Lane, Pace};
use super::keys::{self, KeyRow};
use super::marks::{CLEARING, marks, set_mark_in_txn};
use crate::engine::{AnyConnection, Wait};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::read::leaf_hash;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// Facts that followers take in at a time: what they make of one event takes up to two KiB of
/// memory.
const FACTS_AT_ONCE: usize = 64_000;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// That many events were taken in; removed events count too.
    Taken(usize),
    /// Some rows of a follower that begins again were deleted.
    Cleared,
    /// There was nothing to do.
    UpToDate,
    /// Another process works on this tenant's derived data.
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

/// Events to take in.
struct Batch {
    /// Their ids. Some may no longer have an event.
    span: Span,
    events: Events,
}

enum Events {
    Facts(Facts),
    Keys(Vec<KeyRow>),
}

/// Followers at the same position: their watermark and their input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) mark: i64,
    pub(super) lane: Lane,
}

/// The outcome of a transaction.
enum Taken {
    Some {
        events: i64,
        names: Names,
    },
    Nothing,
    /// Another process has all of the leases.
    Busy,
}

impl Derivation {
    /// Makes the followers of a pace take in up to that many more events each, in one transaction
    /// for each group; the furthest groups first, so that a follower that begins again does not
    /// delay the others.
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

    /// Makes the followers of a group take in the next batch, in one transaction.
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
        // An open read prevents a restart of SQLite's write-ahead log: so it must not stay open
        // while the step writes. On PostgreSQL a process without a lease need not read.
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
                // Names of a transaction that was rolled back must not be cached.
                self.dictionary.remember(tenant, &names);
                Ok(Progress::Taken(usize::try_from(events).unwrap_or(0)))
            }
        }
    }

    /// The events after a group's watermark, at most up to the next group ahead. `None` if there
    /// are too few.
    fn next_batch(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        group: Group,
        events_max: i64,
    ) -> Result<Option<Batch>, StoreError> {
        // Read before the events: all events up to this end are committed.
        let log = heads::bounds(connection, tenant)?;
        let marks = marks(connection, tenant, self.of_lane(group.lane))?;
        let ahead = marks.values().copied().filter(|other| *other > group.mark).min();
        let until = log.size.min(ahead.unwrap_or(i64::MAX));
        // Events before the log's first id are removed.
        let from = group.mark.max(log.first_id - 1).min(until);
        let behind = until - from;
        let of_group =
            self.of_lane(group.lane).filter(|f| marks.get(f.name()) == Some(&group.mark));
        let events = of_group.filter_map(|f| f.batch_events(behind, events_max)).min();
        // If only removed ids are left, the watermark moves past them.
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

    /// Makes the followers whose lease this process gets take in a batch, which may have been read
    /// before.
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
        // Another process may have done this step already.
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
        for some in facts.chunks(FACTS_AT_ONCE) {
            for follower in followers {
                if let Input::Facts(follower) = follower.input() {
                    follower.take_in_txn(connection, tenant, some, &names)?;
                }
            }
        }
        Ok(names)
    }
}
