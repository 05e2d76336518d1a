//! Cancels, clears and expires deliveries, and tells how far they are behind.

use std::time::Duration;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::{DeliveryLag, DeliveryState};
use crate::clock::delta;
use crate::control::alerts::changes;
use crate::control::schema::{alert_changes, deliveries, delivery_attempts, webhooks};
use crate::control::webhooks::DisabledReason;
use crate::control::{silences, tenants};
use crate::engine::{AnyConnection, Engine, Guid, Micros, Tenants, numbers};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// How long deliveries that have ended, changes of alerts, and silences that are over are kept.
const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// Deliveries that are kept of a tenant, whatever their age.
const KEPT_MAX: i64 = 100_000;

/// Rows deleted by one transaction: on SQLite events wait for it.
const DELETED_AT_ONCE: i64 = 1_000;

/// Cancels the pending deliveries of a webhook, and repeats no delivered one any more.
pub(crate) fn cancel_all_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    webhook: Uuid,
    now: Timestamp,
) -> QueryResult<()> {
    let of_webhook = deliveries::table
        .filter(deliveries::tenant_id.eq(tenant.0))
        .filter(deliveries::webhook_id.eq(Guid(webhook)));
    diesel::update(of_webhook.filter(deliveries::state.eq(DeliveryState::Pending.name())))
        .set((
            deliveries::state.eq(DeliveryState::Cancelled.name()),
            deliveries::waiting_since.eq(None::<Micros>),
            deliveries::ended_at.eq(Some(Micros(now))),
        ))
        .execute(connection)?;
    diesel::update(of_webhook.filter(deliveries::next_attempt_at.is_not_null()))
        .set(deliveries::next_attempt_at.eq(None::<Micros>))
        .execute(connection)?;
    Ok(())
}

/// Deletes all deliveries of a webhook that is deleted.
pub(crate) fn clear(engine: &Engine, tenant: TenantId, webhook: Uuid) -> Result<(), StoreError> {
    let some = move |connection: &mut AnyConnection| {
        connection.in_txn(|connection| {
            let keys: Vec<Key> = deliveries::table
                .filter(deliveries::tenant_id.eq(tenant.0))
                .filter(deliveries::webhook_id.eq(Guid(webhook)))
                .order(deliveries::id)
                .limit(DELETED_AT_ONCE)
                .select((deliveries::webhook_id, deliveries::id))
                .load(connection)?;
            delete_in_txn(connection, tenant, keys)
        })
    };
    while engine.write(some)? {}
    Ok(())
}

type Key = (Guid, i64);

/// Deletes deliveries with their attempts. Returns whether there may be more.
fn delete_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    keys: Vec<Key>,
) -> Result<bool, StoreError> {
    let has_more = i64::try_from(keys.len()).unwrap_or(i64::MAX) == DELETED_AT_ONCE;
    for (webhook, id) in keys {
        let attempts = delivery_attempts::table
            .filter(delivery_attempts::tenant_id.eq(tenant.0))
            .filter(delivery_attempts::webhook_id.eq(webhook))
            .filter(delivery_attempts::delivery_id.eq(id));
        diesel::delete(attempts).execute(connection)?;
        diesel::delete(deliveries::table.find((tenant.0, webhook, id))).execute(connection)?;
    }
    Ok(has_more)
}

/// Deletes deliveries that ended long ago or are too many, the changes of alerts that are as old,
/// and silences that are long over.
pub(crate) fn expire(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    let until = now.plus(-delta(KEPT_FOR));
    let all: Vec<TenantId> = tenants::list(engine)?.into_iter().map(|tenant| tenant.id).collect();
    engine.each_lane(|lane| {
        let own = all.iter().filter(|tenant| engine.lanes().of(**tenant) == lane);
        own.copied().try_for_each(|tenant| expire_of(engine, tenant, until))
    })
}

fn expire_of(engine: &Engine, tenant: TenantId, until: Timestamp) -> Result<(), StoreError> {
    let oldest = oldest_kept(&mut *engine.reader_of(tenant)?, tenant)?;
    let kept = oldest.map_or(until, |oldest| oldest.max(until));
    while engine.write_of(tenant, move |connection| expire_some(connection, tenant, kept))? {}
    while engine.write_of(tenant, move |connection| expire_changes(connection, tenant, kept))? {}
    engine.write_of(tenant, move |connection| Ok(silences::expire(connection, tenant, until)?))?;
    Ok(())
}

