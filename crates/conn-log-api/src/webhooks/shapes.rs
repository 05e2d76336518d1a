//! The types of webhooks and deliveries in requests and answers.

use conn_log_core::Timestamp;
use conn_log_store::{AlertFilter, DeliveryState};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::event_name;
use crate::alerts::shapes::AlertKind;
use crate::http::pages::described_page;

/// A webhook, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    id: Uuid,
    /// The address that is called. For a token without the scope admin its path is hidden: it can
    /// be a secret.
    url: String,
    #[schema(value_type = WebhookFormatName)]
    format: &'static str,
    /// The changes that are sent.
    #[schema(value_type = Vec<AlertChangeName>)]
    events: Vec<&'static str>,
    filter: WebhookFilter,
    enabled: bool,
    /// Null while the webhook is enabled.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    disabled_at: Option<Timestamp>,
    /// Null while the webhook is enabled.
    #[schema(value_type = Option<DisabledReasonName>, required)]
    disabled_reason: Option<&'static str>,
    /// The first failed attempt since the last success; null if the last attempt succeeded.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    failing_since: Option<Timestamp>,
    /// Until then the secret before the last rotation signs too.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    previous_secret_until: Option<Timestamp>,
    #[schema(value_type = DateTime<Utc>)]
    created_at: Timestamp,
}

/// The alerts whose changes are sent: each member that is given has to match.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookFilter {
    /// Ids of rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<i64>>, nullable = false)]
    rule_id: Vec<Value>,
    /// Kinds of alerts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<AlertKind>>, nullable = false)]
    kind: Vec<String>,
    /// Severities of rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<SeverityName>>, nullable = false)]
    severity: Vec<String>,
}

/// A webhook with its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookWithSecret {
    #[serde(flatten)]
    pub(super) webhook: Webhook,
    /// The secret that signs. It is shown only in this answer.
    #[schema(example = "whsec_…")]
    pub(super) secret: String,
}

described_page! {
    /// A page of webhooks.
    WebhookPage, Webhook
}

/// What a webhook is told of one change, and what became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    /// 1, 2, 3 … for each webhook.
    #[schema(minimum = 1)]
    id: i64,
    /// The header webhook-id, the same in all attempts.
    message_id: String,
    /// The change, or webhook.test.
    #[schema(example = "alert.opened")]
    r#type: String,
    /// The place of the change among all changes of alerts; null for a test.
    #[schema(required)]
    sequence: Option<i64>,
    /// Null for a test.
    #[schema(required)]
    alert_id: Option<String>,
    #[schema(value_type = DeliveryStateName)]
    state: &'static str,
    /// Null if nothing is to be sent, and while an earlier change of the same alert is pending.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    next_attempt_at: Option<Timestamp>,
    #[schema(value_type = DateTime<Utc>)]
    created_at: Timestamp,
    /// Null while it is pending.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    ended_at: Option<Timestamp>,
    /// The number of attempts.
    #[schema(minimum = 0)]
    attempts: i32,
    #[schema(required)]
    last_attempt: Option<DeliveryAttempt>,
}

/// One attempt.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryAttempt {
    /// 1, 2, 3 … for each delivery.
    #[schema(minimum = 1)]
    attempt: i32,
    #[schema(value_type = DateTime<Utc>)]
    at: Timestamp,
    /// The status of the answer; null if there was none.
    #[schema(required, minimum = 100, maximum = 999)]
    status: Option<u16>,
    /// Why there was no answer; null if there was one.
    #[schema(required)]
    error: Option<String>,
    /// Seconds.
    #[schema(minimum = 0)]
    duration: f64,
    /// The begin of the answer's body, at most 512 bytes.
    #[schema(required)]
    answer: Option<String>,
}

described_page! {
    /// A page of deliveries.
    DeliveryPage, Delivery
}

/// A delivery with all of its attempts.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryWithAttempts {
    #[serde(flatten)]
    pub(super) delivery: Delivery,
    /// The attempts, the first first; at most the last 100.
    pub(super) all_attempts: Vec<DeliveryAttempt>,
}

/// The number of deliveries that are pending again.
#[derive(Serialize, ToSchema)]
pub(super) struct RedeliveredWebhook {
    pub(super) redelivered: usize,
    /// Whether there are more: then the request can be repeated.
    pub(super) has_more: bool,
}

/// The entity tag of a webhook: another one after each change of what a client may change. What the
/// server notes of the receiver's health is no part of it.
pub(super) fn tag(webhook: &conn_log_store::Webhook) -> String {
    let settings = serde_json::json!([
        webhook.url,
        webhook.format.name(),
        webhook.changes.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        webhook.filter.to_json(),
        webhook.routing_key,
        webhook.secret.reveal(),
        webhook.disabled.map(|(at, _)| at.micros()),
    ]);
    let hash = Sha256::digest(settings.to_string());
    format!("\"{}\"", HEXLOWER.encode(&hash[..16]))
}

