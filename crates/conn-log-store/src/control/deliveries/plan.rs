//! Makes deliveries of the changes of alerts.
//!
//! One transaction makes the deliveries and moves the webhook's position over their changes. The
//! lock on the webhook's row is the lease to do so. A unique index on webhook and change stands
//! behind it.

use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::DeliveryState;
use super::table::{Row, order_in_txn};
use crate::control::alerts::{AlertChange, changes};
use crate::control::schema::deliveries;
use crate::control::webhooks::{self, Webhook};
use crate::control::{Silence, silences};
use crate::engine::{AnyConnection, Engine, Guid, Micros, insert_all};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// Changes of one transaction: on SQLite events wait for it, some milliseconds.
const CHANGES_AT_ONCE: i64 = 200;

/// Makes the deliveries of a webhook's next changes. Returns whether there may be more.
pub(crate) fn plan(
    engine: &Engine,
    tenant: TenantId,
    webhook: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            let webhook = webhooks::lock_in_txn(connection, tenant, webhook)?;
            if webhook.disabled.is_some() {
                return Ok(false);
            }
            let next = changes::after(connection, tenant, webhook.position, CHANGES_AT_ONCE)?;
            let Some(last) = next.last().map(|change| change.id) else { return Ok(false) };
            let has_more = i64::try_from(next.len()).unwrap_or(i64::MAX) == CHANGES_AT_ONCE;
            let wanted: Vec<_> = next.into_iter().filter(|change| webhook.wants(change)).collect();
            let states = states(connection, &webhook, &wanted)?;
            let rows: Vec<Row> = (webhook.delivery_last + 1..)
                .zip(wanted.iter().zip(states))
                .map(|(id, (change, state))| row(&webhook, id, change, state, now))
                .collect();
            let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            webhooks::move_position_in_txn(connection, &webhook, last, count)?;
            insert_in_txn(connection, rows, now)?;
            Ok(has_more)
        })
    })
}

/// Inserts new rows, and puts the pending ones in order.
pub(super) fn insert_in_txn(
    connection: &mut AnyConnection,
    rows: Vec<Row>,
    now: Timestamp,
) -> QueryResult<()> {
    let of_alerts: BTreeMap<Option<String>, Row> =
        rows.iter().map(|row| (row.alert_id.clone(), row.clone())).collect();
    insert_all!(connection, deliveries, rows);
    for row in of_alerts.values() {
        order_in_txn(connection, row, now)?;
    }
    Ok(())
}

/// The state of the new delivery of each change.
fn states(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    changes: &[AlertChange],
) -> Result<Vec<DeliveryState>, StoreError> {
    let Some(first) = changes.iter().map(|change| change.at).min() else {
        return Ok(Vec::new());
    };
    let silences = silences::all_until(connection, webhook.tenant, first)?;
    let mut states = Vec::new();
    for change in changes {
        states.push(if is_silenced(connection, webhook, change, changes, &silences, &states)? {
            DeliveryState::Silenced
        } else {
            DeliveryState::Pending
        });
    }
    Ok(states)
}

/// Whether a silence keeps a change from the receiver. The end of an alert that the receiver knows
/// of is never kept from it: it would take the alert for open for ever.
fn is_silenced(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    change: &AlertChange,
    changes: &[AlertChange],
    silences: &[Silence],
    states: &[DeliveryState],
) -> Result<bool, StoreError> {
    if !silences.iter().any(|silence| silence.covers(&change.alert, change.at)) {
        return Ok(false);
    }
    if !change.kind.is_end() {
        return Ok(true);
    }
    let alert_id = change.alert_id();
    let is_told_now = changes
        .iter()
        .zip(states)
        .any(|(earlier, state)| *state == DeliveryState::Pending && earlier.alert_id() == alert_id);
    let told: Option<i64> = deliveries::table
        .filter(deliveries::tenant_id.eq(webhook.tenant.0))
        .filter(deliveries::webhook_id.eq(Guid(webhook.id)))
        .filter(deliveries::alert_id.eq(alert_id))
        .filter(deliveries::state.ne(DeliveryState::Silenced.name()))
        .select(deliveries::id)
        .first(connection)
        .optional()?;
    Ok(!is_told_now && told.is_none())
}

/// A new delivery of a change. A pending one waits until it is put in order.
pub(super) fn row(
    webhook: &Webhook,
    id: i64,
    change: &AlertChange,
    state: DeliveryState,
    now: Timestamp,
) -> Row {
    let is_pending = state == DeliveryState::Pending;
    Row {
        tenant_id: webhook.tenant.0,
        webhook_id: Guid(webhook.id),
        id,
        change_id: Some(change.id),
        change: change.kind.name().to_owned(),
        alert_id: Some(change.alert_id()),
        state: state.name().to_owned(),
        attempts: 0,
        tries: 0,
        next_attempt_at: None,
        claim: None,
        claimed_until: None,
        waiting_since: is_pending.then_some(Micros(now)),
        created_at: Micros(now),
        ended_at: (!is_pending).then_some(Micros(now)),
    }
}
