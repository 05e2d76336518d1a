//! Webhooks: the receivers that are told of changes of alerts.
//!
//! Signing needs a secret itself, so that the table holds it as text and not as a hash.

mod failing;
mod filter;
mod secret;
mod table;

use conn_log_core::Timestamp;
use uuid::Uuid;

use super::alerts::{AlertChange, ChangeKind};
use super::token::named;
use crate::tenant_id::TenantId;

pub(crate) use failing::raise_in_txn;
pub use filter::AlertFilter;
pub use secret::WebhookSecret;
pub(crate) use table::{
    Disable, all_enabled, create_in_txn, delete, disable_in_txn, find_in, list, lock_in_txn,
    move_position_in_txn, rotate_secret, update,
};

named! {
    /// The form of what a webhook is sent.
    WebhookFormat {
        /// Standard Webhooks: the alert and some of its events.
        Standard = "standard",
        /// A message for Slack and what takes the same messages.
        Slack = "slack",
        /// Alerts for Alertmanager's `/api/v2/alerts`.
        Alertmanager = "alertmanager",
        /// An event for PagerDuty's Events API v2.
        PagerDuty = "pagerduty",
    }

    /// Why a webhook is disabled.
    DisabledReason {
        /// A client asked for it.
        Request = "request",
        /// The receiver answered 410.
        Gone = "gone",
        /// Every attempt of five days failed.
        Failing = "failing",
    }
}

/// A webhook to create.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// The address that is called.
    pub url: String,
    /// The form of what is sent.
    pub format: WebhookFormat,
    /// The kinds of changes that are sent.
    pub changes: Vec<ChangeKind>,
    /// The alerts whose changes are sent.
    pub filter: AlertFilter,
    /// The integration key of PagerDuty, with that format only.
    pub routing_key: Option<String>,
    /// Whether it is told of alerts.
    pub enabled: bool,
}

/// The settings to change; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// The address that is called.
    pub url: Option<String>,
    /// The form of what is sent.
    pub format: Option<WebhookFormat>,
    /// The kinds of changes that are sent.
    pub changes: Option<Vec<ChangeKind>>,
    /// The alerts whose changes are sent.
    pub filter: Option<AlertFilter>,
    /// The integration key of PagerDuty; `Some(None)` removes it.
    pub routing_key: Option<Option<String>>,
    /// Whether it is told of alerts.
    pub enabled: Option<bool>,
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The tenant whose alerts it receives.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// The address that is called.
    pub url: String,
    /// The form of what is sent.
    pub format: WebhookFormat,
    /// The kinds of changes that are sent.
    pub changes: Vec<ChangeKind>,
    /// The alerts whose changes are sent.
    pub filter: AlertFilter,
    /// The integration key of PagerDuty.
    pub routing_key: Option<String>,
    /// The secret that signs.
    pub secret: WebhookSecret,
    /// The secret before it, and the end of the time in which it signs too.
    pub secret_before: Option<(WebhookSecret, Timestamp)>,
    /// When it was disabled, and why; `None` while it is enabled.
    pub disabled: Option<(Timestamp, DisabledReason)>,
    /// First failed attempt since the last success.
    pub failing_since: Option<Timestamp>,
    /// Last failed attempt.
    pub(crate) failed_at: Option<Timestamp>,
    /// The last change that deliveries were made of.
    pub(crate) position: i64,
    /// The highest id of its deliveries.
    pub(crate) delivery_last: i64,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Webhook {
    /// The secrets that sign at that time, the newest first.
    pub fn secrets_at(&self, time: Timestamp) -> Vec<&WebhookSecret> {
        let before = self.secret_before.as_ref().filter(|(_, until)| time < *until);
        std::iter::once(&self.secret).chain(before.map(|(secret, _)| secret)).collect()
    }

    /// Its URL without path and query, which can be secrets. Empty for a text that is no URL.
    pub fn origin(&self) -> String {
        origin(&self.url)
    }

    /// Whether it is to be told of a change.
    pub(crate) fn wants(&self, change: &AlertChange) -> bool {
        self.changes.contains(&change.kind) && self.filter.matches(&change.alert)
    }
}

fn origin(url: &str) -> String {
    url::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_neither_path_nor_query() {
        for (url, origin_of) in [
            ("https://a.example/secret?x", "https://a.example"),
            ("http://[::1]:8080?x", "http://[::1]:8080"),
            ("https://a.example", "https://a.example"),
        ] {
            assert_eq!(origin(url), origin_of);
        }
    }
}
