//! The position of each follower of a log: one row for each tenant and name.
//!
//! | home | SQLite | PostgreSQL |
//! | --- | --- | --- |
//! | rebuildable | `positions`, in the second file | `positions` |
//! | durable | `durable_positions`, in the log's file | `durable_positions` |
//!
//! On PostgreSQL the lock on the row is the lease to derive.

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::each_lane::{Tenants, numbers};
use super::insert::upsert;
use crate::tenant_id::TenantId;

/// The place where derived data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Home {
    /// The data can be computed again from the log at any time. On SQLite its file is not synced.
    Rebuildable,
    /// The data holds facts that are not in the log. On SQLite it is in the log's own file, and an
    /// append waits for each of its transactions: they must be small.
    Durable,
}

/// A right that one process has at a time: to write the data that a follower derives from one log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) tenant: TenantId,
    /// The follower's name.
    pub(crate) name: &'static str,
    /// The version of the follower, for a position that the lease creates.
    pub(crate) version: i16,
    /// The follower's setting, for the same.
    pub(crate) setting: i64,
    pub(crate) home: Home,
}

/// The action if another process has the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Yes,
}

mod tables {
    diesel::table! {
        positions (tenant_id, name) {
            tenant_id -> Integer,
            name -> Text,
            version -> SmallInt,
            setting -> BigInt,
            watermark -> BigInt,
            anchor -> Nullable<Binary>,
        }
    }

    diesel::table! {
        durable_positions (tenant_id, name) {
            tenant_id -> Integer,
            name -> Text,
            version -> SmallInt,
            setting -> BigInt,
            watermark -> BigInt,
            anchor -> Nullable<Binary>,
        }
    }
}
use tables::{durable_positions, positions};

/// The position of one follower in one log.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub(crate) struct Position {
    pub(crate) tenant: i32,
    pub(crate) name: String,
    /// The version of the follower that wrote the data.
    pub(crate) version: i16,
    /// The follower's setting that the data depends on.
    pub(crate) setting: i64,
    /// The last id that was taken in.
    pub(crate) watermark: i64,
    /// The leaf hash of the event with that id, if the event exists and the database needs the
    /// hash: a log with another hash at that id is another log.
    pub(crate) anchor: Option<Vec<u8>>,
}

/// Runs a query on the table of a home.
macro_rules! of_home {
    ($home:expr, $table:ident => $run:expr) => {
        match $home {
            Home::Rebuildable => {
                use positions as $table;
                $run
            }
            Home::Durable => {
                use durable_positions as $table;
                $run
            }
        }
    };
}

/// The positions of these tenants in a home.
pub(crate) fn positions(
    connection: &mut AnyConnection,
    home: Home,
    tenants: Tenants<'_>,
) -> QueryResult<Vec<Position>> {
    of_home!(home, table => match tenants {
        None => table::table.load(connection),
        Some(tenants) => {
            table::table.filter(table::tenant_id.eq_any(numbers(tenants))).load(connection)
        }
    })
}

/// A tenant's positions in a home.
pub(crate) fn positions_of(
    connection: &mut AnyConnection,
    tenant: TenantId,
    home: Home,
) -> QueryResult<Vec<Position>> {
    of_home!(home, table => {
        table::table.filter(table::tenant_id.eq(tenant.0)).load(connection)
    })
}

/// Writes a position.
pub(crate) fn set_position_in_txn(
    connection: &mut AnyConnection,
    home: Home,
    position: Position,
) -> QueryResult<()> {
    match home {
        Home::Rebuildable => {
            let rows = [RebuildableRow::from(position)];
            upsert!(connection, positions, &rows, key: (tenant_id, name),
                set: (version, setting, watermark, anchor));
        }
        Home::Durable => {
            let rows = [DurableRow::from(position)];
            upsert!(connection, durable_positions, &rows, key: (tenant_id, name),
                set: (version, setting, watermark, anchor));
        }
    }
    Ok(())
}

/// Deletes some positions of a tenant.
pub(crate) fn drop_positions_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    home: Home,
    names: &[String],
) -> QueryResult<()> {
    of_home!(home, table => {
        let some = table::table
            .filter(table::tenant_id.eq(tenant.0))
            .filter(table::name.eq_any(names));
        diesel::delete(some).execute(connection)?;
        Ok(())
    })
}

/// A row for one of the two tables.
macro_rules! row {
    ($row:ident, $table:ident) => {
        #[derive(Insertable)]
        #[diesel(table_name = $table, treat_none_as_default_value = false)]
        struct $row {
            tenant_id: i32,
            name: String,
            version: i16,
            setting: i64,
            watermark: i64,
            anchor: Option<Vec<u8>>,
        }

        impl From<Position> for $row {
            fn from(position: Position) -> Self {
                let Position { tenant, name, version, setting, watermark, anchor } = position;
                $row { tenant_id: tenant, name, version, setting, watermark, anchor }
            }
        }
    };
}
row!(RebuildableRow, positions);
row!(DurableRow, durable_positions);

/// Every watermark is higher.
const NO_WATERMARK: i64 = i64::MIN;

/// Locks a position's row until the transaction ends, and creates it if missing; returns whether it
/// got the lock.
pub(super) fn lock_in_txn(
    postgres: &mut PgConnection,
    lease: Lease,
    wait: Wait,
) -> QueryResult<bool> {
    let Lease { tenant, name, version, setting, home } = lease;
    of_home!(home, table => {
        let row = || table::table.find((tenant.0, name));
        // An insert would wait for the holder of the row's lock: so insert only if there is no row.
        if !diesel::select(diesel::dsl::exists(row())).get_result::<bool>(postgres)? {
            diesel::insert_into(table::table)
                .values((
                    table::tenant_id.eq(tenant.0),
                    table::name.eq(name),
                    table::version.eq(version),
                    table::setting.eq(setting),
                    table::watermark.eq(0_i64),
                ))
                .on_conflict_do_nothing()
                .execute(postgres)?;
        }
        // Keeps the tenant on its node until the transaction ends, and changes no row: while Citus
        // moves it, the SELECT alone may lock the row on the former node.
        diesel::update(row().filter(table::watermark.lt(NO_WATERMARK)))
            .set(table::watermark.eq(NO_WATERMARK))
            .execute(postgres)?;
        let row = row().select(table::watermark).for_update();
        let locked: Option<i64> = match wait {
            Wait::No => row.skip_locked().first(postgres).optional()?,
            Wait::Yes => row.first(postgres).optional()?,
        };
        Ok(locked.is_some())
    })
}
