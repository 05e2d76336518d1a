//! What a log is run by: tenants, and the tokens that open their logs. Small, durable, changed seldom.

mod schema;
mod secret;
pub(crate) mod tenants;
mod token;
pub(crate) mod tokens;

pub use secret::{Secret, SecretHash};
pub use tenants::Tenant;
pub use token::{Handling, NewToken, OnReject, Rate, Scope, Token, TokenPlace, UnknownName};
