//! Rebuilding: followers delete their data, some rows at a time, and begin again.

use std::sync::Arc;

use super::Derivation;
use super::follower::{Follower, Lane};
use super::marks::{CLEARING, marks, restart_in_txn, set_mark_in_txn};
use super::step::Progress;
use crate::engine::{AnyConnection, Wait};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// Error: no follower of the log has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} does not follow the log; {known} do")]
pub struct UnknownFollower {
    /// The name.
    pub name: String,
    /// The names of all followers.
    pub known: String,
}

impl Derivation {
    /// Deletes some rows of followers that begin again. After the last rows they can begin.
    pub(super) fn clear_some(
        self: &Arc<Self>,
        tenant: TenantId,
        lane: Lane,
    ) -> Result<Progress, StoreError> {
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
            // Another process may have deleted the last rows.
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

    /// Makes a follower delete all its data of a tenant's log; the next steps build it again.
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
                restart_in_txn(connection, tenant, follower)?;
            }
            Ok(())
        })?;
        done.ok_or_else(|| StoreError::unavailable("another process is deriving"))?;
        self.signals.wake();
        Ok(Ok(()))
    }
}
