//! The JSON of a reject.

use std::borrow::Cow;

use conn_log_core::Timestamp;
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::pages::described_page;

/// A refused event that was kept.
#[derive(Serialize, ToSchema)]
pub(super) struct Reject<'a> {
    /// 1, 2, 3 …; the id of a removed reject is not used again.
    #[schema(minimum = 1)]
    id: i64,
    /// The time at which it was refused.
    #[schema(value_type = DateTime<Utc>)]
    created_at: Timestamp,
    /// The token that sent it.
    token_id: Uuid,
    /// The code of the first fault, or the kind of a problem without faults.
    #[schema(example = "unknown_value")]
    code: &'a str,
    /// The media type of the request.
    #[schema(example = "application/x-ndjson")]
    content_type: &'a str,
    /// Whether the body is only the beginning of what was sent.
    truncated: bool,
    /// The event as sent, or the whole body if no event could be read: the first 16 KiB. Values under
    /// sensitive names are redacted.
    body: Cow<'a, str>,
    /// The same in base64, if it is not UTF-8.
    #[schema(value_type = Option<String>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The reason for the refusal.
    #[schema(value_type = crate::http::openapi::Problem)]
    problem: Cow<'a, RawValue>,
}

described_page! {
    /// A page of rejects.
    RejectPage, Reject<'static>
}

impl<'a> From<&'a conn_log_store::Reject> for Reject<'a> {
    fn from(reject: &'a conn_log_store::Reject) -> Self {
        let content = &reject.content;
        let text = std::str::from_utf8(&content.body);
        Reject {
            id: reject.id,
            created_at: reject.created_at,
            token_id: content.token_id,
            // The first one is the kind of the problem.
            code: content.codes.get(1).or(content.codes.first()).map_or("", String::as_str),
            content_type: &content.content_type,
            truncated: content.is_truncated,
            body: String::from_utf8_lossy(&content.body),
            body_base64: text.is_err().then(|| BASE64.encode(&content.body)),
            // This server has written the JSON, so it can be parsed.
            problem: serde_json::from_str(&content.problem)
                .map_or_else(|_| Cow::Owned(RawValue::NULL.to_owned()), Cow::Borrowed),
        }
    }
}
