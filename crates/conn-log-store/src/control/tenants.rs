//! Tenants: the owners of one log each.

use conn_log_core::Timestamp;
use diesel::prelude::*;

use super::schema::tenants;
use crate::clock::now;
use crate::engine::{AnyConnection, Dialect, Engine, Micros};
use crate::error::StoreError;
use crate::log::{heads, key};
use crate::tenant_id::TenantId;

/// The owner of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// Its name, unique.
    pub name: String,
    /// The time at which it was created.
    pub created_at: Timestamp,
}

type TenantRow = (i32, String, Micros);

impl From<TenantRow> for Tenant {
    fn from((id, name, created_at): TenantRow) -> Self {
        Tenant { id: TenantId(id), name, created_at: created_at.0 }
    }
}

/// Creates a tenant with an empty log. Fails with [`StoreError::NameTaken`] if the name is taken.
pub(crate) fn create(engine: &Engine, name: &str) -> Result<Tenant, StoreError> {
    let name = name.to_owned();
    engine.write_everywhere(move |connection| {
        connection.in_txn(|connection| {
            connection.lock_control_in_txn()?;
            if find_in(connection, &name)?.is_some() {
                return Err(StoreError::NameTaken("tenant"));
            }
            let last: Option<i32> =
                tenants::table.select(diesel::dsl::max(tenants::id)).first(connection)?;
            let last = last.unwrap_or(0);
            if last >= key::tenant_max(Dialect::from(&mut *connection)) {
                return Err(StoreError::Full("tenant"));
            }
            insert_in_txn(connection, TenantId(last + 1), &name)
        })
    })
}

/// All tenants, oldest first.
pub(crate) fn list(engine: &Engine) -> Result<Vec<Tenant>, StoreError> {
    let rows: Vec<TenantRow> = tenants::table.order(tenants::id).load(&mut *engine.reader()?)?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

/// The tenant of that name.
pub(crate) fn find_by_name(engine: &Engine, name: &str) -> Result<Option<Tenant>, StoreError> {
    find_in(&mut *engine.reader()?, name)
}

/// Creates the tenant `default` if there is none.
pub(crate) fn ensure_default(connection: &mut AnyConnection) -> Result<(), StoreError> {
    // Without the lock, which a change holds that waits for a node of Citus.
    if has_default(connection)? {
        return Ok(());
    }
    connection.in_txn(|connection| {
        connection.lock_control_in_txn()?;
        if !has_default(connection)? {
            insert_in_txn(connection, TenantId::DEFAULT, "default")?;
        }
        Ok(())
    })
}

fn has_default(connection: &mut AnyConnection) -> QueryResult<bool> {
    let default = tenants::table.find(TenantId::DEFAULT.0).select(tenants::id);
    Ok(default.first::<i32>(connection).optional()?.is_some())
}

fn insert_in_txn(
    connection: &mut AnyConnection,
    id: TenantId,
    name: &str,
) -> Result<Tenant, StoreError> {
    let created_at = now();
    diesel::insert_into(tenants::table)
        .values((
            tenants::id.eq(id.0),
            tenants::name.eq(name),
            tenants::created_at.eq(Micros(created_at)),
        ))
        .execute(connection)?;
    heads::create_in_txn(connection, id)?;
    Ok(Tenant { id, name: name.to_owned(), created_at })
}

fn find_in(connection: &mut AnyConnection, name: &str) -> Result<Option<Tenant>, StoreError> {
    let row: Option<TenantRow> =
        tenants::table.filter(tenants::name.eq(name)).first(connection).optional()?;
    Ok(row.map(Tenant::from))
}
