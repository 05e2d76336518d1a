//! From an event's JSON, in either edition, to an [`Event`].
//!
//! The edition is told by the field names. The first edition's fields become the second's here,
//! and nowhere else.

use std::borrow::Cow;

use super::field_reader::FieldReader;
use super::field_rules::{Context, Draft, Names};
use super::json_object::{FieldName, JsonObject};
use super::metadata::MetadataBuilder;
use crate::fault::{Fault, FaultCode, FaultList, Faults};
use crate::{Event, EventParts, Rules, Timestamp};

/// A published shape of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edition {
    /// `app_id` and `connection_status`, with `connection_type` the kind of network.
    First,
    /// `application_id` and `status`, with `connection_type` what happened.
    Second,
}

/// An event, and the edition that its client speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedEvent {
    /// Which answer the client expects.
    pub edition: Edition,
    /// What it registers.
    pub event: Event,
}

impl Rules {
    /// Reads one event of either edition and holds it against every rule.
    ///
    /// `now` is the server's time, which the timestamp is compared with.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse_event(&self, json: &str, now: Timestamp) -> Result<ParsedEvent, Faults> {
        self.parse_object(JsonObject::parse(json)?, now)
    }

    pub(crate) fn parse_object(
        &self,
        mut object: JsonObject<'_>,
        now: Timestamp,
    ) -> Result<ParsedEvent, Faults> {
        let mut faults = std::mem::take(&mut object.faults);
        refuse_mixed_names(&object, &mut faults);
        let spelling = Spelling::of(&object);
        let mut metadata = MetadataBuilder::new(&self.sensitive);
        let mut draft = read_fields(&object, &spelling, &mut faults);
        if let Some(raw) = FieldReader::optional(object.get(FieldName::Metadata)) {
            metadata.object(raw);
        }
        if spelling.names.status == FieldName::ConnectionStatus {
            first_edition(&object, &mut draft, &mut metadata, &mut faults);
        }
        if draft.status.as_deref() == Some("failed") {
            draft.status = Some(Cow::Borrowed("failure"));
        }
        for (name, raw) in &object.extra {
            metadata.member(name, raw);
        }
        if object.too_many {
            metadata.overflow();
        }
        draft.check(&Context { rules: self, now }, &spelling.names, &mut faults);
        let event = finish(draft, metadata, faults)?;
        Ok(ParsedEvent { edition: spelling.edition, event })
    }
}

/// Which names a client uses.
struct Spelling {
    edition: Edition,
    names: Names,
}

impl Spelling {
    fn of(object: &JsonObject<'_>) -> Self {
        let app_id = object.has(FieldName::AppId);
        let connection_status = object.has(FieldName::ConnectionStatus);
        let first = app_id || connection_status;
        let application_id = if app_id || (first && !object.has(FieldName::ApplicationId)) {
            FieldName::AppId
        } else {
            FieldName::ApplicationId
        };
        let status = if connection_status || (first && !object.has(FieldName::Status)) {
            FieldName::ConnectionStatus
        } else {
            FieldName::Status
        };
        Spelling {
            edition: if first { Edition::First } else { Edition::Second },
            names: Names { application_id, status },
        }
    }
}

fn refuse_mixed_names(object: &JsonObject<'_>, faults: &mut FaultList) {
    for (first, second) in [
        (FieldName::AppId, FieldName::ApplicationId),
        (FieldName::ConnectionStatus, FieldName::Status),
    ] {
        if object.has(first) && object.has(second) {
            let detail =
                format!("{} and {} are two names for one thing", first.name(), second.name());
            faults.push(Fault::new(first.pointer(), FaultCode::MixedEditions, detail));
        }
    }
}

