//! The culprit of a failed transaction, found by trying: the error does not always tell
//! ([`Fault::Unclear`](crate::engine::Fault)).
//!
//! The trial does what every append does, but with nothing of a client's: it locks and writes the head row, and
//! commits a row of 64 KiB, so that the database needs room on its disk.

use conn_log_core::Timestamp;

use crate::engine::{AnyConnection, Fault, Micros};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::idempotency::{self, Kind, NewKey};
use crate::tenant_id::TenantId;

/// Several pages of either database, so that some must be added to the table.
const TRIAL_BYTES: usize = 64 << 10;

const TRIAL_KEY: &str = "trial";

/// What keeps a transaction from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Culprit {
    /// The events: the database writes other things well.
    Events,
    /// The database's disk: it reads, and cannot write.
    Disk,
    /// The database's tables: it answers, and does not even read them.
    Tables,
    /// The connection, or what cannot be told.
    Unknown,
}

/// Finds the culprit of a failure.
pub(super) fn culprit(connection: &mut AnyConnection) -> Culprit {
    if write(connection).is_ok() {
        return Culprit::Events;
    }
    match heads::bounds(connection, TenantId::DEFAULT) {
        Ok(_) => Culprit::Disk,
        Err(error) => match Fault::of_store(&error) {
            Fault::Unclear | Fault::Lasting => Culprit::Tables,
            Fault::Passing | Fault::Outage => Culprit::Unknown,
        },
    }
}

/// Writes as an append does, and removes it again. Fails on a database that only reads or whose disk is full.
pub(super) fn write(connection: &mut AnyConnection) -> Result<(), StoreError> {
    connection.in_txn(write_in_txn)?;
    Ok(connection.in_txn(forget)?)
}

fn write_in_txn(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let head = heads::lock_in_txn(connection, TenantId::DEFAULT)?;
    heads::move_in_txn(connection, &head)?;
    // A crash may have left one.
    forget(connection)?;
    // Random bytes, which no database packs.
    let mut bytes = vec![0; TRIAL_BYTES];
    getrandom::fill(&mut bytes).map_err(StoreError::internal)?;
    let key = NewKey {
        tenant_id: TenantId::DEFAULT.0,
        kind: Kind::Trial as i16,
        key: TRIAL_KEY,
        fingerprint: None,
        record_id: None,
        answer: Some(&bytes),
        created_at: Micros(Timestamp::EPOCH),
    };
    Ok(idempotency::remember(connection, vec![key])?)
}

fn forget(connection: &mut AnyConnection) -> diesel::QueryResult<()> {
    idempotency::forget(connection, TenantId::DEFAULT, Kind::Trial, &[TRIAL_KEY])
}
