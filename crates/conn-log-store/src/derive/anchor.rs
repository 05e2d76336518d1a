//! Checks at opening: derived data of another program version, of another setting or of another
//! log, and events that the log has lost.
//!
//! SQLite's second file can be lost, be older than the log, or belong to another log. Each position
//! in it has the leaf hash of the event at its watermark, its *anchor*. PostgreSQL keeps log and
//! derived data in one database, which is restored as a whole.
//!
//! A watermark beyond the end of the log means that the log once had more events (decision 019).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Derivation;
use super::follower::Follower;
use super::marks::restart_in_txn;
use crate::engine::{AnyConnection, Home, Position, Role, Tenants, positions};
use crate::error::{OpenError, StoreError};
use crate::log::heads::{self, LogBounds};
use crate::log::read::leaf_hash;
use crate::tenant_id::TenantId;

/// Events of one log that derived data was made from, and that the log has lost.
struct Lost {
    tenant: TenantId,
    first: i64,
    last: i64,
}

impl Derivation {
    /// Fails if the log has lost events, unless that is accepted. If it is accepted, the log
    /// continues after the last id that is known to be lost: a reader of the log that has seen this
    /// id misses no new event.
    pub(crate) fn settle_lost_events(&self, is_accepted: bool) -> Result<(), OpenError> {
        if !self.engine.derived_is_apart() {
            return Ok(());
        }
        let lost = lost_events(&mut *self.engine.reader()?)?;
        if lost.is_empty() {
            return Ok(());
        }
        let words = in_words(&lost);
        if !is_accepted {
            return Err(OpenError::EventsLost { lost: words });
        }
        log::error!("lost events are accepted: the log goes on without {words}");
        // Done before derived data is built again: otherwise a crash in between would leave no
        // trace of the loss.
        self.engine.connect(Role::Writer)?.in_txn(|connection| {
            let mut skip = |lost: &Lost| heads::skip_in_txn(connection, lost.tenant, lost.last);
            lost.iter().try_for_each(&mut skip).map_err(StoreError::from)
        })?;
        Ok(())
    }

    /// Makes followers build again all data of a lower version, of another setting, or of another
    /// log, of the tenants of a lane. Takes no lock if there is no such data.
    pub(crate) fn restart_where_due(self: &Arc<Self>, lane: usize) -> Result<(), StoreError> {
        let homes: BTreeSet<Home> = self.all().map(Follower::home).collect();
        for home in homes {
            let unusable = |connection: &mut AnyConnection, tenants: Tenants<'_>| {
                let found = self.unusable(connection, home, tenants)?;
                Ok(found.into_iter().map(|position| TenantId(position.tenant)).collect())
            };
            let tenants: BTreeSet<TenantId> = self.engine.in_lane(lane, unusable)?;
            if tenants.is_empty() {
                continue;
            }
            let derivation = Arc::clone(self);
            let tenants = self.engine.lanes().is_distributed().then_some(tenants);
            let done = self.engine.derive(home, move |connection| {
                for position in derivation.unusable(connection, home, tenants.as_ref())? {
                    let (tenant, name) = (TenantId(position.tenant), &position.name);
                    if let Some(follower) = derivation.find(name) {
                        log::warn!("tenant {}: {name} is rebuilt from the log", tenant.0);
                        restart_in_txn(connection, tenant, follower)?;
                    }
                }
                Ok(())
            })?;
            done.ok_or_else(|| StoreError::unavailable("another process is deriving"))?;
        }
        Ok(())
    }

    /// Positions of data of these tenants that this program cannot continue from.
    fn unusable(
        &self,
        connection: &mut AnyConnection,
        home: Home,
        tenants: Tenants<'_>,
    ) -> Result<Vec<Position>, StoreError> {
        let mut unusable = Vec::new();
        let positions = positions(connection, home, tenants)?;
        // Read after the positions: so no watermark is beyond the end of its log.
        let bounds = heads::bounds_of(connection, tenants)?;
        for position in positions {
            let Some(follower) = self.find(&position.name) else { continue };
            let is_other = position.version < follower.version()
                || position.version == follower.version() && position.setting != follower.setting();
            if is_other || is_foreign(connection, &position, &bounds)? {
                unusable.push(position);
            }
        }
        Ok(unusable)
    }
}

/// Whether data belongs to another log.
fn is_foreign(
    connection: &mut AnyConnection,
    position: &Position,
    bounds: &BTreeMap<TenantId, LogBounds>,
) -> Result<bool, StoreError> {
    let tenant = TenantId(position.tenant);
    let Some(log) = bounds.get(&tenant).filter(|log| log.size >= position.watermark) else {
        return Ok(true);
    };
    let Some(anchor) = &position.anchor else { return Ok(false) };
    let is_dropped = position.watermark < log.first_id;
    Ok(match leaf_hash(connection, tenant, position.watermark, None)? {
        Some(found) => found != *anchor,
        // An event that retention has dropped proves nothing; a lost event does.
        None => !is_dropped,
    })
}

/// For each log, the events past its end that derived data was made from.
fn lost_events(connection: &mut AnyConnection) -> Result<Vec<Lost>, StoreError> {
    let mut known: BTreeMap<TenantId, i64> = BTreeMap::new();
    for position in positions(connection, Home::Rebuildable, None)? {
        let last = known.entry(TenantId(position.tenant)).or_default();
        *last = position.watermark.max(*last);
    }
    // Read after the positions: so no watermark is beyond the end of its log.
    let bounds = heads::bounds_of(connection, None)?;
    let size = |tenant: TenantId| bounds.get(&tenant).map_or(0, |log| log.size);
    let lost = known.into_iter().filter_map(|(tenant, last)| {
        let first = size(tenant) + 1;
        (first <= last).then_some(Lost { tenant, first, last })
    });
    Ok(lost.collect())
}

fn in_words(lost: &[Lost]) -> String {
    let of = |lost: &Lost| {
        format!("the events {} to {} of tenant {}", lost.first, lost.last, lost.tenant.0)
    };
    lost.iter().map(of).collect::<Vec<_>>().join(", ")
}
