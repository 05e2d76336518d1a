//! Sessions, and the connected devices that follow from them: the result does not depend on the
//! order in which events came (docs/decisions/017).

mod counts;
mod fold;
mod gaps;
mod list;
mod marks;
mod read;
mod rows;
mod state;

pub(super) use counts::{ApplicationCount, Counting, OpenCount};
pub(crate) use read::session_list;
pub use read::{EndReason, Session, SessionFilter, SessionPlace};
pub(super) use rows::Changes;

use chrono::TimeDelta;
use diesel::QueryResult;

use super::dictionary::Names;
use super::facts::Fact;
use super::follower::{Follower, Input, TakesFacts};
use crate::engine::{AnyConnection, Engine, Home, Signals, positions};
use crate::error::StoreError;
use crate::options::SessionTimeout;
use crate::tenant_id::TenantId;

pub(super) const SESSIONS: &str = "sessions";

/// The follower for sessions.
pub(super) struct Sessions {
    /// An open session without an event for longer has ended at its last; `None` if no session
    /// times out.
    pub(super) timeout: Option<TimeDelta>,
    /// Tell when the store stops.
    pub(super) signals: Signals,
}

impl Follower for Sessions {
    fn name(&self) -> &'static str {
        SESSIONS
    }

    fn version(&self) -> i16 {
        1
    }

    fn setting(&self) -> i64 {
        setting_of(self.timeout)
    }

    fn input(&self) -> Input<'_> {
        Input::Facts(self)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<bool, StoreError> {
        Ok(rows::clear_some_in_txn(connection, tenant)?)
    }
}

impl TakesFacts for Sessions {
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        _: &Names,
    ) -> Result<(), StoreError> {
        let is_stopped = || self.signals.is_stopped();
        let changes = changes(connection, tenant, facts, self.timeout, is_stopped)?;
        Ok(rows::write_in_txn(connection, tenant, &changes)?)
    }
}

/// Computes the changes by facts to the sessions in the table. Gives up once `is_stopped`.
pub(super) fn changes(
    connection: &mut AnyConnection,
    tenant: TenantId,
    facts: &[Fact],
    timeout: Option<TimeDelta>,
    is_stopped: impl Fn() -> bool,
) -> QueryResult<Changes> {
    let news = marks::news_of(facts, timeout.is_some());
    rows::changes(connection, tenant, news, timeout, is_stopped)
}

/// The timeout as the setting of the follower: microseconds, 0 without one.
fn setting_of(timeout: Option<TimeDelta>) -> i64 {
    timeout.and_then(|timeout| timeout.num_microseconds()).unwrap_or(0)
}

/// The timeout of a store's sessions. If it is to be kept, of the first node that answers.
pub(crate) fn timeout(
    engine: &Engine,
    wanted: SessionTimeout,
) -> Result<Option<TimeDelta>, StoreError> {
    let micros = match wanted {
        SessionTimeout::Never => 0,
        // A longer one than the time that a timestamp can say never passes.
        SessionTimeout::After(timeout) => i64::try_from(timeout.as_micros()).unwrap_or(0),
        SessionTimeout::Kept => {
            let mut kept = None;
            engine.each_lane(|lane| {
                let positions = engine.in_lane(lane, |connection, tenants| {
                    Ok(positions(connection, Home::Rebuildable, tenants)?)
                })?;
                let found = positions.into_iter().find(|position| position.name == SESSIONS);
                kept = kept.or(found.map(|position| position.setting));
                Ok(())
            })?;
            kept.unwrap_or(0)
        }
    };
    Ok((micros > 0).then(|| TimeDelta::microseconds(micros)))
}
