//! Lanes: the tenants whose rows are on one node of a distributed database.
//!
//! On Citus each tenant's rows are on one node. Threads and bounds are for each lane, so that a
//! node that is away or hangs holds up its own tenants only. Other databases have one lane.
//!
//! A lane is a hint. A tenant in the wrong lane, as for some seconds after its rows have moved to
//! another node, is served correctly.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::tenant_id::TenantId;

/// A bounded thing, such as the connections of a pool, of which each lane may hold some.
#[derive(Debug)]
pub(super) struct Shares {
    held: Arc<Held>,
    /// The most that a lane may hold at a time.
    most: u32,
}

/// The shares that each lane holds.
#[derive(Debug, Default)]
struct Held {
    by_lane: Mutex<HashMap<usize, u32>>,
    freed: Condvar,
}

/// A share that one lane holds.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Held>,
    lane: usize,
}

impl Shares {
    pub(super) fn new(most: u32) -> Self {
        Shares { held: Arc::default(), most }
    }

    /// A share for a lane. Waits for it that long. `None` if the lane holds all that it may: its
    /// node hangs, or has much to do.
    pub(super) fn take(&self, lane: usize, wait: Duration) -> Option<Share> {
        let held = self.held.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |held: &mut HashMap<usize, u32>| *held.entry(lane).or_default() >= self.most;
        let (mut held, waited) = self
            .held
            .freed
            .wait_timeout_while(held, wait, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *held.entry(lane).or_default() += 1;
        drop(held);
        Some(Share { held: Arc::clone(&self.held), lane })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.lane) {
            *count = count.saturating_sub(1);
        }
        drop(held);
        self.held.freed.notify_all();
    }
}

/// The lanes of a database, and the lane of each tenant.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// The nodes that have a lane, in ascending order. Empty if the database is not distributed.
    nodes: Vec<i32>,
    /// The lane of each tenant whose node is known.
    known: RwLock<HashMap<TenantId, usize>>,
}

impl Lanes {
    /// A lane for each of these nodes.
    pub(super) fn of_nodes(mut nodes: Vec<i32>) -> Self {
        nodes.sort_unstable();
        nodes.dedup();
        Lanes { nodes, ..Lanes::default() }
    }

    /// Whether the database spreads tenants over nodes.
    pub(crate) fn is_distributed(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// The number of lanes, at least one.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len().max(1)
    }

    /// The lane of a tenant. A tenant whose node is not known yet gets any lane, always the same.
    pub(crate) fn of(&self, tenant: TenantId) -> usize {
        if self.nodes.len() < 2 {
            return 0;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&tenant).copied().unwrap_or_else(|| self.modulo(tenant.0))
    }

    /// The tenants of a lane, as far as their nodes are known.
    pub(crate) fn tenants_of(&self, lane: usize) -> BTreeSet<TenantId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, of)| **of == lane).map(|(tenant, _)| *tenant).collect()
    }

    /// Notes the node of each tenant. A node that came later than the lanes shares one of them.
    pub(super) fn note(&self, tenants: impl IntoIterator<Item = (TenantId, i32)>) {
        let lane =
            |node: i32| self.nodes.binary_search(&node).unwrap_or_else(|_| self.modulo(node));
        let new = tenants.into_iter().map(|(tenant, node)| (tenant, lane(node))).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn modulo(&self, number: i32) -> usize {
        let number = usize::try_from(number.unsigned_abs()).unwrap_or_default();
        number.checked_rem(self.nodes.len()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_without_nodes_has_one_lane() {
        let lanes = Lanes::default();
        assert!(!lanes.is_distributed());
        assert_eq!((lanes.count(), lanes.of(TenantId(7))), (1, 0));
    }

    #[test]
    fn tenants_of_one_node_share_a_lane_and_a_new_node_shares_one_too() {
        let lanes = Lanes::of_nodes(vec![9, 4, 9]);
        assert_eq!(lanes.count(), 2);
        lanes.note([(TenantId(1), 4), (TenantId(2), 9), (TenantId(3), 4), (TenantId(4), 12)]);
        let of = |tenant| lanes.of(TenantId(tenant));
        assert_eq!([of(1), of(2), of(3)], [0, 1, 0]);
        assert_eq!(lanes.tenants_of(1), [TenantId(2)].into());
        assert!(of(4) < 2 && of(5) < 2, "a node and a tenant that came later have a lane");
        lanes.note([(TenantId(1), 9)]);
        assert_eq!(of(1), 1, "its rows have moved");
    }

    #[test]
    fn a_lane_that_holds_all_that_it_may_leaves_the_others_theirs() {
        let shares = Shares::new(1);
        let take = |lane| shares.take(lane, Duration::ZERO);
        let first = take(0).unwrap();
        assert!(take(0).is_none());
        let other = take(1).unwrap();
        drop(first);
        assert!(take(0).is_some());
        drop(other);
    }
}