fn read_fields<'a>(
    object: &JsonObject<'a>,
    spelling: &Spelling,
    faults: &mut FaultList,
) -> Draft<'a> {
    let mut reader = FieldReader { faults };
    let mut required_text = |field: FieldName| {
        let raw = reader.required(field, object.get(field));
        reader.text(field, raw)
    };
    let device_id = required_text(FieldName::DeviceId);
    let application_id = required_text(spelling.names.application_id);
    let connection_type = required_text(FieldName::ConnectionType);
    let status = required_text(spelling.names.status);
    let timestamp = reader.required(FieldName::Timestamp, object.get(FieldName::Timestamp));
    let optional = |field: FieldName| FieldReader::optional(object.get(field));
    Draft {
        device_id,
        application_id,
        connection_type,
        status,
        timestamp: reader.time(FieldName::Timestamp, timestamp),
        ip_address: reader.address(FieldName::IpAddress, optional(FieldName::IpAddress)),
        user_agent: reader.text(FieldName::UserAgent, optional(FieldName::UserAgent)),
        duration: reader.number(FieldName::Duration, optional(FieldName::Duration)),
        session_id: reader.text(FieldName::SessionId, optional(FieldName::SessionId)),
        event_id: reader.text(FieldName::EventId, optional(FieldName::EventId)),
    }
}

/// Turns the first edition's kind of network and connection status into metadata, and into what
/// the second edition says of them.
fn first_edition(
    object: &JsonObject<'_>,
    draft: &mut Draft<'_>,
    metadata: &mut MetadataBuilder<'_>,
    faults: &mut FaultList,
) {
    if let Some(network) = draft.connection_type.take() {
        if network.contains('\0') {
            let detail = "U+0000 is not taken in any text";
            faults.push(Fault::new("/connection_type", FaultCode::NulCharacter, detail));
        }
        if !(1..=255).contains(&network.chars().count()) {
            let detail = "the text has 1 to 255 characters";
            faults.push(Fault::new("/connection_type", FaultCode::Length, detail));
        }
        metadata.insert("network_type", network.into());
    }
    if let Some(connection_status) = draft.status.take() {
        let meaning = match connection_status.as_ref() {
            "connected" => Some(("established", "success")),
            "disconnected" => Some(("terminated", "success")),
            "failed" => Some(("attempted", "failure")),
            "error" => Some(("attempted", "error")),
            "denied" => Some(("attempted", "denied")),
            "timeout" => Some(("attempted", "timeout")),
            _ => None,
        };
        if let Some((connection_type, status)) = meaning {
            draft.connection_type = Some(Cow::Borrowed(connection_type));
            draft.status = Some(Cow::Borrowed(status));
        } else {
            let detail = "one of connected, disconnected, failed, error, denied, timeout";
            faults.push(Fault::new("/connection_status", FaultCode::UnknownValue, detail));
        }
        metadata.insert("connection_status", connection_status.into());
    }
    for (name, raw) in &object.extra {
        let is_number = raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if matches!(name.as_ref(), "signal_strength" | "data_transferred")
            && !is_number
            && raw.get() != "null"
        {
            let detail = "this field is a JSON number";
            faults.push(Fault::new(format!("/{name}"), FaultCode::WrongType, detail));
        }
    }
}

/// An event, if nothing is wrong.
fn finish(
    draft: Draft<'_>,
    metadata: MetadataBuilder<'_>,
    mut faults: FaultList,
) -> Result<Event, Faults> {
    let session_id = draft.session_id.as_deref().or(metadata.session_id()).map(str::to_owned);
    let metadata = metadata.finish(&mut faults);
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
        // A required field that could not be read has left a fault.
        faults.check()?;
        return Err(Fault::new("", FaultCode::Missing, "a required field is missing").into());
    };
    faults.check()?;
    Ok(Event::restore(EventParts {
        device_id: device_id.into_owned(),
        application_id: application_id.into_owned(),
        connection_type: connection_type.into_owned(),
        status: status.into_owned(),
        timestamp,
        ip_address: draft.ip_address,
        user_agent: draft.user_agent.map(Cow::into_owned),
        duration: draft.duration,
        session_id,
        event_id: draft.event_id.map(Cow::into_owned),
        metadata,
    }))
}
