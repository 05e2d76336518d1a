//! The head row of a log's rules: the last numbers given, and the process that evaluates them.

use conn_log_core::Timestamp;
use diesel::prelude::*;

use crate::control::schema::alert_heads;
use crate::engine::{AnyConnection, Micros, Tenants, numbers};
use crate::tenant_id::TenantId;

/// The head row of one log.
#[derive(Clone, Debug, PartialEq, Queryable)]
pub(crate) struct Head {
    pub(crate) tenant: i32,
    /// Grows with each change of a rule.
    pub(crate) revision: i64,
    /// The number of the last rule.
    pub(crate) rules: i64,
    /// The number of the last alert.
    pub(crate) alerts: i64,
    /// The process that evaluates the rules.
    pub(crate) holder: String,
    pub(crate) held_until: Micros,
}

/// The head rows of the logs of these tenants, as far as they have had rules.
pub(crate) fn of(connection: &mut AnyConnection, tenants: Tenants<'_>) -> QueryResult<Vec<Head>> {
    let mut rows = alert_heads::table.order(alert_heads::tenant_id).into_boxed();
    if let Some(tenants) = tenants {
        rows = rows.filter(alert_heads::tenant_id.eq_any(numbers(tenants)));
    }
    rows.load(connection)
}

/// The head row of a log; created if there is none.
pub(crate) fn get_in_txn(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<Head> {
    let head: Option<Head> = alert_heads::table.find(tenant.0).first(connection).optional()?;
    if let Some(head) = head {
        return Ok(head);
    }
    let epoch = Micros(Timestamp::EPOCH);
    diesel::insert_into(alert_heads::table)
        .values((
            alert_heads::tenant_id.eq(tenant.0),
            alert_heads::revision.eq(0_i64),
            alert_heads::rules.eq(0_i64),
            alert_heads::alerts.eq(0_i64),
            alert_heads::holder.eq(""),
            alert_heads::held_until.eq(epoch),
        ))
        .execute(connection)?;
    alert_heads::table.find(tenant.0).first(connection)
}

/// Notes a change of the rules, and the number of the last one.
pub(crate) fn change_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rules: i64,
) -> QueryResult<()> {
    diesel::update(alert_heads::table.find(tenant.0))
        .set((alert_heads::revision.eq(alert_heads::revision + 1), alert_heads::rules.eq(rules)))
        .execute(connection)?;
    Ok(())
}

/// Takes the number of an alert that no rule raises. The evaluation of the rules, which counts on
/// from the last number, begins anew.
pub(crate) fn next_alert_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<i64> {
    let number = get_in_txn(connection, tenant)?.alerts + 1;
    diesel::update(alert_heads::table.find(tenant.0))
        .set((alert_heads::revision.eq(alert_heads::revision + 1), alert_heads::alerts.eq(number)))
        .execute(connection)?;
    Ok(number)
}

/// Takes or keeps the evaluation of a log's rules for a process; returns whether it has it.
pub(crate) fn hold(
    connection: &mut AnyConnection,
    tenant: TenantId,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> QueryResult<bool> {
    let free = alert_heads::holder.eq(holder).or(alert_heads::held_until.lt(Micros(now)));
    let held = diesel::update(alert_heads::table.find(tenant.0).filter(free))
        .set((alert_heads::holder.eq(holder), alert_heads::held_until.eq(Micros(until))))
        .execute(connection)?;
    Ok(held > 0)
}

/// Moves the number of the last alert, if the process still evaluates these rules; returns whether
/// it does.
pub(crate) fn move_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    holder: &str,
    revision: i64,
    alerts: i64,
) -> QueryResult<bool> {
    let own = alert_heads::holder.eq(holder).and(alert_heads::revision.eq(revision));
    let moved = diesel::update(alert_heads::table.find(tenant.0).filter(own))
        .set(alert_heads::alerts.eq(alerts))
        .execute(connection)?;
    Ok(moved > 0)
}
