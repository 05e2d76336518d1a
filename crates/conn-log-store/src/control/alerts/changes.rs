//! The outbox of alerts: each change of an alert with the alert as it was after it.
//!
//! Readers follow `change_id`: 1, 2, 3 … for each tenant, in commit order.

use std::borrow::Cow;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use serde_json::Value;

use crate::control::schema::alert_changes;
use crate::control::token::named;
use crate::engine::{AnyConnection, JsonText, Micros};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

named! {
    /// The kind of a change of an alert.
    ChangeKind {
        /// A new alert.
        Opened = "opened",
        /// More hits of the same group.
        Extended = "extended",
        /// A person has seen it.
        Acknowledged = "acknowledged",
        /// It is over.
        Resolved = "resolved",
        /// A later event contradicts it.
        Withdrawn = "withdrawn",
    }
}

impl ChangeKind {
    /// Whether the alert has ended with it.
    pub fn is_end(self) -> bool {
        matches!(self, ChangeKind::Resolved | ChangeKind::Withdrawn)
    }
}

/// A change to append to the outbox.
#[derive(Clone, Debug)]
pub struct NewAlertChange {
    /// Its kind.
    pub kind: ChangeKind,
    /// The time of the change.
    pub at: Timestamp,
    /// The alert's JSON after the change, an object with the member `id`.
    pub alert: Value,
}

/// A change in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertChange {
    /// Its place in the tenant's outbox.
    pub id: i64,
    /// Its kind.
    pub kind: ChangeKind,
    /// The time of the change.
    pub at: Timestamp,
    /// The alert's JSON after the change.
    pub alert: Value,
}

impl AlertChange {
    /// The alert's id as text.
    pub fn alert_id(&self) -> String {
        scalar_text(&self.alert["id"])
    }
}

/// The text of a JSON string, number or other value, without quotes.
pub(crate) fn scalar_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Appends changes to the outbox. Call it in the transaction that changes the alerts.
pub(crate) fn append_alert_changes(
    connection: &mut AnyConnection,
    tenant: TenantId,
    changes: &[NewAlertChange],
) -> Result<(), StoreError> {
    connection.lock_control_of_in_txn(tenant)?;
    let mut last = last_id(connection, tenant)?;
    for change in changes {
        last += 1;
        diesel::insert_into(alert_changes::table)
            .values((
                alert_changes::tenant_id.eq(tenant.0),
                alert_changes::change_id.eq(last),
                alert_changes::change.eq(change.kind.name()),
                alert_changes::at.eq(Micros(change.at)),
                alert_changes::alert.eq(JsonText(Cow::Owned(change.alert.to_string()))),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// The last id of a tenant's outbox; 0 for an empty one.
pub(crate) fn last_id(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<i64> {
    let last: Option<i64> = alert_changes::table
        .filter(alert_changes::tenant_id.eq(tenant.0))
        .select(alert_changes::change_id)
        .order(alert_changes::change_id.desc())
        .first(connection)
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// The changes after a place in the outbox, at most `limit`.
pub(crate) fn after(
    connection: &mut AnyConnection,
    tenant: TenantId,
    position: i64,
    limit: i64,
) -> Result<Vec<AlertChange>, StoreError> {
    let rows: Vec<Row> = alert_changes::table
        .filter(alert_changes::tenant_id.eq(tenant.0))
        .filter(alert_changes::change_id.gt(position))
        .order(alert_changes::change_id)
        .limit(limit)
        .select(Row::as_select())
        .load(connection)?;
    rows.into_iter().map(AlertChange::try_from).collect()
}

/// One change, if it is still kept.
pub(crate) fn get(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
) -> Result<Option<AlertChange>, StoreError> {
    let row: Option<Row> = alert_changes::table
        .find((tenant.0, id))
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    row.map(AlertChange::try_from).transpose()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = alert_changes)]
struct Row {
    change_id: i64,
    change: String,
    at: Micros,
    alert: JsonText<'static>,
}

impl TryFrom<Row> for AlertChange {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(AlertChange {
            id: row.change_id,
            kind: row.change.parse().map_err(StoreError::internal)?,
            at: row.at.0,
            alert: serde_json::from_str(&row.alert.0).map_err(StoreError::internal)?,
        })
    }
}
