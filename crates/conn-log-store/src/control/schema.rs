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

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Text};
    use crate::engine::{Instant, JsonObject};

    alert_changes (tenant_id, change_id) {
        tenant_id -> Integer,
        change_id -> BigInt,
        change -> Text,
        at -> Instant,
        alert -> JsonObject,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text};
    use crate::engine::{Instant, JsonObject, Unique};

    webhooks (tenant_id, id) {
        tenant_id -> Integer,
        id -> Unique,
        url -> Text,
        format -> Text,
        filter -> JsonObject,
        routing_key -> Nullable<Text>,
        secret -> Text,
        secret_before -> Nullable<Text>,
        secret_before_until -> Nullable<Instant>,
        position -> BigInt,
        delivery_last -> BigInt,
        disabled_at -> Nullable<Instant>,
        disabled_reason -> Nullable<Text>,
        failing_since -> Nullable<Instant>,
        failed_at -> Nullable<Instant>,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text};
    use crate::engine::{Instant, Unique};

    deliveries (tenant_id, webhook_id, id) {
        tenant_id -> Integer,
        webhook_id -> Unique,
        id -> BigInt,
        change_id -> Nullable<BigInt>,
        change -> Text,
        alert_id -> Nullable<Text>,
        state -> Text,
        attempts -> Integer,
        tries -> Integer,
        next_attempt_at -> Nullable<Instant>,
        claim -> Nullable<Unique>,
        claimed_until -> Nullable<Instant>,
        waiting_since -> Nullable<Instant>,
        created_at -> Instant,
        ended_at -> Nullable<Instant>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text};
    use crate::engine::{Instant, Unique};

    delivery_attempts (tenant_id, webhook_id, delivery_id, attempt) {
        tenant_id -> Integer,
        webhook_id -> Unique,
        delivery_id -> BigInt,
        attempt -> Integer,
        at -> Instant,
        status -> Nullable<Integer>,
        error -> Nullable<Text>,
        duration -> Double,
        answer -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Text};
    use crate::engine::{Instant, JsonObject, Unique};

    silences (tenant_id, id) {
        tenant_id -> Integer,
        id -> Unique,
        matcher -> JsonObject,
        until -> Instant,
        reason -> Text,
        created_by -> Unique,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Bool, Integer};
    use crate::engine::{Instant, JsonObject};

    alert_rules (tenant_id, rule_id) {
        tenant_id -> Integer,
        rule_id -> BigInt,
        version -> BigInt,
        is_enabled -> Bool,
        after_id -> BigInt,
        definition -> JsonObject,
        started_at -> Instant,
        created_at -> Instant,
        updated_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Text};
    use crate::engine::Instant;

    alert_heads (tenant_id) {
        tenant_id -> Integer,
        revision -> BigInt,
        rules -> BigInt,
        alerts -> BigInt,
        holder -> Text,
        held_until -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text};
    use crate::engine::Instant;

    alerts (tenant_id, alert_id) {
        tenant_id -> Integer,
        alert_id -> BigInt,
        rule_id -> BigInt,
        rule_version -> BigInt,
        kind -> Text,
        severity -> Text,
        state -> Text,
        group_hash -> BigInt,
        group_json -> Text,
        slot -> BigInt,
        opened_by -> BigInt,
        started_at -> Instant,
        ended_at -> Instant,
        detected_at -> Instant,
        merged_into -> Nullable<BigInt>,
        body -> Text,
    }
}
