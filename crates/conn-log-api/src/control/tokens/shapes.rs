//! The types of tokens in requests and answers.

use conn_log_core::Timestamp;
use conn_log_store::{Handling, OnReject, Scope};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::pages::described_page;

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct Token<'a> {
    id: Uuid,
    name: &'a str,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<&'static str>,
    #[schema(value_type = DateTime<Utc>)]
    created_at: Timestamp,
    /// Null if the token does not expire.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    expires_at: Option<Timestamp>,
    /// Null if the token is not revoked.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    revoked_at: Option<Timestamp>,
    /// The only device whose events the token may register; null for any device.
    #[schema(required)]
    device_id: Option<&'a str>,
    /// The only application whose events the token may register; null for any application.
    #[schema(required)]
    application_id: Option<&'a str>,
    /// Events per second; null for the server's default.
    #[schema(required)]
    rate: Option<u32>,
    /// Maximum burst of events; null if the rate is null.
    #[schema(required)]
    burst: Option<u32>,
    #[schema(value_type = Option<OnRejectName>, required)]
    on_reject: Option<&'static str>,
    #[schema(value_type = Option<HandlingName>, required)]
    handling: Option<&'static str>,
}

described_page! {
    /// A page of tokens.
    TokenPage, Token<'static>
}

/// A new token with its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeToken<'a> {
    #[serde(flatten)]
    pub(super) token: Token<'a>,
    /// The bearer token for clients. It is shown only in this answer.
    #[schema(example = "clog_…")]
    pub(super) secret: &'a str,
}

impl<'a> From<&'a conn_log_store::Token> for Token<'a> {
    fn from(token: &'a conn_log_store::Token) -> Self {
        Token {
            id: token.id,
            name: &token.name,
            scopes: token.scopes.iter().copied().map(Scope::name).collect(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
            device_id: token.binding.device_id.as_deref(),
            application_id: token.binding.application_id.as_deref(),
            rate: token.rate.map(|rate| rate.events_per_second),
            burst: token.rate.map(|rate| rate.burst_events),
            on_reject: token.on_reject.map(OnReject::name),
            handling: token.handling.map(Handling::name),
        }
    }
}

/// The settings of a new token.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[schema(title = "NewToken", example = json!({"name": "gate 7", "scopes": ["write"]}))]
pub(super) struct NewToken {
    /// A name for people.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    name: String,
    /// Scopes that the caller's own token has.
    #[schema(min_items = 1, max_items = 16)]
    scopes: Vec<GrantedScopeName>,
    /// Without an expiry, the token is valid until it is revoked.
    #[schema(minimum = 1, maximum = 3_162_240_000_u32)]
    expires_in_seconds: Option<u64>,
    /// The only device whose events the token may register.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    device_id: Option<String>,
    /// The only application whose events the token may register.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
    )]
    application_id: Option<String>,
    /// Events per second; the server's default if absent.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    rate: Option<u32>,
    /// Maximum burst of events; the events of one second if absent. Only valid with a rate.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    burst: Option<u32>,
    on_reject: Option<OnRejectName>,
    handling: Option<HandlingName>,
}

/// A scope.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum ScopeName {
    Write,
    Read,
    Admin,
    Operator,
}

/// A scope that a token can give to another.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum GrantedScopeName {
    Write,
    Read,
    Admin,
}

/// What becomes of refused events.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum OnRejectName {
    Keep,
    Refuse,
}

/// How strictly optional fields are read.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "lowercase")]
pub(super) enum HandlingName {
    Lenient,
    Strict,
}
