//! The tables as diesel sees them, the same for both databases.
//!
//! `migrations/` makes them; a test holds these columns, SQLite's and PostgreSQL's side by side.

diesel::table! {
    use diesel::sql_types::{Integer, Text};
    use crate::types::Instant;

    tenants (id) {
        id -> Integer,
        name -> Text,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer};
    use crate::types::Instant;

    heads (tenant_id) {
        tenant_id -> Integer,
        size -> BigInt,
        created_at_last -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Double, Integer, Nullable, Text};
    use crate::types::{Address, Instant, JsonObject};

    /// Rows are found through [`crate::place`]: SQLite's key is another than PostgreSQL's.
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
    use diesel::sql_types::{Binary, Integer, Nullable, Text};
    use crate::types::{Instant, Unique};

    tokens (id) {
        id -> Unique,
        tenant_id -> Integer,
        name -> Text,
        secret_hash -> Binary,
        scopes -> Text,
        rate_events_per_second -> Nullable<Integer>,
        rate_burst_events -> Nullable<Integer>,
        created_at -> Instant,
        expires_at -> Nullable<Instant>,
        revoked_at -> Nullable<Instant>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Integer, Nullable, SmallInt, Text};
    use crate::types::Instant;

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
