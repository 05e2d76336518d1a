//! The projections' tables as diesel sees them, and how rows are put into them.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sqlite::Sqlite;

diesel::table! {
    projections (tenant_id, name) {
        tenant_id -> Integer,
        name -> Text,
        watermark -> BigInt,
    }
}

diesel::table! {
    names (tenant_id, name) {
        tenant_id -> Integer,
        name -> Text,
        number -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Text, BigInt, Nullable, Bool};
    use crate::types::{Address, Instant};

    devices (tenant_id, device_id) {
        tenant_id -> Integer,
        device_id -> Text,
        first_seen -> Instant,
        last_seen -> Instant,
        last_event -> BigInt,
        last_application_id -> Text,
        last_status -> Text,
        ip_address -> Nullable<Address>,
        ip_seen -> Nullable<Instant>,
        ip_event -> Nullable<BigInt>,
        connected -> Bool,
        connected_seen -> Nullable<Instant>,
        connected_event -> Nullable<BigInt>,
        events -> BigInt,
        failures -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Text, BigInt};
    use crate::types::Instant;

    applications (tenant_id, application_id) {
        tenant_id -> Integer,
        application_id -> Text,
        first_seen -> Instant,
        last_seen -> Instant,
        devices -> BigInt,
        events -> BigInt,
        failures -> BigInt,
    }
}

diesel::table! {
    application_devices (tenant_id, application, device) {
        tenant_id -> Integer,
        application -> Integer,
        device -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, BigInt, Nullable, Text, Double, Bool};
    use crate::types::Instant;

    sessions (tenant_id, at, event) {
        tenant_id -> Integer,
        at -> Instant,
        event -> BigInt,
        device -> Integer,
        application -> Integer,
        session_id -> Nullable<Text>,
        start_at -> Nullable<Instant>,
        start_event -> Nullable<BigInt>,
        end_at -> Nullable<Instant>,
        end_event -> Nullable<BigInt>,
        end_status -> Nullable<Integer>,
        end_duration -> Nullable<Double>,
        is_open -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, SmallInt, Binary};
    use crate::types::Instant;

    rollups (tenant_id, level, start, lead) {
        tenant_id -> Integer,
        level -> SmallInt,
        start -> Instant,
        lead -> Integer,
        cells -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Binary};
    use crate::types::Instant;

    application_hours (tenant_id, start, application) {
        tenant_id -> Integer,
        start -> Instant,
        application -> Integer,
        figures -> Binary,
    }
}

/// Rows of one statement on PostgreSQL: it takes 65,535 parameters, and a row has up to 16.
pub(super) const ROWS_AT_ONCE: usize = 1_000;

/// Keys of one look-up: SQLite takes 32,766 parameters, and a plan for a few hundred is as good.
pub(super) const KEYS_AT_ONCE: usize = 500;

/// An INSERT with what it does about rows that are there, kept prepared: diesel prepares its own anew
/// for each row. Rows are to be `treat_none_as_default_value = false`, else their text is made anew.
pub(super) struct Upsert<I> {
    pub(super) insert: I,
    /// ` ON CONFLICT …`, the same wherever the type is the same.
    pub(super) on_conflict: &'static str,
}

impl<I: QueryId> QueryId for Upsert<I> {
    type QueryId = Upsert<I::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = I::HAS_STATIC_QUERY_ID;
}

impl<I, C: Connection> RunQueryDsl<C> for Upsert<I> {}

impl<I: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Upsert<I> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.insert.walk_ast(out.reborrow())?;
        out.push_sql(self.on_conflict);
        Ok(())
    }
}

/// Writes rows, those columns over what has the same key: one by one through a prepared statement on
/// SQLite, many at once on PostgreSQL. What a key says for ever need not be among the columns, and
/// indexes of nothing but it are left alone.
macro_rules! upsert {
    (
        $connection:expr, $table:ident, $rows:expr,
        ($key:ident $(, $more_key:ident)*),
        ($column:ident $(, $more:ident)*)
    ) => {{
        use diesel::prelude::*;
        use diesel::upsert::excluded;
        let rows = $rows;
        match $connection {
            crate::connection::AnyConnection::Sqlite(sqlite) => {
                let on_conflict = concat!(
                    " ON CONFLICT (", stringify!($key), $(", ", stringify!($more_key),)*
                    ") DO UPDATE SET ", stringify!($column), " = excluded.", stringify!($column),
                    $(", ", stringify!($more), " = excluded.", stringify!($more),)*
                );
                for row in rows {
                    let insert = diesel::insert_into($table::table).values(row);
                    crate::projections::tables::Upsert { insert, on_conflict }.execute(sqlite)?;
                }
            }
            crate::connection::AnyConnection::Postgres(postgres) => {
                for some in rows.chunks(crate::projections::tables::ROWS_AT_ONCE) {
                    diesel::insert_into($table::table)
                        .values(some)
                        .on_conflict(($table::$key, $($table::$more_key,)*))
                        .do_update()
                        .set((
                            $table::$column.eq(excluded($table::$column)),
                            $($table::$more.eq(excluded($table::$more)),)*
                        ))
                        .execute(postgres)?;
                }
            }
        }
    }};
}
pub(super) use upsert;

/// Rows that a projection which is computed anew forgets at a time: some milliseconds, so that no
/// transaction is long.
pub(super) const CLEARED_AT_ONCE: i64 = 2_000;

/// Deletes some rows of a tenant, along a column that its key begins with; tells whether there may be
/// more.
macro_rules! clear_some {
    ($connection:expr, $table:ident, $key:ident: $type:ty, $tenant:expr $(, $only:expr)?) => {{
        use diesel::prelude::*;
        let bound: Option<$type> = $table::table
            .filter($table::tenant_id.eq($tenant.0))
            $(.filter($only))?
            .order($table::$key)
            .select($table::$key)
            .offset(crate::projections::tables::CLEARED_AT_ONCE)
            .first($connection)
            .optional()?;
        let all = $table::table.filter($table::tenant_id.eq($tenant.0))$(.filter($only))?;
        let has_more = bound.is_some();
        match bound {
            // What shares the bound goes with it, so that there is progress each time.
            Some(bound) => {
                diesel::delete(all.filter($table::$key.le(bound))).execute($connection)?;
            }
            None => {
                diesel::delete(all).execute($connection)?;
            }
        }
        has_more
    }};
}
pub(super) use clear_some;
