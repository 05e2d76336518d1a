//! Control data: tenants, and the tokens that give access to their logs. Small, durable, rarely
//! changed.

pub(crate) mod alerts;
mod schema;
mod secret;
pub(crate) mod tenants;
mod token;
pub(crate) mod tokens;

pub use alerts::{
    Alert, AlertChange, AlertQuery, AlertState, ChangeKind, NewAlertChange, StoredRule,
};
pub use secret::{Secret, SecretHash};
pub use tenants::Tenant;
pub use token::{Handling, NewToken, OnReject, Rate, Scope, Token, TokenPlace, UnknownName};