/// The time of the oldest delivery that is kept because of its place in the list.
fn oldest_kept(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<Option<Timestamp>> {
    let time: Option<Micros> = deliveries::table
        .filter(deliveries::tenant_id.eq(tenant.0))
        .order(deliveries::created_at.desc())
        .offset(KEPT_MAX)
        .select(deliveries::created_at)
        .first(connection)
        .optional()?;
    Ok(time.map(|time| time.0))
}

fn expire_some(
    connection: &mut AnyConnection,
    tenant: TenantId,
    until: Timestamp,
) -> Result<bool, StoreError> {
    connection.in_txn(|connection| {
        let keys: Vec<Key> = deliveries::table
            .filter(deliveries::tenant_id.eq(tenant.0))
            .filter(deliveries::created_at.lt(Micros(until)))
            // Neither what is to be sent nor what is repeated.
            .filter(deliveries::waiting_since.is_null())
            .filter(deliveries::next_attempt_at.is_null())
            .order(deliveries::created_at)
            .limit(DELETED_AT_ONCE)
            .select((deliveries::webhook_id, deliveries::id))
            .load(connection)?;
        delete_in_txn(connection, tenant, keys)
    })
}

/// Deletes the first changes of the outbox up to one that is not old or is still to be sent.
fn expire_changes(
    connection: &mut AnyConnection,
    tenant: TenantId,
    until: Timestamp,
) -> Result<bool, StoreError> {
    connection.in_txn(|connection| {
        let first: Vec<(i64, Micros)> = alert_changes::table
            .filter(alert_changes::tenant_id.eq(tenant.0))
            .order(alert_changes::change_id)
            .limit(DELETED_AT_ONCE)
            .select((alert_changes::change_id, alert_changes::at))
            .load(connection)?;
        if first.first().is_none_or(|(_, at)| at.0 >= until) {
            return Ok(false);
        }
        let needed: Option<Option<i64>> = deliveries::table
            .filter(deliveries::tenant_id.eq(tenant.0))
            .filter(
                deliveries::next_attempt_at
                    .is_not_null()
                    .or(deliveries::waiting_since.is_not_null()),
            )
            .select(deliveries::change_id)
            .filter(deliveries::change_id.is_not_null())
            .order(deliveries::change_id)
            .first(connection)
            .optional()?;
        // The last one stays: the next takes its number from it, and no number is used again.
        let last = changes::last_id(connection, tenant)?;
        let needed = needed.flatten().unwrap_or(i64::MAX).min(last);
        let is_old = |(id, at): &&(i64, Micros)| at.0 < until && *id < needed;
        let Some((last, _)) = first.iter().take_while(is_old).last() else { return Ok(false) };
        let count = diesel::delete(
            alert_changes::table
                .filter(alert_changes::tenant_id.eq(tenant.0))
                .filter(alert_changes::change_id.le(*last)),
        )
        .execute(connection)?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX) == DELETED_AT_ONCE)
    })
}

/// How far the deliveries of all tenants are behind, those of nodes that are away excepted.
pub(crate) fn lag(engine: &Engine) -> Result<DeliveryLag, StoreError> {
    let mut all = DeliveryLag::default();
    engine.each_lane(|lane| {
        let of_lane = engine.in_lane(lane, |reader, tenants| Ok(lag_of(reader, tenants)?))?;
        let oldest = all.oldest_waiting_since.into_iter().chain(of_lane.oldest_waiting_since);
        all.oldest_waiting_since = oldest.min();
        all.webhooks_disabled += of_lane.webhooks_disabled;
        Ok(())
    })?;
    Ok(all)
}

fn lag_of(connection: &mut AnyConnection, tenants: Tenants<'_>) -> QueryResult<DeliveryLag> {
    let mut waiting = deliveries::table
        .filter(deliveries::waiting_since.is_not_null())
        .order(deliveries::waiting_since)
        .limit(1)
        .select(deliveries::waiting_since)
        .into_boxed();
    let by_receiver = [DisabledReason::Gone.name(), DisabledReason::Failing.name()];
    let mut disabled = webhooks::table
        .filter(webhooks::disabled_at.is_not_null())
        .filter(webhooks::disabled_reason.eq_any(by_receiver))
        .select(diesel::dsl::count_star())
        .into_boxed();
    if let Some(tenants) = tenants {
        waiting = waiting.filter(deliveries::tenant_id.eq_any(numbers(tenants)));
        disabled = disabled.filter(webhooks::tenant_id.eq_any(numbers(tenants)));
    }
    let oldest: Vec<Option<Micros>> = waiting.load(connection)?;
    Ok(DeliveryLag {
        oldest_waiting_since: oldest.into_iter().flatten().map(|time| time.0).next(),
        webhooks_disabled: disabled.get_result(connection)?,
    })
}
