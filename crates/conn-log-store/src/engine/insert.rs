//! Rows into tables, the fastest way that each database has: SQLite one by one through one prepared
//! statement, PostgreSQL many at once (decision 001 has the figures). And rows out of them, some at a time.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sqlite::Sqlite;

/// Rows of one statement on PostgreSQL: a few hundred make its own cost small, and a row has kilobytes at most.
pub(crate) const ROWS_AT_ONCE: usize = 1_000;

/// Keys of one look-up: SQLite takes 32,766 parameters, and a plan for a few hundred is as good.
pub(crate) const KEYS_AT_ONCE: usize = 500;

/// An INSERT with what it does about rows that are there, kept prepared: diesel prepares its own anew
/// for each row. Rows are to be `treat_none_as_default_value = false`, else their text is made anew.
pub(crate) struct Upsert<I> {
    pub(crate) insert: I,
    /// ` ON CONFLICT …`, the same wherever the type is the same.
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

/// The INSERT of rows on PostgreSQL. They come as one array for each column: of a list of values every single one
/// is parsed and planned as an expression, which takes longer than to write the rows.
pub(crate) fn insert_arrays(table: &str, columns: &[&str]) -> String {
    let arrays: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    let (columns, arrays) = (columns.join(", "), arrays.join(", "));
    format!("INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays})")
}

/// Writes rows, the columns to `set` over what has the same key: one by one through a prepared statement on
/// SQLite, many at once on PostgreSQL. What a key says for ever is `kept`, and indexes of nothing but it are
/// left alone.
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

/// Rows that are cleared at a time: some milliseconds, so that no transaction is long.
pub(crate) const CLEARED_AT_ONCE: i64 = 2_000;

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
            .offset(crate::engine::CLEARED_AT_ONCE)
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
pub(crate) use clear_some;

/// Inserts new rows: one by one through a prepared statement on SQLite, by COPY on PostgreSQL.
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
                diesel::copy_from($table::table).from_insertable(rows).execute(postgres)?;
            }
        }
    }};
}
pub(crate) use insert_all;
