//! Sessions, and the connected devices that follow from them: the result does not depend on the
//! order in which events came (docs/decisions/017).

mod counts;
mod fold;
mod list;
mod marks;
mod read;
mod rows;
mod state;

pub(super) use counts::{ApplicationCount, Counting, OpenCount};
pub(crate) use read::session_list;
pub use read::{EndReason, Session, SessionFilter, SessionPlace};
pub(super) use rows::Changes;

use diesel::QueryResult;

use super::dictionary::Names;
use super::facts::Fact;
use super::follower::{Follower, Input, TakesFacts};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

pub(super) const SESSIONS: &str = "sessions";

/// The follower for sessions.
pub(super) struct Sessions;

impl Follower for Sessions {
    fn name(&self) -> &'static str {
        SESSIONS
    }

    fn version(&self) -> i16 {
        1
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
        let changes = changes(connection, tenant, facts)?;
        Ok(rows::write_in_txn(connection, tenant, &changes)?)
    }
}

/// Computes the changes by facts to the sessions in the table.
pub(super) fn changes(
    connection: &mut AnyConnection,
    tenant: TenantId,
    facts: &[Fact],
) -> QueryResult<Changes> {
    rows::changes(connection, tenant, marks::news_of(facts))
}
