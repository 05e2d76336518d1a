//! What reads of projections share: one snapshot of state and log, and pages.

use std::time::{Duration, Instant};

use diesel::prelude::*;

use super::fact::{self, Fact};
use super::names::{self, Names};
use super::step::{CLEARING, Progress, watermarks};
use crate::connection::AnyConnection;
use crate::error::StoreError;
use crate::schema::heads;
use crate::snapshot::{Plans, in_snapshot};
use crate::store::Store;
use crate::tenants::TenantId;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// In the list's order, whichever way the page was read.
    pub items: Vec<T>,
    /// Whether there are more beyond the page, in the direction that it was read.
    pub has_more: bool,
}

/// From where, and which way, a page is read. `P` is a place in the list.
#[derive(Clone, Debug, PartialEq)]
pub enum PageStart<P> {
    /// The first page.
    First,
    /// What follows this place.
    After(P),
    /// What comes just before this place.
    Before(P),
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct PageQuery<P> {
    /// From where on.
    pub start: PageStart<P>,
    /// At most this many, 1 or more.
    pub limit: usize,
}

impl<P: Clone> PageQuery<P> {
    pub(super) fn place(&self) -> Option<P> {
        match &self.start {
            PageStart::First => None,
            PageStart::After(place) | PageStart::Before(place) => Some(place.clone()),
        }
    }

    pub(super) fn is_backwards(&self) -> bool {
        matches!(self.start, PageStart::Before(_))
    }

    /// The page out of items sorted in the direction of reading, one more than the page at least
    /// where there are more.
    pub(super) fn page<T>(&self, mut items: Vec<T>) -> Page<T> {
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        if self.is_backwards() {
            items.reverse();
        }
        Page { items, has_more }
    }
}

/// The events that some projections have not taken in, as of a snapshot.
pub(super) struct Tail {
    facts: Vec<Fact>,
}

impl Tail {
    /// Those past one watermark.
    pub(super) fn past(&self, watermark: i64) -> &[Fact] {
        &self.facts[self.facts.partition_point(|fact| fact.id <= watermark)..]
    }
}

/// Events that a read adds up by itself; of more it first lets the projections take some in. At
/// some microseconds each the read stays below a second. It is what comes in a second or two at the
/// fastest that single events come.
const TAIL_EVENTS_MAX: i64 = 100_000;

/// How long a read helps with that. Beyond it, as after a rebuild, it is told to come back.
const HELP_TIME_MAX: Duration = Duration::from_secs(10);

/// Events of a run that a read helps with.
const HELP_RUN_EVENTS_MAX: usize = 20_000;

/// Between two looks at a log that another process is at work on.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

impl Store {
    /// Reads state and tail in one snapshot. `read` gets the watermarks in the order of `projections`, and
    /// the names in the tail.
    pub(super) fn read_projections<T, E: From<StoreError>, const N: usize>(
        &self,
        tenant: TenantId,
        projections: [&'static str; N],
        read: impl FnOnce(&mut AnyConnection, [i64; N], &Tail, Names) -> Result<T, E>,
    ) -> Result<T, E> {
        let cache = self.names();
        let until = Instant::now() + HELP_TIME_MAX;
        let mut read = Some(read);
        loop {
            self.help(tenant, &projections, until)?;
            let connection = &mut *self.reader()?;
            let answer = in_snapshot(connection, Plans::Free, |connection| {
                let (marks, behind) = standing(connection, tenant, projections)?;
                // Much may have come, or a rebuild have begun, since the look before.
                if behind > 2 * TAIL_EVENTS_MAX || marks.contains(&CLEARING) {
                    return Ok(None);
                }
                let lowest = marks.iter().copied().min().unwrap_or(0);
                let facts = fact::read(connection, tenant, lowest, i64::MAX, i64::MAX)
                    .map_err(StoreError::from)?;
                let mut names = Names::default();
                names::find(connection, tenant, &cache, facts.names(), &mut names)
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

    /// Takes part in the work if too much of it is left. Of several reads one does, and the others
    /// wait for what it does.
    fn help(
        &self,
        tenant: TenantId,
        names: &[&'static str],
        until: Instant,
    ) -> Result<(), StoreError> {
        loop {
            let (mark, behind) = {
                let watermarks = watermarks(&mut *self.reader()?, tenant)?;
                let lowest = names.iter().filter_map(|name| watermarks.get(name)).min();
                let lowest = lowest.copied().unwrap_or(0);
                (lowest, self.log_size(tenant)? - lowest)
            };
            if behind <= TAIL_EVENTS_MAX && mark != CLEARING {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(StoreError::Unavailable(
                    "a projection is being computed anew".to_owned(),
                ));
            }
            let alone = self.help_alone();
            let step = self.step_from(tenant, mark, HELP_RUN_EVENTS_MAX)?;
            drop(alone);
            if step == Progress::Busy {
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }
}

/// Where those projections stand, and how far the last of them is behind the log.
fn standing<const N: usize>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    names: [&'static str; N],
) -> Result<([i64; N], i64), StoreError> {
    let watermarks = watermarks(connection, tenant)?;
    let marks = names.map(|name| watermarks.get(name).copied().unwrap_or(0));
    let size: i64 = heads::table
        .find(tenant.0)
        .select(heads::size)
        .first(connection)
        .optional()?
        .ok_or(StoreError::NotFound("tenant"))?;
    Ok((marks, size - marks.iter().copied().min().unwrap_or(0)))
}
