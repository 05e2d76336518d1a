//! SQLite's second file: what is derived from the log, and can be derived again.
//!
//! SQLite lets one at a time write to a file. What is derived is as much to write as the log itself; in
//! a file of its own it never keeps an append waiting, and waits for no disk (decision 011). Readers see
//! both files; whoever reads both in one snapshot reads what is derived first, so that the log is never
//! behind it.
//!
//! Architecture invariant: nothing here is needed to find or to prove an event. A log without its
//! second file, or with that of another log, answers as before once it is derived anew.

use std::sync::{Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::connection::{AnyConnection, Role};
use crate::error::StoreError;
use crate::events;
use crate::schema::heads;
use crate::tenants::TenantId;
use crate::url::DatabaseUrl;

/// Takes the second file's lock, and not the log's, as `BEGIN IMMEDIATE` would.
const BEGIN: &str = "BEGIN; UPDATE projections SET watermark = watermark WHERE FALSE";

/// The one connection of this process that writes to the second file.
pub(crate) struct Derived {
    url: DatabaseUrl,
    connection: Mutex<Option<AnyConnection>>,
}

impl Derived {
    /// Beside the log of that URL. Connects when it is first used.
    pub(crate) fn new(url: DatabaseUrl) -> Self {
        Derived { url, connection: Mutex::default() }
    }

    /// Runs `work` in a transaction that may write what is derived, and reads the log. One at a time
    /// does.
    pub(crate) fn in_txn<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Not put back after a panic, which may leave a transaction open.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => AnyConnection::open(&self.url, Role::Deriver)
                .map_err(|error| StoreError::Unavailable(error.to_string()))?,
        };
        let result = connection.batch_execute(BEGIN).map_err(StoreError::from).and_then(|()| {
            let done = work(&mut connection)?;
            connection.commit()?;
            Ok(done)
        });
        if result.is_ok() || connection.rollback().is_ok() {
            *slot = Some(connection);
        }
        result
    }
}

diesel::table! {
    anchors (tenant_id, name) {
        tenant_id -> Integer,
        name -> Text,
        event -> BigInt,
        leaf_hash -> Binary,
    }
}

/// Notes which event is the last that was taken in.
pub(crate) fn anchor_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    name: &str,
    event: i64,
) -> QueryResult<()> {
    if let AnyConnection::Postgres(_) = connection {
        return Ok(());
    }
    let leaf_hash = events::leaf_hash(connection, tenant, event, None)?.ok_or(diesel::NotFound)?;
    let AnyConnection::Sqlite(sqlite) = connection else {
        return Ok(());
    };
    diesel::replace_into(anchors::table)
        .values((
            anchors::tenant_id.eq(tenant.0),
            anchors::name.eq(name),
            anchors::event.eq(event),
            anchors::leaf_hash.eq(leaf_hash),
        ))
        .execute(sqlite)?;
    Ok(())
}

/// Forgets which event that was, with all that was taken in.
pub(crate) fn forget_anchor_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    name: &str,
) -> QueryResult<()> {
    if let AnyConnection::Sqlite(sqlite) = connection {
        diesel::delete(anchors::table.find((tenant.0, name))).execute(sqlite)?;
    }
    Ok(())
}

/// What was derived from another log than this one: from a copy that has since gone another way, or
/// from more events than the log has now. An event that the log has dropped tells nothing.
pub(crate) fn strangers(connection: &mut AnyConnection) -> QueryResult<Vec<(TenantId, String)>> {
    let rows: Vec<(i32, String, i64, Vec<u8>)> = anchors::table.load(connection)?;
    let mut strangers = Vec::new();
    for (tenant, name, event, leaf_hash) in rows {
        let size: Option<i64> =
            heads::table.find(tenant).select(heads::size).first(connection).optional()?;
        let found = events::leaf_hash(connection, TenantId(tenant), event, None)?;
        let is_another = found.is_some_and(|found| found != leaf_hash);
        if is_another || size.is_none_or(|size| size < event) {
            strangers.push((TenantId(tenant), name));
        }
    }
    Ok(strangers)
}
