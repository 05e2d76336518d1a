//! Records an attempt: the row of the attempt, the delivery's next state, and the receiver's
//! health, in one transaction.

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::schedule::{FAILING_GAP_MAX, FAILING_MAX, REFRESH_EVERY, REFRESH_RETRY, next_attempt};
use super::table::{Row, find_in, order_in_txn};
use super::{Attempted, DeliveryKey, DeliveryState, Recorded, TEST};
use crate::clock::delta;
use crate::control::alerts::ChangeKind;
use crate::control::schema::{deliveries, delivery_attempts, webhooks as hooks};
use crate::control::webhooks::{
    Disable, DisabledReason, Webhook, WebhookFormat, disable_in_txn,
    lock_in_txn as lock_webhook_in_txn, raise_in_txn,
};
use crate::engine::{AnyConnection, Engine, Guid, Micros};
use crate::error::StoreError;

/// Records an attempt at a claimed delivery.
pub(crate) fn record(
    engine: &Engine,
    key: DeliveryKey,
    claim: Uuid,
    attempted: Attempted,
) -> Result<Recorded, StoreError> {
    engine.write_of(key.tenant, move |connection| {
        connection.in_txn(|connection| record_in_txn(connection, key, claim, &attempted))
    })
}

fn record_in_txn(
    connection: &mut AnyConnection,
    key: DeliveryKey,
    claim: Uuid,
    attempted: &Attempted,
) -> Result<Recorded, StoreError> {
    let webhook = match lock_webhook_in_txn(connection, key.tenant, key.webhook) {
        Ok(webhook) => webhook,
        // Deleted meanwhile, and its deliveries with it.
        Err(StoreError::NotFound(_)) => return Ok(Recorded::Late),
        Err(error) => return Err(error),
    };
    // Deleted meanwhile, by its age.
    let Some(mut row) = find_in(connection, key)? else { return Ok(Recorded::Late) };
    let disabled = note_health_in_txn(connection, &webhook, attempted)?;
    let is_ours = row.claim.is_some_and(|held| held.0 == claim);
    let was_pending = row.is(DeliveryState::Pending);
    let is_repeat = row.is(DeliveryState::Delivered) && row.next_attempt_at.is_some();
    if is_ours {
        (row.claim, row.claimed_until) = (None, None);
    }
    let recorded = if is_ours && is_repeat {
        repeat(&mut row, attempted)
    } else {
        insert_attempt_in_txn(connection, &mut row, attempted)?;
        if !was_pending || (!is_ours && !attempted.is_success()) {
            Recorded::Late
        } else if attempted.is_success() {
            deliver_in_txn(connection, &webhook, &mut row, attempted.ended_at)?;
            Recorded::Delivered
        } else {
            fail(&mut row, attempted, disabled.is_some())
        }
    };
    save_in_txn(connection, &row)?;
    if was_pending && !row.is(DeliveryState::Pending) {
        // Due since the attempt began: the next change does not wait for the clock.
        order_in_txn(connection, &row, attempted.at)?;
    }
    if let Some(reason) = disabled {
        let Attempted { ended_at: at, .. } = *attempted;
        disable_in_txn(
            connection,
            Disable { tenant: key.tenant, webhook: key.webhook, reason, at },
        )?;
        if reason == DisabledReason::Failing {
            raise_in_txn(connection, &webhook, webhook.failing_since.unwrap_or(at), at)?;
        }
        return Ok(Recorded::Disabled);
    }
    Ok(recorded)
}

/// Notes the receiver's health at its webhook. Returns why the webhook is to be disabled, if it is.
fn note_health_in_txn(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    attempted: &Attempted,
) -> Result<Option<DisabledReason>, StoreError> {
    let row = hooks::table.find((webhook.tenant.0, Guid(webhook.id)));
    if attempted.is_success() {
        if webhook.failing_since.is_some() {
            diesel::update(row).set(hooks::failing_since.eq(None::<Micros>)).execute(connection)?;
        }
        return Ok(None);
    }
    let time = attempted.ended_at;
    let is_recent = |failed: &Timestamp| failed.plus(delta(FAILING_GAP_MAX)) >= time;
    let goes_on = webhook.failed_at.is_some_and(|failed| is_recent(&failed));
    let since = webhook.failing_since.filter(|_| goes_on).unwrap_or(time);
    diesel::update(row)
        .set((
            hooks::failing_since.eq(Some(Micros(since))),
            hooks::failed_at.eq(Some(Micros(time))),
        ))
        .execute(connection)?;
    let reason = match attempted.status {
        Some(410) => Some(DisabledReason::Gone),
        _ if since.plus(delta(FAILING_MAX)) <= time => Some(DisabledReason::Failing),
        _ => None,
    };
    Ok(reason.filter(|_| webhook.disabled.is_none()))
}

