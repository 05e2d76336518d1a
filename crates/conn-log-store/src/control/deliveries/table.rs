//! The rows of deliveries, and the order of those of one alert.

use conn_log_core::Timestamp;
use diesel::prelude::*;

use super::{Delivery, DeliveryKey, DeliveryState, message_id};
use crate::control::schema::deliveries;
use crate::engine::{AnyConnection, Guid, Micros};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
pub(super) struct Row {
    pub(super) tenant_id: i32,
    pub(super) webhook_id: Guid,
    pub(super) id: i64,
    pub(super) change_id: Option<i64>,
    pub(super) change: String,
    pub(super) alert_id: Option<String>,
    pub(super) state: String,
    pub(super) attempts: i32,
    pub(super) tries: i32,
    pub(super) next_attempt_at: Option<Micros>,
    pub(super) claim: Option<Guid>,
    pub(super) claimed_until: Option<Micros>,
    pub(super) waiting_since: Option<Micros>,
    pub(super) created_at: Micros,
    pub(super) ended_at: Option<Micros>,
}

impl Row {
    pub(super) fn key(&self) -> DeliveryKey {
        DeliveryKey { tenant: TenantId(self.tenant_id), webhook: self.webhook_id.0, id: self.id }
    }

    pub(super) fn message_id(&self) -> String {
        message_id(self.key(), self.change_id)
    }

    pub(super) fn is(&self, state: DeliveryState) -> bool {
        self.state == state.name()
    }
}

impl TryFrom<Row> for Delivery {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let state: DeliveryState = row.state.parse().map_err(StoreError::internal)?;
        Ok(Delivery {
            key: row.key(),
            message_id: row.message_id(),
            change_id: row.change_id,
            alert_id: row.alert_id,
            state,
            // A delivered one with a time is repeated for Alertmanager, which is no news.
            next_attempt_at: row
                .next_attempt_at
                .map(|time| time.0)
                .filter(|_| state == DeliveryState::Pending),
            created_at: row.created_at.0,
            ended_at: row.ended_at.map(|time| time.0),
            attempts: row.attempts,
            last_attempt: None,
            change: row.change,
        })
    }
}

/// The row of a key.
pub(super) fn find_in(
    connection: &mut AnyConnection,
    key: DeliveryKey,
) -> Result<Option<Row>, StoreError> {
    let row = deliveries::table.find((key.tenant.0, Guid(key.webhook), key.id));
    Ok(row.select(Row::as_select()).first(connection).optional()?)
}

/// Lets the earliest pending delivery of the alert of `row` be sent, and the later ones wait for
/// it. While one is pending, no delivered one is repeated.
pub(super) fn order_in_txn(
    connection: &mut AnyConnection,
    row: &Row,
    now: Timestamp,
) -> QueryResult<()> {
    let Some(alert_id) = &row.alert_id else { return Ok(()) };
    let of_alert = deliveries::table
        .filter(deliveries::tenant_id.eq(row.tenant_id))
        .filter(deliveries::webhook_id.eq(row.webhook_id))
        .filter(deliveries::alert_id.eq(alert_id));
    let pending = DeliveryState::Pending.name();
    let first: Option<(i64, Option<Micros>)> = of_alert
        .filter(deliveries::state.eq(pending))
        .order(deliveries::change_id)
        .select((deliveries::id, deliveries::next_attempt_at))
        .first(connection)
        .optional()?;
    let Some((first, next_attempt_at)) = first else { return Ok(()) };
    // One that is being sent keeps its time until its attempt is recorded.
    diesel::update(
        of_alert
            .filter(deliveries::id.ne(first))
            .filter(deliveries::next_attempt_at.is_not_null())
            .filter(deliveries::claim.is_null().or(deliveries::state.ne(pending))),
    )
    .set(deliveries::next_attempt_at.eq(None::<Micros>))
    .execute(connection)?;
    if next_attempt_at.is_none() {
        let key = (row.tenant_id, row.webhook_id, first);
        diesel::update(deliveries::table.find(key))
            .set(deliveries::next_attempt_at.eq(Some(Micros(now))))
            .execute(connection)?;
    }
    Ok(())
}
