//! Reading the log by id.

use conn_log_core::{Record, Timestamp};
use diesel::prelude::*;

use super::key;
use super::rows::{self, EventRow};
use super::schema::events;
use crate::engine::{AnyConnection, Dialect, Micros, MultiBackend};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The leaf hash of an event. Passing its `created_at`, if known, lets PostgreSQL prune partitions.
pub(crate) fn leaf_hash(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
    created_at: Option<Timestamp>,
) -> QueryResult<Option<Vec<u8>>> {
    let dialect = Dialect::from(&mut *connection);
    let mut select = events::table
        .filter(key::is_any_of(tenant, &[id], dialect))
        .select(events::leaf_hash)
        .into_boxed::<MultiBackend>();
    if let Some(created_at) = created_at {
        select = select.filter(events::created_at.eq(Micros(created_at)));
    }
    select.first(connection).optional()
}

/// The record with this id.
pub(crate) fn find(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
) -> Result<Option<Record>, StoreError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => rows::find(sqlite, tenant, id),
        AnyConnection::Postgres(_) => Ok(find_in(connection, tenant, &[id], None)?.pop()),
    }
}

/// The records with these ids, in the order of the log; a few hundred ids at most. Passing the
/// range of `created_at` lets PostgreSQL prune partitions.
pub(crate) fn find_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ids: &[i64],
    created_at: Option<(Timestamp, Timestamp)>,
) -> Result<Vec<Record>, StoreError> {
    let dialect = Dialect::from(&mut *connection);
    let mut select = events::table
        .filter(key::is_any_of(tenant, ids, dialect))
        .order(key::order(dialect))
        .select(EventRow::as_select())
        .into_boxed::<MultiBackend>();
    if let Some((first, last)) = created_at {
        select = select.filter(events::created_at.between(Micros(first), Micros(last)));
    }
    let rows: Vec<EventRow> = select.load(connection)?;
    rows::records(connection, tenant, rows)
}
