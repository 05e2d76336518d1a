//! What a token is: whose log it opens, for what, how much of it, and for which device.

use std::fmt;
use std::str::FromStr;

use conn_log_core::{Binding, Timestamp};
use uuid::Uuid;

use crate::tenant_id::TenantId;

/// Makes enums whose values have names, as tables, the API and the command line spell them.
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

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                let known = $name::ALL.iter().copied();
                known.clone().find(|value| value.name() == name).ok_or_else(|| UnknownName {
                    given: name.to_owned(),
                    known: known.map($name::name).collect::<Vec<_>>().join(", "),
                })
            }
        }
    )*};
}

/// A name that is none of those that are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of {known}")]
pub struct UnknownName {
    given: String,
    known: String,
}

named! {
    /// What a token's bearer may do.
    Scope {
        /// Register events.
        Write = "write",
        /// Read the log and what is derived from it.
        Read = "read",
        /// Manage tokens, rules and retention.
        Admin = "admin",
        /// Manage tenants.
        Operator = "operator",
    }
}

/// How much a token may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Events a second, in the long run; 1 or more.
    pub events_per_second: u32,
    /// Events at once; 1 or more.
    pub burst_events: u32,
}

named! {
    /// What becomes of events that are refused.
    OnReject {
        /// They are kept, and the request counts as taken.
        Keep = "keep",
    }

    /// What an optional field does whose value cannot be taken.
    Handling {
        /// It costs the event nothing: the field is left empty.
        Lenient = "lenient",
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose log it opens.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Its own rate, where it is not the deployment's.
    pub rate: Option<Rate>,
    /// Whose events it registers.
    pub binding: Binding,
    /// What becomes of its refused events, where a request does not say.
    pub on_reject: Option<OnReject>,
    /// How its events are read, where a request does not say.
    pub handling: Option<Handling>,
}

impl NewToken {
    /// A token of a tenant that never ends, has no rate of its own, and is bound to nothing.
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
    /// Its name for machines.
    pub id: Uuid,
    /// Whose log it opens.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// Its own rate, where it is not the deployment's.
    pub rate: Option<Rate>,
    /// Whose events it registers.
    pub binding: Binding,
    /// What becomes of its refused events, where a request does not say.
    pub on_reject: Option<OnReject>,
    /// How its events are read, where a request does not say.
    pub handling: Option<Handling>,
}

/// The place of a token in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPlace {
    /// When it was made.
    pub created_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

impl Token {
    /// Its place in the list.
    pub fn place(&self) -> TokenPlace {
        TokenPlace { created_at: self.created_at, id: self.id }
    }

    /// Whether it opens anything at that time: neither expired nor revoked.
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| time < end)
    }

    /// Whether it allows that.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}
