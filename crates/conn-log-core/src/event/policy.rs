//! The rules for every event: the contract's own rules, and a deployment's additions.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::draft::{DraftSource, EventDraft};
use super::lenient::{self, Handling};
use super::metadata::MetadataBuilder;
use super::{Event, EventFields, field_rules, redacted_text};
use crate::fault::{Fault, FaultCode, FaultList, Faults};
use crate::{SensitiveKeys, Timestamp};

/// The connection types that every deployment accepts.
pub const CONNECTION_TYPES: [&str; 6] =
    ["attempted", "authenticated", "established", "resumed", "suspended", "terminated"];

/// The statuses that every deployment accepts.
pub const STATUSES: [&str; 5] = ["success", "failure", "denied", "timeout", "error"];

/// The rules for the events of a deployment. It is the only way from an [`EventDraft`] to an
/// [`Event`].
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
    /// Also accepts this connection type.
    #[must_use]
    pub fn with_connection_type(mut self, name: impl Into<String>) -> Self {
        self.connection_types.insert(name.into());
        self
    }

    /// Also accepts this status.
    #[must_use]
    pub fn with_status(mut self, name: impl Into<String>) -> Self {
        self.statuses.insert(name.into());
        self
    }

    /// Also redacts the value under this name.
    #[must_use]
    pub fn with_sensitive_key(mut self, name: &str) -> Self {
        self.sensitive = self.sensitive.with(name);
        self
    }

    /// Whether this policy has the connection type `name`.
    pub fn has_connection_type(&self, name: &str) -> bool {
        CONNECTION_TYPES.contains(&name) || self.connection_types.contains(name)
    }

    /// Whether this policy has the status `name`.
    pub fn has_status(&self, name: &str) -> bool {
        STATUSES.contains(&name) || self.statuses.contains(name)
    }

    /// Checks a draft against every rule, redacts it and makes it canonical.
    ///
    /// `now` is the server's time; the timestamp is compared with it.
    ///
    /// # Errors
    /// All faults together: those from reading and those of the rules.
    pub fn check(&self, draft: EventDraft<'_>, now: Timestamp) -> Result<Event, Faults> {
        self.check_as(draft, now, Handling::Strict)
    }

    /// The same, for clients that cannot be corrected: an optional field with an invalid value does
    /// not cost the event. The field is left empty, and its value goes to `invalid` in the metadata.
    ///
    /// ```
    /// use conn_log_core::{EventDraft, EventPolicy, Timestamp};
    ///
    /// let json = r#"{"device_id": "d", "application_id": "a", "connection_type": "attempted",
    ///     "timestamp": "2024-01-15T10:30:00Z", "status": "denied", "ip_address": "LOCAL"}"#;
    /// let now = Timestamp::parse("2024-01-15T10:30:01Z").unwrap();
    /// let draft = EventDraft::from_json(json).unwrap();
    /// assert!(EventPolicy::default().check(draft.clone(), now).is_err());
    /// let event = EventPolicy::default().check_leniently(draft, now).unwrap();
    /// assert_eq!(event.fields().ip_address, None);
    /// assert_eq!(event.fields().metadata, r#"{"invalid":{"ip_address":"LOCAL"}}"#);
    /// ```
    ///
    /// # Errors
    /// All faults of required fields and of the event's shape.
    pub fn check_leniently(&self, draft: EventDraft<'_>, now: Timestamp) -> Result<Event, Faults> {
        self.check_as(draft, now, Handling::Lenient)
    }

    fn check_as(
        &self,
        mut draft: EventDraft<'_>,
        now: Timestamp,
        handling: Handling,
    ) -> Result<Event, Faults> {
        let DraftSource { names, mut faults, sent, .. } = std::mem::take(&mut draft.source);
        if draft.status.as_deref() == Some("failed") {
            draft.status = Some(Cow::Borrowed("failure"));
        }
        field_rules::check(&draft, self, now, names, &mut faults);
        let mut metadata = MetadataBuilder::new(&self.sensitive, handling);
        if handling == Handling::Lenient {
            lenient::set_aside(&mut draft, sent, &mut faults, &mut metadata);
        }
        if let Some(json) = draft.metadata.take() {
            metadata.object(json);
        }
        metadata.extra(std::mem::take(&mut draft.extra_metadata));
        event(draft, metadata, faults)
    }

    /// The text with the value under each sensitive name replaced. For text that is kept although
    /// it is no event: it need not be JSON.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        redacted_text::redact(text, &self.sensitive)
    }

    /// The accepted connection types: the contract's own, then the deployment's.
    pub fn connection_types(&self) -> impl Iterator<Item = &str> {
        CONNECTION_TYPES.into_iter().chain(self.connection_types.iter().map(String::as_str))
    }

    /// The accepted statuses: the contract's own, then the deployment's. `failed` is another
    /// spelling of `failure` and not among them.
    pub fn statuses(&self) -> impl Iterator<Item = &str> {
        STATUSES.into_iter().chain(self.statuses.iter().map(String::as_str))
    }

    /// The accepted connection types and statuses, each in one line for people.
    pub fn names(&self) -> (String, String) {
        let types: Vec<&str> = self.connection_types().collect();
        let statuses: Vec<&str> = self.statuses().collect();
        (types.join(", "), statuses.join(", "))
    }
}

/// Makes the event, if there is no fault.
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
        // The rules add a fault for each missing field, so this is not reached.
        return Err(Fault::new("", FaultCode::Missing, "a required field is missing").into());
    };
    Ok(Event(EventFields {
        device_id: device_id.into_owned(),
        application_id: application_id.into_owned(),
        connection_type: connection_type.into_owned(),
        status: status.into_owned(),
        timestamp,
        // An IPv4-mapped IPv6 address becomes the IPv4 address.
        ip_address: draft.ip_address.map(|address| address.to_canonical()),
        user_agent: draft.user_agent.map(Cow::into_owned),
        // Minus zero becomes zero, as in JSON's canonical form.
        duration: draft.duration.map(|seconds| seconds + 0.0),
        session_id,
        event_id: draft.event_id.map(Cow::into_owned),
        metadata,
    }))
}
