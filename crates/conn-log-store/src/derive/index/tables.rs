//! Diesel's declarations of the index's tables.

use diesel::prelude::*;

use crate::engine::Micros;

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, SmallInt};
    use crate::engine::Instant;

    index_runs (tenant_id, run) {
        tenant_id -> Integer,
        run -> BigInt,
        level -> SmallInt,
        first_id -> BigInt,
        last_id -> BigInt,
        created_at_min -> Instant,
        created_at_max -> Instant,
        timestamp_min -> Instant,
        timestamp_max -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Integer};

    index_blocks (tenant_id, run, first_key) {
        tenant_id -> Integer,
        run -> BigInt,
        first_key -> Binary,
        entries -> Binary,
    }
}

/// A run: the data by which a reader skips it, or reads from it.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = index_runs)]
pub(super) struct Run {
    pub(super) tenant_id: i32,
    #[diesel(column_name = run)]
    pub(super) number: i64,
    pub(super) level: i16,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) created_at_min: Micros,
    pub(super) created_at_max: Micros,
    pub(super) timestamp_min: Micros,
    pub(super) timestamp_max: Micros,
}

impl Run {
    pub(super) fn events(&self) -> i64 {
        self.last_id - self.first_id + 1
    }
}

/// A run to create: all fields but its number.
#[derive(Clone, Copy, Debug, Insertable)]
#[diesel(table_name = index_runs)]
pub(super) struct NewRun {
    pub(super) tenant_id: i32,
    pub(super) level: i16,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) created_at_min: Micros,
    pub(super) created_at_max: Micros,
    pub(super) timestamp_min: Micros,
    pub(super) timestamp_max: Micros,
}

/// A block as a row.
#[derive(Clone, Copy, Debug, Insertable)]
#[diesel(table_name = index_blocks, treat_none_as_default_value = false)]
pub(super) struct BlockRow<'a> {
    pub(super) tenant_id: i32,
    pub(super) run: i64,
    pub(super) first_key: &'a [u8],
    pub(super) entries: &'a [u8],
}