impl Webhook {
    /// A webhook as a token may see it.
    pub(super) fn of(webhook: &conn_log_store::Webhook, is_admin: bool) -> Self {
        let now = Timestamp::from(chrono::Utc::now());
        let (disabled_at, disabled_reason) = webhook.disabled.unzip();
        let AlertFilter { rule_ids, kinds, severities } = webhook.filter.clone();
        Webhook {
            id: webhook.id,
            url: if is_admin { webhook.url.clone() } else { format!("{}/…", webhook.origin()) },
            format: webhook.format.name(),
            events: webhook.changes.iter().copied().map(event_name).collect(),
            filter: WebhookFilter { rule_id: rule_ids, kind: kinds, severity: severities },
            enabled: webhook.disabled.is_none(),
            disabled_at,
            disabled_reason: disabled_reason.map(conn_log_store::DisabledReason::name),
            failing_since: webhook.failing_since,
            previous_secret_until: webhook
                .secret_before
                .as_ref()
                .map(|(_, until)| *until)
                .filter(|until| now < *until),
            created_at: webhook.created_at,
        }
    }
}

impl From<conn_log_store::Delivery> for Delivery {
    fn from(delivery: conn_log_store::Delivery) -> Self {
        let prefix = if delivery.change_id.is_some() { "alert" } else { "webhook" };
        Delivery {
            id: delivery.key.id,
            message_id: delivery.message_id,
            r#type: format!("{prefix}.{}", delivery.change),
            sequence: delivery.change_id,
            alert_id: delivery.alert_id,
            state: DeliveryState::name(delivery.state),
            next_attempt_at: delivery.next_attempt_at,
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
            attempts: delivery.attempts,
            last_attempt: delivery.last_attempt.map(DeliveryAttempt::from),
        }
    }
}

impl From<conn_log_store::Attempt> for DeliveryAttempt {
    fn from(attempt: conn_log_store::Attempt) -> Self {
        let conn_log_store::Attempt { number, at, status, error, duration, answer } = attempt;
        DeliveryAttempt { attempt: number, at, status, error, duration, answer }
    }
}

/// The format of the requests to a webhook.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum WebhookFormatName {
    Standard,
    Slack,
    Alertmanager,
    Pagerduty,
}

/// A change of an alert.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) enum AlertChangeName {
    #[serde(rename = "alert.opened")]
    Opened,
    #[serde(rename = "alert.extended")]
    Extended,
    #[serde(rename = "alert.acknowledged")]
    Acknowledged,
    #[serde(rename = "alert.resolved")]
    Resolved,
    #[serde(rename = "alert.withdrawn")]
    Withdrawn,
}

/// The severity of a rule and of its alerts.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(crate) enum SeverityName {
    Info,
    Warning,
    Critical,
}

/// Why a webhook is disabled.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum DisabledReasonName {
    Request,
    Gone,
    Failing,
}

/// What became of a delivery.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum DeliveryStateName {
    Pending,
    Delivered,
    Failed,
    Silenced,
    Cancelled,
}

/// The settings of a new webhook.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "NewWebhook", example = json!({
    "url": "https://example.com/hook", "events": ["alert.opened", "alert.resolved"],
    "filter": {"severity": ["critical"]}
}))]
pub(super) struct NewWebhook {
    /// An absolute http or https URL, without user information. Its address has to be global,
    /// unless the deployment allows it.
    #[schema(max_length = 2048, pattern = "^https?://", example = "https://example.com/hook")]
    url: String,
    /// standard if absent.
    format: Option<WebhookFormatName>,
    /// All if absent.
    #[schema(min_items = 1, max_items = 16)]
    events: Option<Vec<AlertChangeName>>,
    filter: Option<WebhookFilter>,
    /// PagerDuty's integration key: required with format pagerduty and a URL of PagerDuty itself, and
    /// otherwise left to the gateway at the URL. It is never shown.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    routing_key: Option<String>,
    /// true if absent.
    enabled: Option<bool>,
}

/// The settings of a webhook to change; those that are absent stay as they are.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "WebhookChange", example = json!({"enabled": false}))]
pub(super) struct WebhookChange {
    /// An absolute http or https URL.
    #[schema(max_length = 2048, pattern = "^https?://")]
    url: Option<String>,
    format: Option<WebhookFormatName>,
    /// The changes that are sent.
    #[schema(min_items = 1, max_items = 16)]
    events: Option<Vec<AlertChangeName>>,
    filter: Option<WebhookFilter>,
    /// PagerDuty's integration key.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    routing_key: Option<String>,
    /// true also ends a disabling by the server; the webhook is told of what comes after.
    enabled: Option<bool>,
}

/// The time of the changes to send again.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "RedeliverWebhook", example = json!({"since": "2024-01-15T10:30:00Z"}))]
pub(super) struct RedeliverWebhook {
    since: chrono::DateTime<chrono::Utc>,
    /// This moment if absent.
    until: Option<chrono::DateTime<chrono::Utc>>,
}
