//! Keys that make a retry safe: idempotency keys of requests, and `event_id`s.
//!
//! Only the writer that holds the head row of a tenant's log writes the tenant's keys; those of
//! requests for objects are written under the lock for control (`control::once`).
#![expect(clippy::ref_option_ref, reason = "what diesel derives for borrowed rows")]

use std::collections::HashMap;

use conn_log_core::Timestamp;
use diesel::prelude::*;

use super::schema::idempotency_keys as keys;
use crate::engine::{AnyConnection, Engine, KEYS_AT_ONCE, Micros, Tenants, insert_all, numbers};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key of the writer itself, for a trial write; no client sent it.
    Trial = 0,
    /// A request's `Idempotency-Key`.
    Request = 1,
    /// An event's `event_id`.
    Event = 2,
    /// The `Idempotency-Key` of a request that creates a rule, a webhook or a silence.
    Object = 3,
}

/// A remembered key.
#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
pub(crate) struct Remembered {
    pub(crate) key: String,
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) record_id: Option<i64>,
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) created_at: Micros,
}

/// A key to remember.
#[derive(Insertable)]
#[diesel(table_name = keys, treat_none_as_default_value = false)]
pub(crate) struct NewKey<'a> {
    pub(crate) tenant_id: i32,
    pub(crate) kind: i16,
    pub(crate) key: &'a str,
    pub(crate) fingerprint: Option<&'a [u8]>,
    pub(crate) record_id: Option<i64>,
    pub(crate) answer: Option<&'a [u8]>,
    pub(crate) created_at: Micros,
}

/// Finds the given keys that are remembered since `since`. Deletes older ones at once, so that they
/// can be used again.
pub(crate) fn recall(
    connection: &mut AnyConnection,
    tenant: TenantId,
    kind: Kind,
    wanted: &[&str],
    since: Timestamp,
) -> QueryResult<HashMap<String, Remembered>> {
    let mut found = HashMap::new();
    for some in wanted.chunks(KEYS_AT_ONCE) {
        let rows: Vec<Remembered> = keys::table
            .filter(keys::tenant_id.eq(tenant.0))
            .filter(keys::kind.eq(kind as i16))
            .filter(keys::key.eq_any(some.iter().copied()))
            .select(Remembered::as_select())
            .load(connection)?;
        let (kept, expired): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.created_at.0 > since);
        let expired: Vec<&str> = expired.iter().map(|row| row.key.as_str()).collect();
        forget(connection, tenant, kind, &expired)?;
        found.extend(kept.into_iter().map(|row| (row.key.clone(), row)));
    }
    Ok(found)
}

/// A key that is remembered since `since`.
pub(crate) fn find(
    connection: &mut AnyConnection,
    tenant: TenantId,
    kind: Kind,
    key: &str,
    since: Timestamp,
) -> QueryResult<Option<Remembered>> {
    keys::table
        .filter(keys::tenant_id.eq(tenant.0))
        .filter(keys::kind.eq(kind as i16))
        .filter(keys::key.eq(key))
        .filter(keys::created_at.gt(Micros(since)))
        .select(Remembered::as_select())
        .first(connection)
        .optional()
}

/// Deletes these keys, so that they can be used again.
pub(crate) fn forget(
    connection: &mut AnyConnection,
    tenant: TenantId,
    kind: Kind,
    gone: &[&str],
) -> QueryResult<()> {
    for some in gone.chunks(KEYS_AT_ONCE) {
        diesel::delete(
            keys::table
                .filter(keys::tenant_id.eq(tenant.0))
                .filter(keys::kind.eq(kind as i16))
                .filter(keys::key.eq_any(some.iter().copied())),
        )
        .execute(connection)?;
    }
    Ok(())
}

/// Remembers new keys.
pub(crate) fn remember(connection: &mut AnyConnection, new: Vec<NewKey<'_>>) -> QueryResult<()> {
    if !new.is_empty() {
        insert_all!(connection, keys, new);
    }
    Ok(())
}

/// Deletes all keys of that kind that are older than `until`, at most `limit` in one transaction;
/// returns their number.
pub(crate) fn expire(
    engine: &Engine,
    kind: Kind,
    until: Timestamp,
    limit: i64,
) -> Result<usize, StoreError> {
    let mut count = 0;
    engine.each_lane(|lane| {
        loop {
            let old = engine.in_lane(lane, |connection, tenants| {
                Ok(old_keys(connection, tenants, kind, until, limit)?)
            })?;
            let is_last = i64::try_from(old.len()).is_ok_and(|found| found < limit);
            let mut by_tenant: HashMap<i32, Vec<String>> = HashMap::new();
            for (tenant, key) in old {
                by_tenant.entry(tenant).or_default().push(key);
            }
            for (tenant, old) in by_tenant {
                let tenant = TenantId(tenant);
                count += engine.write_of(tenant, move |connection| {
                    connection.in_txn(|connection| {
                        Ok(forget_old_in_txn(connection, tenant, kind, until, &old)?)
                    })
                })?;
            }
            if is_last {
                return Ok(());
            }
        }
    })?;
    Ok(count)
}

/// Some keys that are older than `until`, with their tenants.
fn old_keys(
    connection: &mut AnyConnection,
    tenants: Tenants<'_>,
    kind: Kind,
    until: Timestamp,
    limit: i64,
) -> QueryResult<Vec<(i32, String)>> {
    let mut rows = keys::table
        .filter(keys::kind.eq(kind as i16))
        .filter(keys::created_at.le(Micros(until)))
        .limit(limit)
        .select((keys::tenant_id, keys::key))
        .into_boxed();
    if let Some(tenants) = tenants {
        rows = rows.filter(keys::tenant_id.eq_any(numbers(tenants)));
    }
    rows.load(connection)
}

/// Deletes these keys, as far as nobody has used them again meanwhile.
fn forget_old_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    kind: Kind,
    until: Timestamp,
    old: &[String],
) -> QueryResult<usize> {
    let mut count = 0;
    for some in old.chunks(KEYS_AT_ONCE) {
        count += diesel::delete(
            keys::table
                .filter(keys::tenant_id.eq(tenant.0))
                .filter(keys::kind.eq(kind as i16))
                .filter(keys::created_at.le(Micros(until)))
                .filter(keys::key.eq_any(some)),
        )
        .execute(connection)?;
    }
    Ok(count)
}
