//! Exact reads of derived data: tables and the tail of the log, from one snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Derivation;
use super::dictionary::{self, Names};
use super::facts::{self, Fact};
use super::follower::Lane;
use super::marks::{CLEARING, Marks, marks};
use super::step::{Group, Progress};
use crate::engine::{AnyConnection, Plans, ReadError, in_snapshot};
use crate::error::StoreError;
use crate::log::heads::{self, LogBounds};
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// The events that some followers have not taken in, as of a snapshot.
pub(super) struct Tail {
    facts: Vec<Fact>,
}

impl Tail {
    /// The events past one watermark.
    pub(super) fn past(&self, watermark: i64) -> &[Fact] {
        &self.facts[self.facts.partition_point(|fact| fact.id <= watermark)..]
    }
}

/// Limit of events that a read adds itself; if there are more, the followers first take some in. At
/// some microseconds each, the read stays below a second. The fastest single events reach this
/// number in a second or two.
const TAIL_EVENTS_MAX: i64 = 100_000;

/// Longest help of a read with that. After this time, as during a rebuild, the read fails and must
/// be tried again later.
const HELP_TIME_MAX: Duration = Duration::from_secs(10);

/// Limit of events of a step in such help.
const HELP_EVENTS_MAX: i64 = 20_000;

/// Pause between two checks of a log that another process works on.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

impl Derivation {
    /// Reads tables and tail in one snapshot. `read` gets the watermarks in the order of `names`,
    /// the tail, and the names in the tail.
    pub(super) fn read<T, E: ReadError, const N: usize>(
        self: &Arc<Self>,
        tenant: TenantId,
        followers: [&'static str; N],
        read: impl FnOnce(&mut AnyConnection, [i64; N], &Tail, Names) -> Result<T, E>,
    ) -> Result<T, E> {
        let until = Instant::now() + HELP_TIME_MAX;
        let time_max = self.engine.read_time_max();
        let mut read = Some(read);
        loop {
            self.help(tenant, &followers, until)?;
            let connection = &mut *self.engine.reader_of(tenant).map_err(E::from)?;
            let answer = in_snapshot(connection, time_max, Plans::Free, |connection| {
                let (marks, log) = self.standing(connection, tenant, &followers)?;
                let marks = followers.map(|name| marks.get(name).copied().unwrap_or(CLEARING));
                let lowest = marks.iter().copied().min().unwrap_or(0);
                // Many events may have come, or a rebuild may have begun, since the last check.
                if lowest == CLEARING || behind(lowest, log) > 2 * TAIL_EVENTS_MAX {
                    return Ok(None);
                }
                let span = Span { first: lowest + 1, last: log.size }.and(log.span());
                let facts = facts::read(connection, tenant, span).map_err(StoreError::from)?;
                let mut names = Names::default();
                dictionary::find(connection, tenant, &self.dictionary, facts.names(), &mut names)
                    .map_err(StoreError::from)?;
                let tail = Tail { facts: facts.numbered(&names) };
                let read = read.take();
                read.map(|read| read(connection, marks, &tail, names)).transpose()
            })?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// Helps with the work if too many events are behind. Of several reads one works, and the
    /// others wait for it.
    fn help(
        self: &Arc<Self>,
        tenant: TenantId,
        names: &[&'static str],
        until: Instant,
    ) -> Result<(), StoreError> {
        loop {
            let (marks, log) =
                self.standing(&mut *self.engine.reader_of(tenant)?, tenant, names)?;
            let lowest = marks.iter().min_by_key(|(_, mark)| **mark);
            let Some((name, mark)) = lowest.filter(|_| marks.len() == names.len()) else {
                return Err(StoreError::unavailable(
                    "a newer server, or one with another session timeout, derives this data",
                ));
            };
            if *mark != CLEARING && behind(*mark, log) <= TAIL_EVENTS_MAX {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(StoreError::unavailable("derived data is being computed anew"));
            }
            let Some(follower) = self.find(name) else { return Ok(()) };
            let group = Group { mark: *mark, lane: Lane::of(follower) };
            let alone = self.help_alone();
            let reader = &mut *self.engine.reader_of(tenant)?;
            let progress = self.step_group(reader, tenant, group, HELP_EVENTS_MAX)?;
            drop(alone);
            if progress == Progress::Busy {
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }

    /// The watermarks of some followers in a log, and the log's bounds.
    fn standing(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        names: &[&'static str],
    ) -> Result<(Marks, LogBounds), StoreError> {
        // Read before the log's bounds: so the log is never behind the watermarks.
        let followers = self.all().filter(|follower| names.contains(&follower.name()));
        let marks = marks(connection, tenant, followers)?;
        Ok((marks, heads::bounds(connection, tenant)?))
    }
}

/// Events of a log past a watermark, removed ones excepted.
fn behind(mark: i64, log: LogBounds) -> i64 {
    log.size - mark.max(log.first_id - 1)
}
