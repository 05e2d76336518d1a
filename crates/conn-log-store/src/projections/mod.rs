//! Projections: tables derived from the log, and reads that count what they have not taken in yet.
//!
//! A projection has a watermark, the last id that it has taken in. A step ([`step`]) reads a run of
//! events past the watermark, and in one transaction changes the rows that they concern and moves the
//! watermark. A crash between any two steps neither repeats nor skips an
//! event. The events are read once for all projections that stand at the same place; one that is
//! computed anew stands alone and holds up no other. The [`runner`] makes the steps, woken by commits.
//!
//! What a projection computes is in modules without I/O ([`presence`], [`sessions`], most of [`statistics`]), which the
//! step and the reads share: a read takes the table and the events past the watermark out of
//! one snapshot and adds the latter up in memory, so that its answer is exact.
//!
//! **Invariants**
//! - State and watermark change in one transaction, under the tenant's lease ([`Lease::Projections`](crate::lease::Lease)).
//! - The state is a function of the set of events up to the watermark, not of how they were cut into
//!   runs or ordered.
//! - Nothing here writes an event, or knows HTTP.

mod fact;
mod names;
mod presence;
mod presence_rows;
mod read;
mod read_presence;
mod read_sessions;
mod runner;
mod session_rows;
mod sessions;
mod statistics;
mod step;
mod tables;

use diesel::prelude::*;

use crate::connection::AnyConnection;
use crate::tenants::TenantId;
use fact::Fact;
use names::Names;

pub use read::{Page, PageQuery, PageStart};
pub use read_presence::{Application, Device};
pub use read_sessions::{Session, SessionFilter, SessionPlace};
pub use statistics::figures::{Durations, Figures, SignalStrengths};
pub use statistics::groups::{StatisticsAnswer, StatisticsRow};
pub use statistics::query::{GroupBy, Interval, StatisticsError, StatisticsQuery};
pub use step::{Progress, UnknownProjection};

pub(crate) use names::NameCache;
pub(crate) use runner::{Runner, spawn};
pub(crate) use step::{behind_by_tenant, forget_in_txn};
pub(crate) use tables::projections;

/// One projection: its name, and how it takes in a run of events.
trait Projection: Sync {
    /// As `conn-log rebuild` and the table of watermarks call it.
    fn name(&self) -> &'static str;

    /// Changes the rows that these events concern.
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        names: &Names,
    ) -> QueryResult<()>;

    /// Forgets some of what it holds; tells whether there may be more.
    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> QueryResult<bool>;
}

/// All of them.
const ALL: &[&dyn Projection] = &[&Presence, &Sessions, &Statistics];

const PRESENCE: &str = "presence";
const SESSIONS: &str = "sessions";
const STATISTICS: &str = "statistics";

struct Presence;

impl Projection for Presence {
    fn name(&self) -> &'static str {
        PRESENCE
    }

    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        names: &Names,
    ) -> QueryResult<()> {
        let fold = presence::PresenceFold::of(facts, names);
        presence_rows::add_in_txn(connection, tenant, fold, names)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> QueryResult<bool> {
        presence_rows::clear_some_in_txn(connection, tenant)
    }
}

struct Sessions;

impl Projection for Sessions {
    fn name(&self) -> &'static str {
        SESSIONS
    }

    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        _: &Names,
    ) -> QueryResult<()> {
        let marks = sessions::marks_of(facts);
        let changes = session_rows::settle(connection, tenant, &marks)?;
        session_rows::write_in_txn(connection, tenant, &changes)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> QueryResult<bool> {
        session_rows::clear_some_in_txn(connection, tenant)
    }
}

struct Statistics;

impl Projection for Statistics {
    fn name(&self) -> &'static str {
        STATISTICS
    }

    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        _: &Names,
    ) -> QueryResult<()> {
        let delta = statistics::cells::fold(facts);
        statistics::rows::add_in_txn(connection, tenant, &delta)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> QueryResult<bool> {
        statistics::rows::clear_some_in_txn(connection, tenant)
    }
}