/// A delivered alert was sent again to Alertmanager. No row tells of it: there is one every few
/// minutes.
fn repeat(row: &mut Row, attempted: &Attempted) -> Recorded {
    let (wait, recorded) = if attempted.is_success() {
        (REFRESH_EVERY, Recorded::Delivered)
    } else {
        (REFRESH_RETRY, Recorded::Retried)
    };
    let is_over = attempted.is_end && attempted.is_success();
    let next = (!is_over).then(|| attempted.ended_at.plus(delta(wait)));
    row.next_attempt_at = next.map(Micros);
    recorded
}

fn end(row: &mut Row, state: DeliveryState, time: Timestamp) {
    state.name().clone_into(&mut row.state);
    row.next_attempt_at = None;
    row.waiting_since = None;
    row.ended_at = Some(Micros(time));
}

fn deliver_in_txn(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    row: &mut Row,
    time: Timestamp,
) -> Result<(), StoreError> {
    end(row, DeliveryState::Delivered, time);
    let is_open =
        row.change.parse::<ChangeKind>().is_ok_and(|kind| !kind.is_end()) && row.change != TEST;
    if webhook.format == WebhookFormat::Alertmanager && is_open {
        let later: Option<i64> = deliveries::table
            .filter(deliveries::tenant_id.eq(row.tenant_id))
            .filter(deliveries::webhook_id.eq(row.webhook_id))
            .filter(deliveries::alert_id.eq(&row.alert_id))
            .filter(deliveries::change_id.gt(row.change_id))
            .filter(deliveries::state.ne(DeliveryState::Silenced.name()))
            .select(deliveries::id)
            .first(connection)
            .optional()?;
        if later.is_none() {
            row.next_attempt_at = Some(Micros(time.plus(delta(REFRESH_EVERY))));
        }
    }
    Ok(())
}

fn fail(row: &mut Row, attempted: &Attempted, is_last: bool) -> Recorded {
    row.tries += 1;
    let next =
        next_attempt(&row.message_id(), row.tries, attempted.ended_at, attempted.retry_after);
    match next.filter(|_| !is_last && row.change != TEST) {
        Some(next) => {
            row.next_attempt_at = Some(Micros(next));
            Recorded::Retried
        }
        None => {
            end(row, DeliveryState::Failed, attempted.ended_at);
            Recorded::Failed
        }
    }
}

fn insert_attempt_in_txn(
    connection: &mut AnyConnection,
    row: &mut Row,
    attempted: &Attempted,
) -> QueryResult<()> {
    row.attempts += 1;
    let time = attempted.ended_at.micros().saturating_sub(attempted.at.micros());
    #[expect(clippy::cast_precision_loss, reason = "an attempt takes less than a minute")]
    let duration = time as f64 / 1e6;
    diesel::insert_into(delivery_attempts::table)
        .values((
            delivery_attempts::tenant_id.eq(row.tenant_id),
            delivery_attempts::webhook_id.eq(row.webhook_id),
            delivery_attempts::delivery_id.eq(row.id),
            delivery_attempts::attempt.eq(row.attempts),
            delivery_attempts::at.eq(Micros(attempted.at)),
            delivery_attempts::status.eq(attempted.status.map(i32::from)),
            delivery_attempts::error.eq(&attempted.error),
            delivery_attempts::duration.eq(duration),
            delivery_attempts::answer.eq(&attempted.answer),
        ))
        .execute(connection)?;
    Ok(())
}

fn save_in_txn(connection: &mut AnyConnection, row: &Row) -> QueryResult<()> {
    diesel::update(deliveries::table.find((row.tenant_id, row.webhook_id, row.id)))
        .set((
            deliveries::state.eq(&row.state),
            deliveries::attempts.eq(row.attempts),
            deliveries::tries.eq(row.tries),
            deliveries::next_attempt_at.eq(row.next_attempt_at),
            deliveries::claim.eq(row.claim),
            deliveries::claimed_until.eq(row.claimed_until),
            deliveries::waiting_since.eq(row.waiting_since),
            deliveries::ended_at.eq(row.ended_at),
        ))
        .execute(connection)?;
    Ok(())
}
