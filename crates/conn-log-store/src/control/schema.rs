//! Diesel's declarations of the control tables: small, durable, rarely changed.

diesel::table! {
    use diesel::sql_types::{Integer, Text};
    use crate::engine::Instant;

    tenants (id) {
        id -> Integer,
        name -> Text,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Integer, Nullable, Text};
    use crate::engine::{Instant, Unique};

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
        device_id -> Nullable<Text>,
        application_id -> Nullable<Text>,
        on_reject -> Nullable<Text>,
        handling -> Nullable<Text>,
    }
}
