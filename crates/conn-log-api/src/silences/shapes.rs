//! The types of silences in requests and answers.

use conn_log_core::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::pages::described_page;
use crate::webhooks::SeverityName;

/// A silence: each of rule_id, group and severity that is not null has to match.
#[derive(Serialize, ToSchema)]
pub(super) struct Silence<'a> {
    id: Uuid,
    /// The rule of the alerts; null for any.
    #[schema(value_type = Option<i64>, required)]
    rule_id: Option<&'a Value>,
    /// Fields that the group of the alerts has; null for any group.
    #[schema(value_type = Option<Object>, required)]
    group: Option<&'a Map<String, Value>>,
    /// The severity of the alerts; null for any.
    #[schema(value_type = Option<SeverityName>, required)]
    severity: Option<&'a str>,
    /// The end of the silence.
    #[schema(value_type = DateTime<Utc>)]
    until: Timestamp,
    reason: &'a str,
    /// The id of the token that made it.
    created_by: Uuid,
    #[schema(value_type = DateTime<Utc>)]
    created_at: Timestamp,
}

described_page! {
    /// A page of silences.
    SilencePage, Silence<'static>
}

impl<'a> From<&'a conn_log_store::Silence> for Silence<'a> {
    fn from(silence: &'a conn_log_store::Silence) -> Self {
        let settings = &silence.settings;
        Silence {
            id: silence.id,
            rule_id: settings.rule_id.as_ref(),
            group: settings.group.as_ref(),
            severity: settings.severity.as_deref(),
            until: settings.until,
            reason: &settings.reason,
            created_by: settings.created_by,
            created_at: silence.created_at,
        }
    }
}

/// The settings of a new silence. At least one of rule_id, group and severity is required.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "NewSilence", example = json!({
    "severity": "info", "until": "2030-01-15T10:30:00Z", "reason": "maintenance"
}))]
pub(super) struct NewSilence {
    /// The rule of the alerts.
    #[schema(minimum = 1)]
    rule_id: Option<i64>,
    /// One to three fields that the group of the alerts has, and the value of each: a text of at most
    /// 4,096 bytes; for metadata also a number, true or false. The fields are those of group_by, and
    /// webhook_id and overflow.
    #[schema(value_type = Option<Object>, example = json!({"device_id": "dev_1"}))]
    group: Option<Map<String, Value>>,
    severity: Option<SeverityName>,
    /// The end of the silence, within the next 366 days.
    until: chrono::DateTime<chrono::Utc>,
    /// Why, for people.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    reason: String,
}
