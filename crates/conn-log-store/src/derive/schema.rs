//! Diesel's declarations of the tables of derived data. The index has its own file for this.

diesel::table! {
    dictionary (tenant_id, name) {
        tenant_id -> Integer,
        name -> Text,
        number -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Text, BigInt, Nullable};
    use crate::engine::{Address, Instant};

    devices (tenant_id, device_id) {
        tenant_id -> Integer,
        device_id -> Text,
        number -> Integer,
        first_seen -> Instant,
        last_seen -> Instant,
        last_event -> BigInt,
        last_application_id -> Text,
        last_status -> Text,
        ip_address -> Nullable<Address>,
        ip_seen -> Nullable<Instant>,
        ip_event -> Nullable<BigInt>,
        events -> BigInt,
        failures -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Text, BigInt};
    use crate::engine::Instant;

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
    use diesel::sql_types::{Integer, SmallInt, BigInt, Nullable, Text, Double, Binary, Bool};
    use crate::engine::Instant;

    sessions (tenant_id, at, event) {
        tenant_id -> Integer,
        at -> Instant,
        event -> BigInt,
        device -> Integer,
        application -> Integer,
        session_id -> Nullable<Text>,
        session_hash -> Nullable<Integer>,
        start -> Nullable<SmallInt>,
        end_at -> Nullable<Instant>,
        end_event -> Nullable<BigInt>,
        end_status -> Nullable<Integer>,
        end_duration -> Nullable<Double>,
        last_at -> Instant,
        more -> Nullable<Binary>,
        length -> SmallInt,
        is_suspended -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, SmallInt, Binary, Nullable};
    use crate::engine::Instant;

    rollups (tenant_id, level, start, lead) {
        tenant_id -> Integer,
        level -> SmallInt,
        start -> Instant,
        lead -> Integer,
        whole -> Nullable<Binary>,
        cells -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Binary};
    use crate::engine::Instant;

    application_hours (tenant_id, start, application) {
        tenant_id -> Integer,
        start -> Instant,
        application -> Integer,
        figures -> Binary,
    }
}

diesel::allow_tables_to_appear_in_same_query!(devices, application_devices);
