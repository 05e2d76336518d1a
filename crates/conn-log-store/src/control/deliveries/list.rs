//! Reads deliveries and their attempts.

use diesel::prelude::*;
use uuid::Uuid;

use super::table::{Row, find_in};
use super::{Attempt, Delivery, DeliveryKey, DeliveryState};
use crate::control::schema::{deliveries, delivery_attempts};
use crate::control::webhooks;
use crate::engine::{AnyConnection, Engine, Guid, Micros};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Attempts that are read of one delivery, the last ones: a delivery has more only if it was made
/// pending again many times.
const ATTEMPTS_MAX: i64 = 100;

#[derive(Queryable, Selectable)]
#[diesel(table_name = delivery_attempts)]
struct AttemptRow {
    attempt: i32,
    at: Micros,
    status: Option<i32>,
    error: Option<String>,
    duration: f64,
    answer: Option<String>,
}

/// A page of a webhook's deliveries, newest first, each with its last attempt.
pub(crate) fn list(
    engine: &Engine,
    tenant: TenantId,
    webhook: Uuid,
    state: Option<DeliveryState>,
    query: &PageQuery<i64>,
) -> Result<Page<Delivery>, StoreError> {
    let connection = &mut *engine.reader_of(tenant)?;
    webhooks::find_in(connection, tenant, webhook)?;
    let mut rows = deliveries::table
        .filter(deliveries::tenant_id.eq(tenant.0))
        .filter(deliveries::webhook_id.eq(Guid(webhook)))
        .select(Row::as_select())
        .limit(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
        .into_boxed();
    if let Some(state) = state {
        rows = rows.filter(deliveries::state.eq(state.name()));
    }
    if query.is_backwards() {
        rows = rows.order(deliveries::id.asc());
        if let Some(id) = query.position() {
            rows = rows.filter(deliveries::id.gt(id));
        }
    } else {
        rows = rows.order(deliveries::id.desc());
        if let Some(id) = query.position() {
            rows = rows.filter(deliveries::id.lt(id));
        }
    }
    let mut found = Vec::new();
    for row in rows.load(connection)? {
        found.push(with_last_attempt(connection, row)?);
    }
    Ok(query.page(found))
}

/// A delivery with its attempts, the first first.
pub(crate) fn find(
    engine: &Engine,
    key: DeliveryKey,
) -> Result<(Delivery, Vec<Attempt>), StoreError> {
    let connection = &mut *engine.reader_of(key.tenant)?;
    let row = find_in(connection, key)?.ok_or(StoreError::NotFound("delivery"))?;
    let mut attempts: Vec<Attempt> = delivery_attempts::table
        .filter(delivery_attempts::tenant_id.eq(key.tenant.0))
        .filter(delivery_attempts::webhook_id.eq(Guid(key.webhook)))
        .filter(delivery_attempts::delivery_id.eq(key.id))
        .order(delivery_attempts::attempt.desc())
        .limit(ATTEMPTS_MAX)
        .select(AttemptRow::as_select())
        .load(connection)?
        .into_iter()
        .map(Attempt::from)
        .collect();
    attempts.reverse();
    let delivery = Delivery { last_attempt: attempts.last().cloned(), ..row.try_into()? };
    Ok((delivery, attempts))
}

fn with_last_attempt(connection: &mut AnyConnection, row: Row) -> Result<Delivery, StoreError> {
    let last: Option<AttemptRow> = if row.attempts == 0 {
        None
    } else {
        delivery_attempts::table
            .find((row.tenant_id, row.webhook_id, row.id, row.attempts))
            .select(AttemptRow::as_select())
            .first(connection)
            .optional()?
    };
    Ok(Delivery { last_attempt: last.map(Attempt::from), ..row.try_into()? })
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Attempt {
            number: row.attempt,
            at: row.at.0,
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            error: row.error,
            duration: row.duration,
            answer: row.answer,
        }
    }
}
