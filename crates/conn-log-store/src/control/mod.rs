//! Control data: tenants, the tokens that give access to their logs, and what is told of alerts to
//! whom. Small, durable, rarely changed; deliveries grow with the alerts.

pub(crate) mod alerts;
pub(crate) mod deliveries;
pub(crate) mod once;
mod schema;
mod secret;
pub(crate) mod silences;
pub(crate) mod tenants;
mod token;
pub(crate) mod tokens;
pub(crate) mod webhooks;

pub use alerts::{
    Alert, AlertChange, AlertQuery, AlertState, ChangeKind, NewAlertChange, StoredRule,
    WEBHOOK_DISABLED,
};
pub use deliveries::{
    Attempt, Attempted, ClaimedDelivery, Delivery, DeliveryKey, DeliveryLag, DeliveryState,
    Recorded, Redelivered,
};
pub use once::{Created, Once, OnceKey, Repeated};
pub use secret::{Secret, SecretHash};
pub use silences::{NewSilence, Silence};
pub use tenants::Tenant;
pub use token::{Handling, NewToken, OnReject, Rate, Scope, Token, TokenPlace, UnknownName};
pub use webhooks::{
    AlertFilter, DisabledReason, NewWebhook, Webhook, WebhookChange, WebhookFormat, WebhookSecret,
};
