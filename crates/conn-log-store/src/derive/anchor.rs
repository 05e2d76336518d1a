//! Derived data that is not this program's or not this log's, found when a store is opened.
//!
//! SQLite's second file can be lost, be older than the log, or be another log's. Each position there has the leaf hash
//! of the event at its watermark, its *anchor*. PostgreSQL keeps log and derived data in one database, which is
//! restored as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Derivation;
use super::follower::Follower;
use super::marks::begin_anew_in_txn;
use crate::engine::{AnyConnection, Home, Position, all_positions};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::read::leaf_hash;
use crate::tenant_id::TenantId;

impl Derivation {
    /// Has everything derived anew that is of a lower version, or of another log. Takes no lock where there is
    /// nothing of the kind.
    pub(crate) fn begin_anew_where_due(self: &Arc<Self>) -> Result<(), StoreError> {
        let homes: BTreeSet<Home> = self.all().map(Follower::home).collect();
        for home in homes {
            if self.unusable(&mut *self.engine.reader()?, home)?.is_empty() {
                continue;
            }
            let derivation = Arc::clone(self);
            let done = self.engine.derive(home, move |connection| {
                for position in derivation.unusable(connection, home)? {
                    let (tenant, name) = (TenantId(position.tenant), &position.name);
                    if let Some(follower) = derivation.find(name) {
                        log::warn!("tenant {}: {name} is derived anew from the log", tenant.0);
                        begin_anew_in_txn(connection, tenant, follower)?;
                    }
                }
                Ok(())
            })?;
            done.ok_or_else(|| StoreError::unavailable("another process is deriving"))?;
        }
        Ok(())
    }

    /// Positions of data that this program cannot go on from.
    fn unusable(
        &self,
        connection: &mut AnyConnection,
        home: Home,
    ) -> Result<Vec<Position>, StoreError> {
        let mut unusable = Vec::new();
        let bounds = heads::all_bounds(connection)?;
        for position in all_positions(connection, home)? {
            let Some(follower) = self.find(&position.name) else { continue };
            let is_lower = position.version < follower.version();
            // An event that the log has dropped tells nothing.
            let mut is_foreign = || {
                let tenant = TenantId(position.tenant);
                if bounds.get(&tenant).is_none_or(|log| log.size < position.watermark) {
                    return Ok(true);
                }
                let Some(anchor) = &position.anchor else { return Ok(false) };
                let found = leaf_hash(connection, tenant, position.watermark, None)?;
                Ok::<_, StoreError>(found.is_some_and(|found| found != *anchor))
            };
            if is_lower || is_foreign()? {
                unusable.push(position);
            }
        }
        Ok(unusable)
    }
}
