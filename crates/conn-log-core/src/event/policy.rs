//! What a deployment may change about the rules: names it adds, and secrets it knows of.

use std::collections::BTreeSet;

use crate::SensitiveKeys;

/// The connection types that every deployment takes.
pub const CONNECTION_TYPES: [&str; 6] =
    ["attempted", "authenticated", "established", "resumed", "suspended", "terminated"];

/// The statuses that every deployment takes.
pub const STATUSES: [&str; 5] = ["success", "failure", "denied", "timeout", "error"];

/// The rules that events are held against: the contract's own, and a deployment's additions.
///
/// ```
/// use conn_log_core::{Rules, Timestamp};
///
/// let rules = Rules::default().with_connection_type("roamed");
/// let json = r#"{"device_id": "d", "application_id": "a", "connection_type": "roamed",
///     "timestamp": "2024-01-15T10:30:00Z", "status": "success"}"#;
/// let now = Timestamp::parse("2024-01-15T10:30:01Z").unwrap();
/// assert!(rules.parse_event(json, now).is_ok());
/// assert!(Rules::default().parse_event(json, now).is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    connection_types: BTreeSet<String>,
    statuses: BTreeSet<String>,
    pub(crate) sensitive: SensitiveKeys,
}

impl Rules {
    /// Also takes this connection type.
    #[must_use]
    pub fn with_connection_type(mut self, name: impl Into<String>) -> Self {
        self.connection_types.insert(name.into());
        self
    }

    /// Also takes this status.
    #[must_use]
    pub fn with_status(mut self, name: impl Into<String>) -> Self {
        self.statuses.insert(name.into());
        self
    }

    /// Also redacts what stands under this name.
    #[must_use]
    pub fn with_sensitive_key(mut self, name: &str) -> Self {
        self.sensitive = self.sensitive.with(name);
        self
    }

    /// Whether `name` is a connection type here.
    pub fn has_connection_type(&self, name: &str) -> bool {
        CONNECTION_TYPES.contains(&name) || self.connection_types.contains(name)
    }

    /// Whether `name` is a status here.
    pub fn has_status(&self, name: &str) -> bool {
        STATUSES.contains(&name) || self.statuses.contains(name)
    }

    /// The connection types and the statuses taken here, each in one line for people.
    pub(crate) fn names(&self) -> (String, String) {
        let list = |fixed: &[&str], own: &BTreeSet<String>| {
            let own = own.iter().map(String::as_str);
            fixed.iter().copied().chain(own).collect::<Vec<_>>().join(", ")
        };
        (list(&CONNECTION_TYPES, &self.connection_types), list(&STATUSES, &self.statuses))
    }
}
