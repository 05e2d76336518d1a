//! Merges runs, after the log was indexed.

use super::merge::{self, Merge};
use super::{BLOCKS_AT_ONCE, Index, LEVEL_MAX, Sizes, runs};
use crate::derive::follower::{Follower, Upkeep};
use crate::engine::{AnyConnection, Signals, Wait};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// Merges the due runs of a log, once; returns whether there were any. It uses one transaction: a
/// reader sees either the old runs, or the run that replaces them.
pub(super) fn merge(upkeep: Upkeep<'_>, index: &Index) -> Result<bool, StoreError> {
    let Upkeep { engine, reader, tenant, signals } = upkeep;
    let sizes = index.sizes;
    let all = runs::of_log(reader, tenant)?;
    let Some(due) = merge::due(&all, sizes).and_then(Merge::new) else {
        return Ok(false);
    };
    let (lease, signals) = ((index as &dyn Follower).lease(tenant), signals.clone());
    let merged = engine.derive(lease.home, move |connection| {
        if !connection.lease_in_txn(lease, Wait::No)? {
            return Ok(false);
        }
        merge_in_txn(connection, tenant, sizes, &signals)
    })?;
    let is_merged = merged == Some(true);
    if is_merged && due.new.level == LEVEL_MAX {
        // A failure only costs disk space, and does not change an answer.
        if let Err(error) = engine.reclaim("index_blocks") {
            log::info!("the index was not vacuumed: {error}");
        }
    }
    Ok(is_merged)
}

/// Replaces the due runs by one merged run. Fails if the store must stop, and then changes nothing.
pub(super) fn merge_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    sizes: Sizes,
    signals: &Signals,
) -> Result<bool, StoreError> {
    let all = runs::of_log(connection, tenant)?;
    let Some(mut merge) = merge::due(&all, sizes).and_then(Merge::new) else {
        return Ok(false);
    };
    let run = runs::begin_in_txn(connection, merge.new)?;
    loop {
        let blocks = merge.step(connection, BLOCKS_AT_ONCE)?;
        runs::write_in_txn(connection, tenant.0, run, &blocks)?;
        if blocks.len() < BLOCKS_AT_ONCE {
            break;
        }
        if signals.is_stopped() {
            return Err(StoreError::unavailable("the store closes"));
        }
    }
    runs::remove_in_txn(connection, tenant.0, &merge.inputs)?;
    Ok(true)
}
