//! The types of rules in requests and answers.

use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use conn_log_store::{Preview, RuleState, StoredRule};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::alerts::shapes::{AlertRuleKind, AlertStateName};
use crate::http::pages::described_page;
use crate::webhooks::SeverityName;

/// The entity tag of a rule: another one after each change.
pub(super) fn tag(stored: &StoredRule) -> String {
    format!("\"{}-{}\"", stored.version, stored.updated_at.micros())
}

/// A rule as JSON.
pub(super) fn answer(stored: &StoredRule, state: Option<RuleState>) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), stored.id.into());
    object.insert("version".to_owned(), stored.version.into());
    object.extend(stored.rule.to_json());
    object.insert("created_at".to_owned(), stored.created_at.to_string().into());
    object.insert("updated_at".to_owned(), stored.updated_at.to_string().into());
    object.insert("started_at".to_owned(), stored.started_at.to_string().into());
    let health = state.map(|RuleState { health, is_slowed, behind_events }| {
        json!({
            "groups": health.groups,
            "late_reads": health.late_reads,
            "late_reads_cut": health.late_reads_cut,
            "groups_given_up": health.groups_given_up,
            "slowed": is_slowed,
            "behind_events": behind_events,
        })
    });
    object.insert("health".to_owned(), health.unwrap_or_default());
    Value::Object(object)
}

/// A preview as JSON.
pub(super) fn preview(preview: &Preview) -> Value {
    let mut by_day: BTreeMap<String, u64> = BTreeMap::new();
    for alert in &preview.alerts {
        let start = Timestamp::from_micros(alert.episode.start).to_string();
        *by_day.entry(start.chars().take(10).collect()).or_default() += 1;
    }
    let days: Vec<Value> =
        by_day.into_iter().map(|(day, alerts)| json!({"day": day, "alerts": alerts})).collect();
    let alerts: Vec<Value> = preview.alerts.iter().take(ALERTS_MAX).map(episode).collect();
    json!({
        "count": preview.alerts.len(),
        "episodes": alerts,
        "by_day": days,
        "events": preview.events,
        "complete": preview.is_complete,
        "last_event_id": preview.last_id,
        "elapsed_seconds": preview.elapsed.as_secs_f64(),
    })
}

/// Maximum episodes in the answer to a preview; the counts are of all.
const ALERTS_MAX: usize = 1_000;

/// An alert without what it has only once it is stored.
fn episode(alert: &conn_log_store::PreviewedAlert) -> Value {
    let mut json = alert.to_json();
    if let Value::Object(object) = &mut json {
        for name in ["id", "rule_id", "rule_version", "merged_into", "note"] {
            object.remove(name);
        }
    }
    json
}

/// A rule.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct AlertRule {
    #[schema(minimum = 1)]
    id: i64,
    /// Grows with each change of what the rule finds. Alerts name theirs.
    #[schema(minimum = 1)]
    version: i64,
    name: String,
    kind: AlertRuleKind,
    /// By kind; docs/rules.md explains each.
    #[schema(value_type = Object)]
    params: Value,
    /// The filters of the list of events.
    #[schema(value_type = Object)]
    filter: Value,
    /// Events that pass this filter are left out.
    #[schema(value_type = Option<Object>, required)]
    exclude: Option<Value>,
    /// One to three of device_id, application_id, ip_address, user_agent, network_type and `metadata.<path>`.
    group_by: Vec<String>,
    clock: AlertRuleClock,
    lateness_seconds: u32,
    count_repeats: bool,
    severity: SeverityName,
    cooldown_seconds: u32,
    enabled: bool,
    #[schema(value_type = DateTime<Utc>)]
    created_at: Timestamp,
    #[schema(value_type = DateTime<Utc>)]
    updated_at: Timestamp,
    /// When this version began: it looks at the events after that.
    #[schema(value_type = DateTime<Utc>)]
    started_at: Timestamp,
    /// Null if this server does not evaluate the rule.
    #[schema(required)]
    health: Option<AlertRuleHealth>,
}

/// The time of an event that a rule goes by: its timestamp, or when the server registered it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "only described")]
pub(super) enum AlertRuleClock {
    Event,
    Received,
}

/// How a rule fares.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct AlertRuleHealth {
    /// Groups in memory.
    #[schema(minimum = 0)]
    groups: i64,
    /// Reads of the log for late events whose neighbors were no longer in memory.
    #[schema(minimum = 0)]
    late_reads: i64,
    /// Those of them that left events out, because there were too many.
    #[schema(minimum = 0)]
    late_reads_cut: i64,
    /// Groups of all rules that were given up or cut because there were too many, or too many
    /// events of them.
    #[schema(minimum = 0)]
    groups_given_up: i64,
    /// Whether the rule goes on behind the others, because it costs too much. Its alerts are the
    /// same, and come later.
    slowed: bool,
    /// Events of the log that the rule has not taken in.
    #[schema(minimum = 0)]
    behind_events: i64,
}

