//! The index's tables as diesel sees them. SQLite only.

use diesel::prelude::*;

use crate::types::Micros;

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, SmallInt};
    use crate::types::Instant;

    index_runs (run) {
        run -> BigInt,
        tenant_id -> Integer,
        level -> SmallInt,
        state -> SmallInt,
        first_id -> BigInt,
        last_id -> BigInt,
        timestamp_min -> Instant,
        timestamp_max -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary};

    index_blocks (block) {
        block -> BigInt,
        run -> BigInt,
        first_key -> Binary,
        entries -> Binary,
    }
}

/// What a run is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its blocks are being written: no reader looks at it.
    Writing = 0,
    /// Whole, and the only one in use for its ids.
    Ready = 1,
    /// No reader looks at it any more; its blocks are being removed.
    Dropped = 2,
}

/// A run in use: what a reader needs in order to leave it out, or to look into it.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = index_runs)]
pub(super) struct Run {
    #[diesel(column_name = run)]
    pub(super) number: i64,
    pub(super) level: i16,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) timestamp_min: Micros,
    pub(super) timestamp_max: Micros,
}

impl Run {
    pub(super) fn events(&self) -> i64 {
        self.last_id - self.first_id + 1
    }
}
