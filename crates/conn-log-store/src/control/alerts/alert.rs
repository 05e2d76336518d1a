//! An alert, its JSON, and what lists of alerts ask for.

use conn_log_core::Timestamp;
use conn_log_core::alert::Episode;
use serde_json::{Value, json};

use crate::control::token::named;

named! {
    /// The state of an alert.
    AlertState {
        /// No one has seen it.
        Open = "open",
        /// A person has seen it.
        Acknowledged = "acknowledged",
        /// It is over.
        Resolved = "resolved",
        /// A later event contradicts it.
        Withdrawn = "withdrawn",
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its number in the tenant: 1, 2, 3 …
    pub id: i64,
    /// The rule that raised it.
    pub rule_id: i64,
    /// The version of that rule.
    pub rule_version: i64,
    /// The name of that rule then.
    pub rule_name: String,
    /// The kind of that rule.
    pub kind: String,
    /// The severity of that rule then.
    pub severity: String,
    /// Its state.
    pub state: AlertState,
    /// A JSON object with a member for each field of the group.
    pub group: String,
    /// A number made of the group.
    pub(crate) group_hash: i64,
    /// Its events and figures.
    pub episode: Episode,
    /// The earlier alert that a late event joined it with.
    pub merged_into: Option<i64>,
    /// What was found, for people.
    pub explanation: String,
    /// The sentence on earlier alerts of its rule and group, written when it was opened; the
    /// explanation includes it.
    pub before: Option<String>,
    /// The path of the list that shows its events.
    pub events_path: String,
    /// What the person said who acknowledged or resolved it.
    pub note: Option<String>,
}

impl Alert {
    /// The alert as JSON: members in the contract's order.
    pub fn to_json(&self) -> Value {
        let episode = &self.episode;
        let ids: Vec<i64> = episode.evidence().iter().map(|mark| mark.id).collect();
        let time = |micros: i64| Timestamp::from_micros(micros).to_string();
        let group: Value = serde_json::from_str(&self.group).unwrap_or_default();
        json!({
            "id": self.id,
            "rule_id": self.rule_id,
            "rule_version": self.rule_version,
            "rule_name": self.rule_name,
            "kind": self.kind,
            "severity": self.severity,
            "state": self.state.name(),
            "group": group,
            "count": episode.count,
            "first_event_id": ids.first(),
            "last_event_id": ids.last(),
            "event_ids": ids,
            "started_at": time(episode.start),
            "ended_at": (!episode.goes_on).then(|| time(episode.end)),
            "detected_at": time(episode.detected_at),
            "merged_into": self.merged_into,
            "explanation": self.explanation,
            "events_url": self.events_path,
            "note": self.note,
        })
    }
}

/// The kind of the alert that tells of a webhook that was disabled. No rule raises it: its rule id
/// is 0.
pub const WEBHOOK_DISABLED: &str = "webhook_disabled";

/// A filter of alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertQuery {
    /// Any of these rules; empty for all.
    pub rule_ids: Vec<i64>,
    /// Any of these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Any of these severities; empty for all.
    pub severities: Vec<String>,
    /// Any of these states; empty for all.
    pub states: Vec<AlertState>,
    /// A value of the group, or the group as a JSON object.
    pub group: Option<String>,
    /// Only alerts that started at this time or later.
    pub since: Option<Timestamp>,
    /// Only alerts that started before this time.
    pub until: Option<Timestamp>,
}
