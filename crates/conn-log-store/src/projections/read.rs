//! What reads of projections share: one snapshot of state and log, and pages.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

use super::fact::{self, Fact};
use super::step::{Progress, watermarks};
use crate::connection::AnyConnection;
use crate::error::StoreError;
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
    /// All of them, for the names in them.
    pub(super) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Those past one watermark.
    pub(super) fn past(&self, watermark: i64) -> &[Fact] {
        &self.facts[self.facts.partition_point(|fact| fact.id <= watermark)..]
    }
}

/// Events that a read adds up by itself; of more it first lets the projections take some in. At
/// some microseconds each the read stays well below a second.
const TAIL_EVENTS_MAX: i64 = 20_000;

/// How long a read helps with that. Beyond it, as after a rebuild, it is told to come back.
const HELP_TIME_MAX: Duration = Duration::from_secs(10);

/// Events of a run that a read helps with.
const HELP_RUN_EVENTS_MAX: usize = 10_000;

impl Store {
    /// Reads state and tail in one snapshot. `read` gets the watermarks in the order of `names`.
    pub(super) fn read_projections<T, E: From<StoreError>, const N: usize>(
        &self,
        tenant: TenantId,
        names: [&'static str; N],
        read: impl FnOnce(&mut AnyConnection, [i64; N], &Tail) -> Result<T, E>,
    ) -> Result<T, E> {
        self.help(tenant)?;
        let connection = &mut *self.reader()?;
        in_snapshot(connection, |connection| {
            let watermarks = watermarks(connection, tenant).map_err(StoreError::from)?;
            let marks = names.map(|name| watermarks.get(name).copied().unwrap_or(0));
            let lowest = marks.iter().copied().min().unwrap_or(0);
            // Bounded: `help` has seen to the most, and what came since is at most a moment's.
            let facts = fact::read(connection, tenant, lowest, i64::MAX, i64::MAX)
                .map_err(StoreError::from)?;
            read(connection, marks, &Tail { facts })
        })
    }

    /// Takes part in the work if too much of it is left.
    fn help(&self, tenant: TenantId) -> Result<(), StoreError> {
        let until = Instant::now() + HELP_TIME_MAX;
        while self.projections_behind(tenant)? > TAIL_EVENTS_MAX {
            if Instant::now() > until {
                return Err(StoreError::Unavailable(
                    "a projection is being computed anew".to_owned(),
                ));
            }
            if self.projections_step(tenant, HELP_RUN_EVENTS_MAX)? == Progress::Busy {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Runs `read` in a transaction that sees one state of the database throughout.
fn in_snapshot<T, E: From<StoreError>>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, E>,
) -> Result<T, E> {
    match connection {
        AnyConnection::Sqlite(sqlite) => sqlite.batch_execute("BEGIN"),
        AnyConnection::Postgres(postgres) => {
            postgres.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        }
    }
    .map_err(StoreError::from)?;
    let result = read(connection);
    let ended = connection.rollback();
    let value = result?;
    ended.map_err(StoreError::from)?;
    Ok(value)
}
