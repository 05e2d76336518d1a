//! A token: its tenant, its scopes, its rate, and the device that it is bound to.

use conn_log_core::{Binding, Timestamp};
use uuid::Uuid;

use crate::tenant_id::TenantId;

/// Defines enums whose values have names, as the tables, the API and the command line use them.
macro_rules! named {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::control::UnknownName;

            fn from_str(name: &str) -> Result<Self, $crate::control::UnknownName> {
                let known = $name::ALL.iter().copied();
                known.clone().find(|value| value.name() == name).ok_or_else(|| {
                    let known: Vec<&str> = known.map($name::name).collect();
                    $crate::control::UnknownName::new(name, &known)
                })
            }
        }
    )*};
}

pub(super) use named;

/// Error: the name is not one of the known names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of {known}")]
pub struct UnknownName {
    given: String,
    known: String,
}

impl UnknownName {
    pub(super) fn new(given: &str, known: &[&str]) -> Self {
        UnknownName { given: given.to_owned(), known: known.join(", ") }
    }
}

named! {
    /// A right that a token gives.
    Scope {
        /// Register events.
        Write = "write",
        /// Read the log and its derived data.
        Read = "read",
        /// Manage tokens, rules and retention.
        Admin = "admin",
        /// Manage tenants.
        Operator = "operator",
    }
}

/// A rate limit: the number of events that a token may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Events a second, over time; 1 or more.
    pub events_per_second: u32,
    /// Events at once; 1 or more.
    pub burst_events: u32,
}

named! {
    /// The handling of events that are refused.
    OnReject {
        /// They are kept, and the request counts as accepted.
        Keep = "keep",
        /// They are refused, and the request says so.
        Refuse = "refuse",
    }

    /// The handling of an optional field with an invalid value.
    Handling {
        /// The event is still accepted: the field is left empty.
        Lenient = "lenient",
        /// The event is refused.
        Strict = "strict",
    }
}

/// A token to create.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The tenant whose log the token gives access to.
    pub tenant: TenantId,
    /// The name for people.
    pub name: String,
    /// The rights of the token.
    pub scopes: Vec<Scope>,
    /// The time at which it expires.
    pub expires_at: Option<Timestamp>,
    /// Its own rate, if it differs from the deployment's.
    pub rate: Option<Rate>,
    /// The device and the application that its events must have.
    pub binding: Binding,
    /// The handling of refused events, if a request does not say.
    pub on_reject: Option<OnReject>,
    /// The handling of optional fields, if a request does not say.
    pub handling: Option<Handling>,
}

impl NewToken {
    /// A token of a tenant that never expires, has no rate of its own, and has no binding.
    pub fn new(tenant: TenantId, name: impl Into<String>, scopes: Vec<Scope>) -> Self {
        NewToken {
            tenant,
            name: name.into(),
            scopes,
            expires_at: None,
            rate: None,
            binding: Binding::default(),
            on_reject: None,
            handling: None,
        }
    }
}

/// A token as the store keeps it: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The id for programs.
    pub id: Uuid,
    /// The tenant whose log the token gives access to.
    pub tenant: TenantId,
    /// The name for people.
    pub name: String,
    /// The rights of the token.
    pub scopes: Vec<Scope>,
    /// The time at which it was created.
    pub created_at: Timestamp,
    /// The time at which it expires.
    pub expires_at: Option<Timestamp>,
    /// The time at which it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Its own rate, if it differs from the deployment's.
    pub rate: Option<Rate>,
    /// The device and the application that its events must have.
    pub binding: Binding,
    /// The handling of refused events, if a request does not say.
    pub on_reject: Option<OnReject>,
    /// The handling of optional fields, if a request does not say.
    pub handling: Option<Handling>,
}

/// The position of a token in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenPlace {
    /// The time at which the token was created.
    pub created_at: Timestamp,
    /// The token's id.
    pub id: Uuid,
}

impl Token {
    /// Its position in the list.
    pub fn place(&self) -> TokenPlace {
        TokenPlace { created_at: self.created_at, id: self.id }
    }

    /// Whether it is valid at that time: neither expired nor revoked.
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| time < end)
    }

    /// Whether it has that scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}
