//! The alert that tells of a webhook which was disabled because its receiver failed for five days.
//!
//! No rule raises it: its rule id is 0. It goes on until the webhook is enabled again or deleted.

use conn_log_core::Timestamp;
use conn_log_core::alert::Episode;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Webhook;
use crate::control::alerts::changes::append_alert_changes;
use crate::control::alerts::table::{Ending, end_in_txn, write_in_txn};
use crate::control::alerts::{
    Alert, AlertState, ChangeKind, NewAlertChange, WEBHOOK_DISABLED, heads,
};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

const NO_RULE: i64 = 0;

/// Raises the alert. Its receivers are the other webhooks.
pub(crate) fn raise_in_txn(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    since: Timestamp,
    at: Timestamp,
) -> Result<(), StoreError> {
    connection.lock_control_of_in_txn(webhook.tenant)?;
    let id = heads::next_alert_in_txn(connection, webhook.tenant)?;
    let (start, end) = (since.micros(), at.micros());
    let alert = Alert {
        id,
        rule_id: NO_RULE,
        rule_version: NO_RULE,
        rule_name: "Webhook disabled".to_owned(),
        kind: WEBHOOK_DISABLED.to_owned(),
        severity: "critical".to_owned(),
        state: AlertState::Open,
        group: json!({"webhook_id": webhook.id}).to_string(),
        group_hash: hash(webhook.id),
        episode: Episode {
            alert: id,
            slot: end,
            opened_by: 0,
            start,
            end: start,
            goes_on: true,
            count: 0,
            first: Vec::new(),
            last: Vec::new(),
            detected_at: end,
            told: (0, start),
            measure: 0.0,
        },
        merged_into: None,
        explanation: format!(
            "the webhook to {} was disabled, because its receiver has failed since {since}: it is \
             told of no alert until it is enabled again",
            webhook.origin()
        ),
        before: None,
        events_path: format!("/api/v1/webhooks/{}/deliveries/?state=failed", webhook.id),
        note: None,
    };
    write_in_txn(connection, webhook.tenant, std::slice::from_ref(&alert))?;
    let change = NewAlertChange { kind: ChangeKind::Opened, at, alert: alert.to_json() };
    append_alert_changes(connection, webhook.tenant, &[change])?;
    connection.announce_in_txn(&[webhook.tenant])?;
    Ok(())
}

/// Ends the alert, if there is one.
pub(crate) fn end_alert_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    webhook: Uuid,
    why: &str,
) -> Result<(), StoreError> {
    connection.lock_control_of_in_txn(tenant)?;
    let group_hash = Some(hash(webhook));
    end_in_txn(connection, tenant, Ending { rule: NO_RULE, version: NO_RULE, group_hash, why })
}

fn hash(webhook: Uuid) -> i64 {
    let hash = Sha256::digest(webhook.as_bytes());
    i64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
}
