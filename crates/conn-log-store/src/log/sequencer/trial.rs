//! Finds the cause of a failed transaction by a trial write: the error does not always tell
//! ([`Fault::Unclear`](crate::engine::Fault)).
//!
//! The trial does the same as every append, but without client data: it locks and writes the head
//! row, and commits a row of as many bytes, so that the database needs space on its disk.

use conn_log_core::Timestamp;

use crate::engine::{AnyConnection, Fault, Micros};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::idempotency::{self, Kind, NewKey};
use crate::tenant_id::TenantId;

/// Several pages on either database, so that the table must grow.
const TRIAL_BYTES_MIN: usize = 64 << 10;

/// Bounds the time of a trial: a disk with room for this much has room for almost any group.
const TRIAL_BYTES_MAX: usize = 64 << 20;

const TRIAL_KEY: &str = "trial";

/// The cause of a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Culprit {
    /// The events: the database can write other rows.
    Events,
    /// The database's disk: it can read, but not write.
    Disk,
    /// The database's tables: it answers, but cannot even read them.
    Tables,
    /// The connection, or an unknown cause.
    Unknown,
}

/// Finds the cause of a failure to store about that many bytes of a tenant: a disk that is nearly full has room
/// for a small row, and not for a large batch.
pub(super) fn culprit(connection: &mut AnyConnection, tenant: TenantId, bytes: usize) -> Culprit {
    if write_bytes(connection, tenant, bytes).is_ok() {
        return Culprit::Events;
    }
    match heads::bounds(connection, tenant) {
        Ok(_) => Culprit::Disk,
        Err(error) => match Fault::of_store(&error) {
            Fault::Unclear | Fault::Lasting => Culprit::Tables,
            Fault::Passing | Fault::Outage => Culprit::Unknown,
        },
    }
}

/// Writes in the same way as an append, and removes the row again. Fails on a database that is
/// read-only, whose disk is full, or that would answer before its fsync.
pub(super) fn write(connection: &mut AnyConnection, tenant: TenantId) -> Result<(), StoreError> {
    write_bytes(connection, tenant, TRIAL_BYTES_MIN)
}

fn write_bytes(
    connection: &mut AnyConnection,
    tenant: TenantId,
    bytes: usize,
) -> Result<(), StoreError> {
    let bytes = bytes.clamp(TRIAL_BYTES_MIN, TRIAL_BYTES_MAX);
    connection.in_txn(|connection| {
        write_in_txn(connection, tenant, bytes)?;
        connection.check_durable_in_txn(tenant)
    })?;
    Ok(connection.in_txn(|connection| forget(connection, tenant))?)
}

fn write_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    bytes: usize,
) -> Result<(), StoreError> {
    let head = heads::lock_in_txn(connection, tenant)?;
    heads::move_in_txn(connection, &head)?;
    // A crash may have left a row of an earlier trial.
    forget(connection, tenant)?;
    // Random bytes, because no database can compress them.
    let mut bytes = vec![0; bytes];
    getrandom::fill(&mut bytes).map_err(StoreError::internal)?;
    let key = NewKey {
        tenant_id: tenant.0,
        kind: Kind::Trial as i16,
        key: TRIAL_KEY,
        fingerprint: None,
        record_id: None,
        answer: Some(&bytes),
        created_at: Micros(Timestamp::EPOCH),
    };
    Ok(idempotency::remember(connection, vec![key])?)
}

fn forget(connection: &mut AnyConnection, tenant: TenantId) -> diesel::QueryResult<()> {
    idempotency::forget(connection, tenant, Kind::Trial, &[TRIAL_KEY])
}
