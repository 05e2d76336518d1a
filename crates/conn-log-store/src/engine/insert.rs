//! Inserts rows in the fastest way of each database: SQLite one by one with one prepared statement,
//! PostgreSQL many at once (decision 001 has the figures). Also deletes rows, some at a time.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sqlite::Sqlite;

/// Rows of one statement on PostgreSQL: with a few hundred its own cost is small, and a row has at
/// most kilobytes.
pub(crate) const ROWS_AT_ONCE: usize = 1_000;

/// Keys of one look-up: SQLite takes 32,766 parameters, and a plan for a few hundred is as good.
pub(crate) const KEYS_AT_ONCE: usize = 500;

/// An INSERT with its conflict clause, kept as a prepared statement: diesel prepares its own again
/// for each row. Rows need `treat_none_as_default_value = false`, else their SQL text is made
/// again.
pub(crate) struct Upsert<I> {
    pub(crate) insert: I,
    /// ` ON CONFLICT …`, always the same for one type.
    pub(crate) on_conflict: &'static str,
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

/// The INSERT of rows on PostgreSQL. The values come as one array for each column: in a list of
/// values each value is parsed and planned as an expression, which takes longer than to write the
/// rows.
pub(crate) fn insert_arrays(table: &str, columns: &[&str]) -> String {
    let arrays: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    let (columns, arrays) = (columns.join(", "), arrays.join(", "));
    format!("INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays})")
}

/// Inserts rows, or overwrites the columns to `set` of rows with the same key: one by one with a
/// prepared statement on SQLite, many at once on PostgreSQL. Columns in `kept` never change for a
/// key, and indexes on only these columns are not updated.
macro_rules! upsert {
    (
        $connection:expr, $table:ident, $rows:expr,
        key: ($key:ident $(, $more:ident)*),
        $(kept: ($($kept:ident),+),)?
        set: ($($set:ident),*)
    ) => {{
        use crate::engine::{ROWS_AT_ONCE, Upsert, insert_arrays, upsert};
        use diesel::prelude::*;
        let rows = $rows;
        let on_conflict = concat!(
            " ON CONFLICT (", stringify!($key), $(", ", stringify!($more),)* ") DO ",
            upsert!(@action $($set),*)
        );
        match $connection {
            crate::engine::AnyConnection::Sqlite(sqlite) => {
                for row in rows {
                    let insert = diesel::insert_into($table::table).values(row);
                    Upsert { insert, on_conflict }.execute(sqlite)?;
                }
            }
            crate::engine::AnyConnection::Postgres(postgres) => {
                for some in rows.chunks(ROWS_AT_ONCE) {
                    upsert!(@arrays postgres, $table, some, on_conflict,
                        $key $(, $more)* $($(, $kept)+)? $(, $set)*);
                }
            }
        }
    }};
    (@action) => { "NOTHING" };
    (@action $set:ident $(, $more:ident)*) => {
        concat!(
            "UPDATE SET ", stringify!($set), " = excluded.", stringify!($set),
            $(", ", stringify!($more), " = excluded.", stringify!($more),)*
        )
    };
    (@arrays $postgres:ident, $table:ident, $rows:ident, $on_conflict:ident, $($column:ident),+) => {
        let insert = insert_arrays(stringify!($table), &[$(stringify!($column)),+]);
        let query = diesel::sql_query(insert + $on_conflict);
        $(
            let values: Vec<_> = $rows.iter().map(|row| &row.$column).collect();
            let query = query
                .bind::<diesel::sql_types::Array<diesel::dsl::SqlTypeOf<$table::$column>>, _>(values);
        )+
        query.execute($postgres)?;
    };
}
pub(crate) use upsert;

/// Rows deleted at a time: some milliseconds, so that no transaction is long.
pub(crate) const CLEARED_AT_ONCE: i64 = 2_000;

/// Deletes some rows of a tenant, along a column that its key begins with; returns whether there
/// may be more.
macro_rules! clear_some {
    ($connection:expr, $table:ident, $key:ident: $type:ty, $tenant:expr $(, $only:expr)?) => {{
        use diesel::prelude::*;
        let bound: Option<$type> = $table::table
            .filter($table::tenant_id.eq($tenant.0))
            $(.filter($only))?
            .order($table::$key)
            .select($table::$key)
            .offset(crate::engine::CLEARED_AT_ONCE)
            .first($connection)
            .optional()?;
        let all = $table::table.filter($table::tenant_id.eq($tenant.0))$(.filter($only))?;
        let has_more = bound.is_some();
        match bound {
            // Rows that are equal to the bound are deleted too, so that each call makes progress.
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
pub(crate) use clear_some;

/// Up to so many rows one INSERT takes no longer than a COPY, which has more round trips. On Citus a
/// COPY makes each commit one of two phases, also on one node.
pub(crate) const INSERTED_MAX: usize = 20;

/// Inserts a list of new rows on PostgreSQL: by INSERT if there are few, and by COPY otherwise.
macro_rules! insert_or_copy {
    ($postgres:expr, $table:ident, $rows:expr) => {{
        let mut rows = $rows;
        match rows.len() {
            // A statement with one row is kept prepared.
            1 => {
                let row = rows.remove(0);
                diesel::insert_into($table::table).values(row).execute($postgres)?;
            }
            2..=$crate::engine::INSERTED_MAX => {
                diesel::insert_into($table::table).values(rows).execute($postgres)?;
            }
            _ => {
                diesel::copy_from($table::table).from_insertable(rows).execute($postgres)?;
            }
        }
    }};
}
pub(crate) use insert_or_copy;

/// Inserts new rows: one by one with a prepared statement on SQLite, all at once on PostgreSQL.
macro_rules! insert_all {
    ($connection:expr, $table:ident, $rows:expr) => {{
        use diesel::prelude::*;
        match $connection {
            $crate::engine::AnyConnection::Sqlite(sqlite) => {
                for row in $rows {
                    diesel::insert_into($table::table).values(row).execute(sqlite)?;
                }
            }
            $crate::engine::AnyConnection::Postgres(postgres) => {
                let rows: Vec<_> = $rows.into_iter().collect();
                $crate::engine::insert_or_copy!(postgres, $table, rows);
            }
        }
    }};
}
pub(crate) use insert_all;
