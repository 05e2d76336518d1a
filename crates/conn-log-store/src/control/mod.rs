//! Control data: tenants, and the tokens that give access to their logs. Small, durable, rarely
//! changed.

mod schema;
mod secret;
pub(crate) mod tenants;
mod token;
pub(crate) mod tokens;

pub use secret::{Secret, SecretHash};
pub use tenants::Tenant;
pub use token::{Handling, NewToken, OnReject, Rate, Scope, Token, TokenPlace, UnknownName};
