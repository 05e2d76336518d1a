//! Diesel's declarations of the log's tables, the same for both databases.
//!
//! `migrations/` creates them; a test compares these columns with those of SQLite and PostgreSQL.

diesel::table! {
    use diesel::sql_types::{BigInt, Integer};
    use crate::engine::Instant;

    heads (tenant_id) {
        tenant_id -> Integer,
        first_id -> BigInt,
        size -> BigInt,
        created_at_last -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Double, Integer, Nullable, Text};
    use crate::engine::{Address, Instant, JsonObject};

    /// Rows are found through [`crate::log::key`]: SQLite and PostgreSQL have different keys.
    events (tenant_id, id) {
        tenant_id -> Integer,
        id -> BigInt,
        created_at -> Instant,
        device_id -> Text,
        application_id -> Text,
        connection_type -> Text,
        status -> Text,
        timestamp -> Instant,
        ip_address -> Nullable<Address>,
        user_agent -> Nullable<Text>,
        duration -> Nullable<Double>,
        session_id -> Nullable<Text>,
        event_id -> Nullable<Text>,
        metadata -> JsonObject,
        leaf_hash -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, SmallInt, Text};

    /// On SQLite alone: PostgreSQL's rows hold their texts themselves.
    texts (tenant_id, kind, number) {
        tenant_id -> Integer,
        kind -> SmallInt,
        number -> BigInt,
        text -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Integer, Nullable, SmallInt, Text};
    use crate::engine::Instant;

    idempotency_keys (tenant_id, kind, key) {
        tenant_id -> Integer,
        kind -> SmallInt,
        key -> Text,
        fingerprint -> Nullable<Binary>,
        record_id -> Nullable<BigInt>,
        answer -> Nullable<Binary>,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Text};
    use crate::engine::{Instant, Unique};

    rejects (tenant_id, id) {
        tenant_id -> Integer,
        id -> BigInt,
        created_at -> Instant,
        token_id -> Unique,
        codes -> Text,
        content_type -> Text,
        truncated -> Bool,
        problem -> Text,
        body -> Binary,
    }
}

diesel::table! {
    reject_heads (tenant_id) {
        tenant_id -> Integer,
        last_id -> BigInt,
        kept -> BigInt,
    }
}
