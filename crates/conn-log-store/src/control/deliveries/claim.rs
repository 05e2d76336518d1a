//! Finds the deliveries that are due, and claims them for one process.
//!
//! A claim is a lease on one delivery: a row is claimed by an UPDATE that names the state in which
//! it was found, so that of several processes one gets it.

use std::time::Duration;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::table::find_in;
use super::{ClaimedDelivery, DeliveryKey, DeliveryState};
use crate::clock::delta;
use crate::control::alerts::{AlertChange, AlertState, ChangeKind, changes, table as alerts};
use crate::control::schema::deliveries;
use crate::control::webhooks::{self, Webhook, WebhookFormat};
use crate::engine::{AnyConnection, Engine, Guid, Micros};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// How long a delivery is claimed: several times the longest attempt. After a crash it takes this
/// long until another process sends the delivery again.
const CLAIMED_FOR: Duration = Duration::from_mins(1);

/// The ids of a webhook's deliveries that are due and not claimed, at most `limit`, the longest due
/// first.
pub(crate) fn due(
    connection: &mut AnyConnection,
    tenant: TenantId,
    webhook: Uuid,
    now: Timestamp,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    let is_free =
        deliveries::claimed_until.is_null().or(deliveries::claimed_until.le(Some(Micros(now))));
    deliveries::table
        .filter(deliveries::tenant_id.eq(tenant.0))
        .filter(deliveries::webhook_id.eq(Guid(webhook)))
        .filter(deliveries::next_attempt_at.le(Some(Micros(now))))
        .filter(is_free)
        .order(deliveries::next_attempt_at)
        .limit(limit)
        .select(deliveries::id)
        .load(connection)
}

/// Claims deliveries of the tenants of one lane. Returns those that this process got.
pub(crate) fn claim(
    engine: &Engine,
    keys: Vec<DeliveryKey>,
    now: Timestamp,
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    engine.write_of(first.tenant, move |connection| {
        connection.in_txn(|connection| {
            let mut claimed = Vec::new();
            for key in keys {
                claimed.extend(claim_one_in_txn(connection, key, now)?);
            }
            Ok(claimed)
        })
    })
}

fn claim_one_in_txn(
    connection: &mut AnyConnection,
    key: DeliveryKey,
    now: Timestamp,
) -> Result<Option<ClaimedDelivery>, StoreError> {
    let claim = Uuid::new_v4();
    let is_free =
        deliveries::claimed_until.is_null().or(deliveries::claimed_until.le(Some(Micros(now))));
    let row = deliveries::table.find((key.tenant.0, Guid(key.webhook), key.id));
    let count = diesel::update(
        row.filter(deliveries::next_attempt_at.le(Some(Micros(now)))).filter(is_free),
    )
    .set((
        deliveries::claim.eq(Some(Guid(claim))),
        deliveries::claimed_until.eq(Some(Micros(now.plus(delta(CLAIMED_FOR))))),
    ))
    .execute(connection)?;
    if count == 0 {
        return Ok(None);
    }
    let webhook = match webhooks::find_in(connection, key.tenant, key.webhook) {
        Ok(webhook) => webhook,
        // Deleted; its deliveries are going too.
        Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(row) = find_in(connection, key)? else { return Ok(None) };
    let is_repeat = row.is(DeliveryState::Delivered);
    if is_repeat && webhook.format != WebhookFormat::Alertmanager {
        // The webhook has got another format since.
        stop_in_txn(connection, key)?;
        return Ok(None);
    }
    let mut change = match row.change_id {
        Some(id) => changes::get(connection, key.tenant, id)?,
        None => None,
    };
    if row.change_id.is_some() && change.is_none() {
        give_up_in_txn(connection, key, now)?;
        return Ok(None);
    }
    if is_repeat && let Some(told) = &change {
        let end = untold_end(connection, &webhook, told, now)?;
        change = end.or(change);
    }
    let message_id = row.message_id();
    Ok(Some(ClaimedDelivery { key, claim, webhook, message_id, change }))
}

/// The end of an alert that is to be repeated, if the alert has ended and the webhook is not told of
/// such ends otherwise: the last repetition tells it, so that Alertmanager resolves the alert.
fn untold_end(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    told: &AlertChange,
    now: Timestamp,
) -> Result<Option<AlertChange>, StoreError> {
    let Some(id) = told.alert["id"].as_i64() else { return Ok(None) };
    let Some(alert) = alerts::find_in(connection, webhook.tenant, id)? else { return Ok(None) };
    let kind = match alert.state {
        AlertState::Open | AlertState::Acknowledged => return Ok(None),
        AlertState::Resolved => ChangeKind::Resolved,
        AlertState::Withdrawn => ChangeKind::Withdrawn,
    };
    let is_told = webhook.changes.contains(&kind);
    let end = || AlertChange { id: told.id, kind, at: now, alert: alert.to_json() };
    Ok((!is_told).then(end))
}

/// Sends a delivery no more.
fn stop_in_txn(connection: &mut AnyConnection, key: DeliveryKey) -> QueryResult<()> {
    let row = deliveries::table.find((key.tenant.0, Guid(key.webhook), key.id));
    diesel::update(row)
        .set((deliveries::next_attempt_at.eq(None::<Micros>), deliveries::claim.eq(None::<Guid>)))
        .execute(connection)?;
    Ok(())
}

/// Ends a delivery whose change is no longer kept.
fn give_up_in_txn(
    connection: &mut AnyConnection,
    key: DeliveryKey,
    now: Timestamp,
) -> QueryResult<()> {
    stop_in_txn(connection, key)?;
    let row = deliveries::table.find((key.tenant.0, Guid(key.webhook), key.id));
    diesel::update(row.filter(deliveries::state.eq(DeliveryState::Pending.name())))
        .set((
            deliveries::state.eq(DeliveryState::Failed.name()),
            deliveries::waiting_since.eq(None::<Micros>),
            deliveries::ended_at.eq(Some(Micros(now))),
        ))
        .execute(connection)?;
    Ok(())
}
