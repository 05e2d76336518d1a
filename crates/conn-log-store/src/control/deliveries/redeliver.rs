//! Makes deliveries pending again, on request, and makes deliveries of tests.

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::table::{Row, find_in, order_in_txn};
use super::{Delivery, DeliveryKey, DeliveryState, Redelivered, TEST, plan};
use crate::clock::now;
use crate::control::alerts::{AlertChange, changes};
use crate::control::schema::deliveries;
use crate::control::webhooks;
use crate::engine::{AnyConnection, Engine, Guid, Micros};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// Deliveries of one request: on SQLite events wait for each of its transactions.
const REDELIVERED_MAX: usize = 10_000;

/// Changes looked at by one transaction.
const CHANGES_AT_ONCE: i64 = 500;

/// Makes a delivery pending again, whatever its state, with all attempts before it.
pub(crate) fn redeliver(engine: &Engine, key: DeliveryKey) -> Result<Delivery, StoreError> {
    engine.write_of(key.tenant, move |connection| {
        connection.in_txn(|connection| {
            webhooks::lock_in_txn(connection, key.tenant, key.webhook)?;
            let row = find_in(connection, key)?.ok_or(StoreError::NotFound("delivery"))?;
            make_pending_in_txn(connection, &row, now())?;
            find_in(connection, key)?.ok_or(StoreError::NotFound("delivery"))?.try_into()
        })
    })
}

/// Makes pending what a webhook missed of the changes from `since` to `until`: its failed and
/// cancelled deliveries, and the changes that it has no delivery of.
pub(crate) fn redeliver_all(
    engine: &Engine,
    tenant: TenantId,
    webhook: Uuid,
    since: Timestamp,
    until: Timestamp,
) -> Result<Redelivered, StoreError> {
    let (mut position, mut count) = (0, 0);
    loop {
        let some = engine.write_of(tenant, move |connection| {
            connection.in_txn(|connection| {
                some_in_txn(connection, tenant, webhook, position, (since, until))
            })
        })?;
        count += some.count;
        match some.next {
            Some(next) if count < REDELIVERED_MAX => position = next,
            next => return Ok(Redelivered { count, has_more: next.is_some() }),
        }
    }
}

/// What one transaction did.
struct Part {
    count: usize,
    /// Where to go on.
    next: Option<i64>,
}

fn some_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    webhook: Uuid,
    position: i64,
    (since, until): (Timestamp, Timestamp),
) -> Result<Part, StoreError> {
    let webhook = webhooks::lock_in_txn(connection, tenant, webhook)?;
    let all = changes::after(connection, tenant, position, CHANGES_AT_ONCE)?;
    let is_full = i64::try_from(all.len()).unwrap_or(i64::MAX) == CHANGES_AT_ONCE;
    let next = all.last().map(|change| change.id).filter(|_| is_full);
    let time = now();
    let (mut count, mut new) = (0, Vec::new());
    // What comes after the position is still to be planned.
    let wanted = all.into_iter().filter(|change| {
        (since..until).contains(&change.at)
            && change.id <= webhook.position
            && webhook.wants(change)
    });
    for change in wanted {
        match of_change(connection, &webhook, &change)? {
            None => new.push(change),
            Some(row) if row.is(DeliveryState::Failed) || row.is(DeliveryState::Cancelled) => {
                make_pending_in_txn(connection, &row, time)?;
                count += 1;
            }
            Some(_) => {}
        }
    }
    count += new.len();
    let rows: Vec<Row> = (webhook.delivery_last + 1..)
        .zip(&new)
        .map(|(id, change)| plan::row(&webhook, id, change, DeliveryState::Pending, time))
        .collect();
    let added = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    webhooks::move_position_in_txn(connection, &webhook, webhook.position, added)?;
    plan::insert_in_txn(connection, rows, time)?;
    Ok(Part { count, next })
}

fn of_change(
    connection: &mut AnyConnection,
    webhook: &webhooks::Webhook,
    change: &AlertChange,
) -> QueryResult<Option<Row>> {
    deliveries::table
        .filter(deliveries::tenant_id.eq(webhook.tenant.0))
        .filter(deliveries::webhook_id.eq(Guid(webhook.id)))
        .filter(deliveries::change_id.eq(Some(change.id)))
        .select(Row::as_select())
        .first(connection)
        .optional()
}

fn make_pending_in_txn(
    connection: &mut AnyConnection,
    row: &Row,
    now: Timestamp,
) -> QueryResult<()> {
    // A change of an alert waits until it is put in order; a test waits for nothing.
    let next_attempt_at = row.alert_id.is_none().then_some(Micros(now));
    diesel::update(deliveries::table.find((row.tenant_id, row.webhook_id, row.id)))
        .set((
            deliveries::state.eq(DeliveryState::Pending.name()),
            deliveries::tries.eq(0),
            deliveries::next_attempt_at.eq(next_attempt_at),
            deliveries::claim.eq(None::<Guid>),
            deliveries::claimed_until.eq(None::<Micros>),
            deliveries::waiting_since.eq(Some(Micros(now))),
            deliveries::ended_at.eq(None::<Micros>),
        ))
        .execute(connection)?;
    order_in_txn(connection, row, now)
}

/// Makes the delivery of a test. It is attempted once.
pub(crate) fn test(
    engine: &Engine,
    tenant: TenantId,
    webhook: Uuid,
) -> Result<Delivery, StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            let webhook = webhooks::lock_in_txn(connection, tenant, webhook)?;
            webhooks::move_position_in_txn(connection, &webhook, webhook.position, 1)?;
            let time = Micros(now());
            let row = Row {
                tenant_id: tenant.0,
                webhook_id: Guid(webhook.id),
                id: webhook.delivery_last + 1,
                change_id: None,
                change: TEST.to_owned(),
                alert_id: None,
                state: DeliveryState::Pending.name().to_owned(),
                attempts: 0,
                tries: 0,
                next_attempt_at: Some(time),
                claim: None,
                claimed_until: None,
                waiting_since: Some(time),
                created_at: time,
                ended_at: None,
            };
            diesel::insert_into(deliveries::table).values(&row).execute(connection)?;
            row.try_into()
        })
    })
}
