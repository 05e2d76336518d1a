//! Tenants: the owners of one log each.

use conn_log_core::Timestamp;
use diesel::prelude::*;

use crate::clock::now;
use crate::connection::AnyConnection;
use crate::error::StoreError;
use crate::place;
use crate::schema::{heads, tenants};
use crate::store::Store;
use crate::types::Micros;

/// A tenant's number. Every question to a log carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub i32);

impl TenantId {
    /// The tenant `default`, which exists from the start.
    pub const DEFAULT: TenantId = TenantId(1);
}

/// The owner of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// Its name, unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

type TenantRow = (i32, String, Micros);

impl From<TenantRow> for Tenant {
    fn from((id, name, created_at): TenantRow) -> Self {
        Tenant { id: TenantId(id), name, created_at: created_at.0 }
    }
}

impl Store {
    /// Makes a tenant with an empty log. Fails with [`StoreError::NameTaken`] if there is one of
    /// that name.
    pub fn tenant_create(&self, name: &str) -> Result<Tenant, StoreError> {
        let name = name.to_owned();
        self.write(move |connection| {
            connection.in_txn(|connection| {
                lock_in_txn(connection)?;
                if find_by_name(connection, &name)?.is_some() {
                    return Err(StoreError::NameTaken("tenant"));
                }
                let last: Option<i32> =
                    tenants::table.select(diesel::dsl::max(tenants::id)).first(connection)?;
                let id = last.unwrap_or(0) + 1;
                if id > place::TENANT_MAX && matches!(connection, AnyConnection::Sqlite(_)) {
                    return Err(StoreError::Full("tenant"));
                }
                create_in_txn(connection, id, &name)
            })
        })
    }

    /// All tenants, oldest first.
    pub fn tenant_list(&self) -> Result<Vec<Tenant>, StoreError> {
        let rows: Vec<TenantRow> = tenants::table.order(tenants::id).load(&mut *self.reader()?)?;
        Ok(rows.into_iter().map(Tenant::from).collect())
    }

    /// The tenant of that name.
    pub fn tenant_find_by_name(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        find_by_name(&mut *self.reader()?, name)
    }
}

/// Makes the tenant `default` where there is none.
pub(crate) fn ensure_default(connection: &mut AnyConnection) -> Result<(), StoreError> {
    connection.in_txn(|connection| {
        lock_in_txn(connection)?;
        let is_there: Option<i32> = tenants::table
            .find(TenantId::DEFAULT.0)
            .select(tenants::id)
            .first(connection)
            .optional()?;
        if is_there.is_none() {
            create_in_txn(connection, TenantId::DEFAULT.0, "default")?;
        }
        Ok(())
    })
}

/// One at a time, in all processes: tenants and first tokens are rare. SQLite's write lock, which
/// the transaction holds already, is enough there.
pub(crate) fn lock_in_txn(connection: &mut AnyConnection) -> QueryResult<()> {
    use diesel::connection::SimpleConnection;
    match connection {
        AnyConnection::Sqlite(_) => Ok(()),
        AnyConnection::Postgres(postgres) => {
            postgres.batch_execute("LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE")
        }
    }
}

fn create_in_txn(
    connection: &mut AnyConnection,
    id: i32,
    name: &str,
) -> Result<Tenant, StoreError> {
    let created_at = now();
    diesel::insert_into(tenants::table)
        .values((
            tenants::id.eq(id),
            tenants::name.eq(name),
            tenants::created_at.eq(Micros(created_at)),
        ))
        .execute(connection)?;
    diesel::insert_into(heads::table)
        .values((
            heads::tenant_id.eq(id),
            heads::size.eq(0_i64),
            heads::created_at_last.eq(Micros(Timestamp::EPOCH)),
        ))
        .execute(connection)?;
    Ok(Tenant { id: TenantId(id), name: name.to_owned(), created_at })
}

fn find_by_name(connection: &mut AnyConnection, name: &str) -> Result<Option<Tenant>, StoreError> {
    let row: Option<TenantRow> =
        tenants::table.filter(tenants::name.eq(name)).first(connection).optional()?;
    Ok(row.map(Tenant::from))
}
