//! Reads an event's JSON, in either edition, into a draft.
//!
//! The field names tell the edition. Only this module changes fields of the first edition to those
//! of the second.

use std::borrow::Cow;

use serde_json::Value;

use super::draft::{DraftSource, EventDraft, MetadataJson};
use super::field_reader::FieldReader;
use super::json_object::{FieldName, JsonObject};
use super::lenient::{MEASUREMENTS, OPTIONAL};
use crate::fault::{Fault, FaultCode, FaultList, Faults};

/// A published version of the request's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Edition {
    /// `app_id` and `connection_status`; `connection_type` is the type of network.
    First,
    /// `application_id` and `status`; `connection_type` is the type of event.
    #[default]
    Second,
}

impl<'a> EventDraft<'a> {
    /// Reads one event's JSON, in either edition.
    ///
    /// # Errors
    /// Only if the text is not a JSON object. The draft keeps all other faults, and
    /// [`EventPolicy::check`](crate::EventPolicy::check) returns them with its own.
    pub fn from_json(json: &'a str) -> Result<Self, Faults> {
        JsonObject::parse(json).map(Self::from_object)
    }

    pub(crate) fn from_object(mut object: JsonObject<'a>) -> Self {
        let mut faults = std::mem::take(&mut object.faults);
        refuse_mixed_names(&object, &mut faults);
        let names = FieldNames::of(&object);
        let mut draft = read_fields(&object, names, &mut faults);
        if names.status == FieldName::ConnectionStatus {
            first_edition(&object, &mut draft, &mut faults);
        }
        let sent = OPTIONAL.map(|field| object.get(field));
        let extra = object.extra.into_iter().map(|(name, raw)| (name, raw.into()));
        draft.extra_metadata.extend(extra);
        draft.source = DraftSource { edition: names.edition(), names, faults, sent };
        draft
    }
}

/// The client's names of the fields that have different names in the two editions.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldNames {
    application_id: FieldName,
    /// In the first edition the connection status also tells the connection type.
    connection_type: FieldName,
    status: FieldName,
}

impl Default for FieldNames {
    fn default() -> Self {
        FieldNames {
            application_id: FieldName::ApplicationId,
            connection_type: FieldName::ConnectionType,
            status: FieldName::Status,
        }
    }
}

impl FieldNames {
    fn of(object: &JsonObject<'_>) -> Self {
        let app_id = object.has(FieldName::AppId);
        let connection_status = object.has(FieldName::ConnectionStatus);
        let first = app_id || connection_status;
        let mut names = FieldNames::default();
        if app_id || (first && !object.has(FieldName::ApplicationId)) {
            names.application_id = FieldName::AppId;
        }
        if connection_status || (first && !object.has(FieldName::Status)) {
            names.connection_type = FieldName::ConnectionStatus;
            names.status = FieldName::ConnectionStatus;
        }
        names
    }

    /// The edition of an event: the first, if any field name is one of the first edition.
    fn edition(self) -> Edition {
        let first =
            self.application_id == FieldName::AppId || self.status == FieldName::ConnectionStatus;
        if first { Edition::First } else { Edition::Second }
    }

    /// The JSON Pointer of a draft's field in the client's event.
    pub(super) fn pointer(self, field: &str) -> String {
        match field {
            "application_id" => self.application_id.pointer(),
            "connection_type" => self.connection_type.pointer(),
            "status" => self.status.pointer(),
            other => format!("/{other}"),
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
    names: FieldNames,
    faults: &mut FaultList,
) -> EventDraft<'a> {
    let mut reader = FieldReader { faults };
    let mut required_text = |field: FieldName| {
        let raw = reader.required(field, object.get(field));
        reader.text(field, raw)
    };
    let device_id = required_text(FieldName::DeviceId);
    let application_id = required_text(names.application_id);
    let connection_type = required_text(FieldName::ConnectionType);
    let status = required_text(names.status);
    let timestamp = reader.required(FieldName::Timestamp, object.get(FieldName::Timestamp));
    let optional = |field: FieldName| FieldReader::optional(object.get(field));
    EventDraft {
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
        metadata: optional(FieldName::Metadata).map(MetadataJson::from),
        ..EventDraft::default()
    }
}

/// Reads a first-edition event: its connection type becomes the type of network, and its connection
/// status becomes the connection type and the status.
fn first_edition<'a>(object: &JsonObject<'a>, draft: &mut EventDraft<'a>, faults: &mut FaultList) {
    draft.extra_metadata.reserve(2 + object.extra.len());
    if let Some(network) = draft.connection_type.take() {
        network_type(network, draft, faults);
    }
    if let Some(connection_status) = draft.status.take() {
        match meaning(&connection_status) {
            Some((connection_type, status)) => {
                draft.connection_type = Some(Cow::Borrowed(connection_type));
                draft.status = Some(Cow::Borrowed(status));
                add_text(draft, "connection_status", connection_status);
            }
            None => faults.push(Fault::new(
                FieldName::ConnectionStatus.pointer(),
                FaultCode::UnknownValue,
                "one of connected, disconnected, failed, error, denied, timeout",
            )),
        }
    }
    check_measurements(object, faults);
}

fn network_type<'a>(network: Cow<'a, str>, draft: &mut EventDraft<'a>, faults: &mut FaultList) {
    let mut fault =
        |code, detail| faults.push(Fault::new(FieldName::ConnectionType.pointer(), code, detail));
    let has_nul = network.contains('\0');
    if has_nul {
        fault(FaultCode::NulCharacter, "U+0000 is not taken in any text");
    }
    let fits = (1..=255).contains(&network.chars().count());
    if !fits {
        fault(FaultCode::Length, "the text has 1 to 255 characters");
    }
    if fits && !has_nul {
        add_text(draft, "network_type", network);
    }
}

fn add_text<'a>(draft: &mut EventDraft<'a>, name: &'static str, text: Cow<'a, str>) {
    draft.extra_metadata.push((Cow::Borrowed(name), Value::from(text).into()));
}

/// The connection type and the status for a connection status.
fn meaning(connection_status: &str) -> Option<(&'static str, &'static str)> {
    match connection_status {
        "connected" => Some(("established", "success")),
        "disconnected" => Some(("terminated", "success")),
        "failed" => Some(("attempted", "failure")),
        "error" => Some(("attempted", "error")),
        "denied" => Some(("attempted", "denied")),
        "timeout" => Some(("attempted", "timeout")),
        _ => None,
    }
}

/// Checks that the first edition's measurements are numbers. They move into the metadata unchanged.
fn check_measurements(object: &JsonObject<'_>, faults: &mut FaultList) {
    for (name, raw) in &object.extra {
        let is_number = raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if MEASUREMENTS.contains(&name.as_ref()) && !is_number && raw.get() != "null" {
            let detail = "this field is a JSON number";
            faults.push(Fault::new(format!("/{name}"), FaultCode::WrongType, detail));
        }
    }
}
