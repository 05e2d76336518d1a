//! The types of alerts in requests and answers.

use conn_log_core::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::pages::described_page;
use crate::webhooks::SeverityName;

/// An alert: what a rule has found.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct Alert {
    #[schema(minimum = 1)]
    id: i64,
    /// 0 for an alert that no rule raised.
    #[schema(minimum = 0)]
    rule_id: i64,
    #[schema(minimum = 0)]
    rule_version: i64,
    /// The name of the rule when the alert was raised.
    rule_name: String,
    kind: AlertKind,
    severity: SeverityName,
    state: AlertStateName,
    /// The group: a member for each field that the rule groups by.
    #[schema(value_type = Object)]
    group: Value,
    /// Events of the alert.
    #[schema(minimum = 0)]
    count: i64,
    /// At most 50 of them: the first 25 and the last 25.
    #[schema(max_items = 50)]
    event_ids: Vec<i64>,
    #[schema(required)]
    first_event_id: Option<i64>,
    #[schema(required)]
    last_event_id: Option<i64>,
    #[schema(value_type = DateTime<Utc>)]
    started_at: Timestamp,
    /// The time of the last event so far; null while a silence or a session goes on.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    ended_at: Option<Timestamp>,
    #[schema(value_type = DateTime<Utc>)]
    detected_at: Timestamp,
    /// The earlier alert that a late event joined this one with.
    #[schema(required)]
    merged_into: Option<i64>,
    explanation: String,
    /// The list that shows the events.
    events_url: String,
    /// What the person said who acknowledged or resolved it.
    #[schema(required)]
    note: Option<String>,
}

/// Describes the kinds of rules, and some more.
macro_rules! described_kinds {
    ($(#[$about:meta])* $name:ident { $($(#[$about_more:meta])* $more:ident,)* }) => {
        $(#[$about])*
        #[derive(ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[allow(dead_code, reason = "only described")]
        pub(crate) enum $name {
            Match,
            FailureBurst,
            DistinctCount,
            Sequence,
            FirstSeen,
            Flapping,
            Silence,
            LongSession,
            ImpossibleTravel,
            Beaconing,
            Volume,
            $($(#[$about_more])* $more,)*
        }
    };
}

described_kinds! {
    /// What a rule finds; docs/rules.md explains each kind.
    AlertRuleKind {}
}

described_kinds! {
    /// The kind of the rule, or webhook_disabled.
    AlertKind {
        /// A webhook was disabled because its receiver failed for five days.
        WebhookDisabled,
    }
}

/// Where an alert stands.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "only described")]
pub(crate) enum AlertStateName {
    Open,
    Acknowledged,
    Resolved,
    Withdrawn,
}

described_page! {
    /// A page of alerts.
    AlertPage, Alert
}

/// A note for an alert.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "AlertNote", example = json!({"note": "a test of the new gateway"}))]
pub(crate) struct AlertNote {
    /// Of the control characters only line breaks (U+000A) and tabs are taken.
    #[schema(
        min_length = 1,
        max_length = 1000,
        pattern = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"
    )]
    note: Option<String>,
}