described_page! {
    /// A page of rules.
    AlertRulePage, AlertRule
}

/// The settings of a new rule.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "NewAlertRule", example = json!({
    "name": "failed logins", "kind": "failure_burst",
    "params": {"threshold": 5, "window_seconds": 60},
    "filter": {"status": ["failure", "denied"]}, "group_by": ["device_id"]
}))]
pub(super) struct NewAlertRule {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    kind: AlertRuleKind,
    /// By kind. Those that are left out have their defaults.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// The filters of the list of events.
    #[schema(value_type = Option<Object>)]
    filter: Option<Value>,
    /// Events that pass this filter are left out.
    #[schema(value_type = Option<Object>)]
    exclude: Option<Value>,
    /// One to three of device_id, application_id, ip_address, user_agent, network_type and `metadata.<path>`.
    #[schema(min_items = 1, max_items = 3)]
    group_by: Vec<String>,
    /// `event` if absent.
    clock: Option<AlertRuleClock>,
    /// Kinds that judge a time wait this long for late events; 300 if absent.
    #[schema(maximum = 86_400)]
    lateness_seconds: Option<u32>,
    /// Whether equal events count more than once; false if absent.
    count_repeats: Option<bool>,
    /// `warning` if absent.
    severity: Option<SeverityName>,
    /// Hits of a group within this time of each other are one alert; 3600 if absent.
    #[schema(maximum = 86_400)]
    cooldown_seconds: Option<u32>,
    /// true if absent.
    enabled: Option<bool>,
}

/// The members of a rule to change.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "AlertRuleChange", example = json!({"severity": "critical"}))]
pub(super) struct AlertRuleChange {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    kind: Option<AlertRuleKind>,
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    #[schema(value_type = Option<Object>)]
    filter: Option<Value>,
    #[schema(value_type = Option<Object>)]
    exclude: Option<Value>,
    #[schema(min_items = 1, max_items = 3)]
    group_by: Option<Vec<String>>,
    clock: Option<AlertRuleClock>,
    #[schema(maximum = 86_400)]
    lateness_seconds: Option<u32>,
    count_repeats: Option<bool>,
    severity: Option<SeverityName>,
    #[schema(maximum = 86_400)]
    cooldown_seconds: Option<u32>,
    enabled: Option<bool>,
}

/// A rule to try, and the time to try it on.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "AlertRulePreview", example = json!({
    "rule": {
        "name": "failed logins", "kind": "failure_burst",
        "filter": {"status": ["failure", "denied"]}, "group_by": ["device_id"]
    },
    "since": "2024-01-15T00:00:00Z", "until": "2024-01-16T00:00:00Z"
}))]
pub(super) struct AlertRulePreview {
    /// If absent, the members of the rule stand beside `since`.
    #[schema(nullable = false)]
    rule: Option<NewAlertRule>,
    /// Events of this time or later, by the rule's clock.
    #[schema(value_type = DateTime<Utc>)]
    since: Timestamp,
    /// Events before this time; this moment if absent.
    #[schema(value_type = Option<DateTime<Utc>>)]
    until: Option<Timestamp>,
}

/// What a rule would have raised.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct AlertPreview {
    /// All episodes.
    #[schema(minimum = 0)]
    count: i64,
    /// The first 1,000 of them.
    episodes: Vec<PreviewedEpisode>,
    by_day: Vec<EpisodesOfDay>,
    /// Events that passed the filter.
    #[schema(minimum = 0)]
    events: i64,
    /// Whether the preview got to the end.
    complete: bool,
    /// The last event that it took in, in the order of the rule's clock; 0 for none.
    #[schema(minimum = 0)]
    last_event_id: i64,
    elapsed_seconds: f64,
}

/// The episodes that began on a day.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct EpisodesOfDay {
    /// A date in UTC.
    #[schema(format = Date)]
    day: String,
    #[schema(minimum = 1)]
    alerts: i64,
}

/// An alert that would have been raised.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct PreviewedEpisode {
    rule_name: String,
    kind: AlertRuleKind,
    severity: SeverityName,
    state: AlertStateName,
    #[schema(value_type = Object)]
    group: Value,
    #[schema(minimum = 0)]
    count: i64,
    event_ids: Vec<i64>,
    #[schema(required)]
    first_event_id: Option<i64>,
    #[schema(required)]
    last_event_id: Option<i64>,
    #[schema(value_type = DateTime<Utc>)]
    started_at: Timestamp,
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    ended_at: Option<Timestamp>,
    #[schema(value_type = DateTime<Utc>)]
    detected_at: Timestamp,
    explanation: String,
    events_url: String,
}

/// The starter rules that were missing.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct InstalledRules {
    installed: Vec<AlertRule>,
}
