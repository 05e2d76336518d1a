//! The rules that every event is held against: the contract's own, and a deployment's additions.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::draft::{DraftSource, EventDraft};
use super::metadata::MetadataBuilder;
use super::{Event, EventFields, field_rules};
use crate::fault::{Fault, FaultCode, FaultList, Faults};
use crate::{SensitiveKeys, Timestamp};

/// The connection types that every deployment takes.
pub const CONNECTION_TYPES: [&str; 6] =
    ["attempted", "authenticated", "established", "resumed", "suspended", "terminated"];

/// The statuses that every deployment takes.
pub const STATUSES: [&str; 5] = ["success", "failure", "denied", "timeout", "error"];

/// Which events a deployment takes. The only way from an [`EventDraft`] to an [`Event`].
///
/// ```
/// use conn_log_core::{EventDraft, EventPolicy, Timestamp};
///
/// let policy = EventPolicy::default().with_connection_type("roamed");
/// let json = r#"{"device_id": "d", "application_id": "a", "connection_type": "roamed",
///     "timestamp": "2024-01-15T10:30:00Z", "status": "success"}"#;
/// let now = Timestamp::parse("2024-01-15T10:30:01Z").unwrap();
/// let draft = EventDraft::from_json(json).unwrap();
/// assert!(EventPolicy::default().check(draft.clone(), now).is_err());
/// assert!(policy.check(draft, now).is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventPolicy {
    connection_types: BTreeSet<String>,
    statuses: BTreeSet<String>,
    sensitive: SensitiveKeys,
}

impl EventPolicy {
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

    /// Holds a draft against every rule, redacts it and brings it into its canonical form.
    ///
    /// `now` is the server's time, which the timestamp is compared with.
    ///
    /// # Errors
    /// All faults at once: those of reading, and those of the rules.
    pub fn check(&self, mut draft: EventDraft<'_>, now: Timestamp) -> Result<Event, Faults> {
        let DraftSource { names, mut faults, .. } = std::mem::take(&mut draft.source);
        let mut metadata = MetadataBuilder::new(&self.sensitive);
        if let Some(json) = draft.metadata.take() {
            metadata.object(json);
        }
        metadata.extra(std::mem::take(&mut draft.extra_metadata));
        if draft.status.as_deref() == Some("failed") {
            draft.status = Some(Cow::Borrowed("failure"));
        }
        field_rules::check(&draft, self, now, names, &mut faults);
        event(draft, metadata, faults)
    }

    /// The connection types and the statuses taken here, each in one line for people.
    pub fn names(&self) -> (String, String) {
        let list = |fixed: &[&str], own: &BTreeSet<String>| {
            let own = own.iter().map(String::as_str);
            fixed.iter().copied().chain(own).collect::<Vec<_>>().join(", ")
        };
        (list(&CONNECTION_TYPES, &self.connection_types), list(&STATUSES, &self.statuses))
    }
}

/// The event, if nothing is wrong.
fn event(
    draft: EventDraft<'_>,
    metadata: MetadataBuilder<'_>,
    mut faults: FaultList,
) -> Result<Event, Faults> {
    let session_id = draft.session_id.as_deref().or(metadata.session_id()).map(str::to_owned);
    let metadata = metadata.finish(&mut faults);
    faults.check()?;
    let required = (
        draft.device_id,
        draft.application_id,
        draft.connection_type,
        draft.status,
        draft.timestamp,
    );
    let (
        Some(device_id),
        Some(application_id),
        Some(connection_type),
        Some(status),
        Some(timestamp),
    ) = required
    else {
        // The rules have left a fault for each that is missing, so this is not reached.
        return Err(Fault::new("", FaultCode::Missing, "a required field is missing").into());
    };
    Ok(Event(EventFields {
        device_id: device_id.into_owned(),
        application_id: application_id.into_owned(),
        connection_type: connection_type.into_owned(),
        status: status.into_owned(),
        timestamp,
        // An IPv4-mapped IPv6 address is that IPv4 address.
        ip_address: draft.ip_address.map(|address| address.to_canonical()),
        user_agent: draft.user_agent.map(Cow::into_owned),
        // Minus zero is zero, in JSON's canonical form too.
        duration: draft.duration.map(|seconds| seconds + 0.0),
        session_id,
        event_id: draft.event_id.map(Cow::into_owned),
        metadata,
    }))
}
