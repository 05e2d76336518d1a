//! The shape of an event's JSON: an object's members by name, not yet parsed.
//!
//! Values stay JSON text, so that a member without a rule is not parsed, and a fault in one member
//! does not hide the faults of the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::member_name::{MemberName, broken_name, duplicate_key};
use super::metadata::EXTRA_MEMBERS_MAX;
use crate::fault::{FAULTS_MAX, Fault, FaultCode, FaultList, Faults};

/// The fields of either edition. All other members are extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    DeviceId,
    ApplicationId,
    AppId,
    ConnectionType,
    ConnectionStatus,
    Timestamp,
    Status,
    IpAddress,
    UserAgent,
    Duration,
    Metadata,
    SessionId,
    EventId,
}

impl FieldName {
    const ALL: [FieldName; 13] = [
        FieldName::DeviceId,
        FieldName::ApplicationId,
        FieldName::AppId,
        FieldName::ConnectionType,
        FieldName::ConnectionStatus,
        FieldName::Timestamp,
        FieldName::Status,
        FieldName::IpAddress,
        FieldName::UserAgent,
        FieldName::Duration,
        FieldName::Metadata,
        FieldName::SessionId,
        FieldName::EventId,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            FieldName::DeviceId => "device_id",
            FieldName::ApplicationId => "application_id",
            FieldName::AppId => "app_id",
            FieldName::ConnectionType => "connection_type",
            FieldName::ConnectionStatus => "connection_status",
            FieldName::Timestamp => "timestamp",
            FieldName::Status => "status",
            FieldName::IpAddress => "ip_address",
            FieldName::UserAgent => "user_agent",
            FieldName::Duration => "duration",
            FieldName::Metadata => "metadata",
            FieldName::SessionId => "session_id",
            FieldName::EventId => "event_id",
        }
    }

    pub(crate) fn pointer(self) -> String {
        format!("/{}", self.name())
    }

    /// A `match`, and not a search by [`Self::name`]: it compares with constants, which takes a few
    /// nanoseconds in place of some dozens.
    fn of(name: &str) -> Option<FieldName> {
        Some(match name {
            "device_id" => FieldName::DeviceId,
            "application_id" => FieldName::ApplicationId,
            "app_id" => FieldName::AppId,
            "connection_type" => FieldName::ConnectionType,
            "connection_status" => FieldName::ConnectionStatus,
            "timestamp" => FieldName::Timestamp,
            "status" => FieldName::Status,
            "ip_address" => FieldName::IpAddress,
            "user_agent" => FieldName::UserAgent,
            "duration" => FieldName::Duration,
            "metadata" => FieldName::Metadata,
            "session_id" => FieldName::SessionId,
            "event_id" => FieldName::EventId,
            _ => return None,
        })
    }
}

/// The members of one JSON object: the known fields, and the others in the order given.
#[derive(Debug, Default)]
pub(crate) struct JsonObject<'a> {
    known: [Option<&'a RawValue>; FieldName::ALL.len()],
    /// Keeps one more than the metadata can hold, so that the check sees that there are too many.
    pub(crate) extra: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Repeated fields, and names that are not texts.
    pub(crate) faults: FaultList,
}

impl<'a> JsonObject<'a> {
    /// Splits a JSON object into its members.
    pub(crate) fn parse(json: &'a str) -> Result<Self, Faults> {
        if !json.trim_start_matches(JSON_SPACE).starts_with('{') {
            // Tells a text that is not JSON from JSON of another type.
            serde_json::from_str::<&RawValue>(json).map_err(|e| invalid_json(&e))?;
            return Err(Fault::new("", FaultCode::NotAnObject, "an event is a JSON object").into());
        }
        serde_json::from_str(json).map_err(|e| invalid_json(&e).into())
    }

    pub(crate) fn get(&self, field: FieldName) -> Option<&'a RawValue> {
        self.known[field as usize]
    }

    pub(crate) fn has(&self, field: FieldName) -> bool {
        self.get(field).is_some()
    }

    /// The value of `data`, if the object is an envelope: it has none of an event's fields, and `data`
    /// is a text or the only member. Other members are ignored, as those of a form are.
    pub(crate) fn envelope(&self) -> Option<&'a RawValue> {
        if self.known.iter().any(Option::is_some) || self.faults.len() > 0 {
            return None;
        }
        let (_, data) = self.extra.iter().find(|(name, _)| name == "data")?;
        let is_text = data.get().starts_with('"');
        (is_text || self.extra.len() == 1).then_some(*data)
    }

    fn insert(&mut self, name: MemberName<'a>, value: &'a RawValue) {
        let name = match name {
            MemberName::Text(name) => name,
            MemberName::Broken(raw) => return self.faults.push(broken_name("", raw)),
        };
        let Some(field) = FieldName::of(&name) else {
            if self.extra.len() <= EXTRA_MEMBERS_MAX {
                self.extra.push((name, value));
            }
            return;
        };
        let slot = &mut self.known[field as usize];
        if slot.is_some() {
            self.faults.push(duplicate_key("", &name));
        } else {
            *slot = Some(value);
        }
    }

    /// Sorts the names, because a hostile body has thousands: comparing all pairs would take too
    /// long.
    fn find_repeated_extra(&mut self) {
        let mut names: Vec<&str> = self.extra.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        let repeated = names.windows(2).filter(|pair| pair[0] == pair[1]);
        let faults = repeated.take(FAULTS_MAX).map(|pair| duplicate_key("", pair[0]));
        self.faults.extend(faults);
    }
}

/// The four characters that are white space in JSON (RFC 8259, section 2).
pub(crate) const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

pub(crate) fn invalid_json(error: &serde_json::Error) -> Fault {
    Fault::new("", FaultCode::InvalidJson, format!("not valid JSON: {error}"))
}

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JsonObjectVisitor)
    }
}

struct JsonObjectVisitor;

impl<'de> Visitor<'de> for JsonObjectVisitor {
    type Value = JsonObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = JsonObject::default();
        while let Some(name) = map.next_key()? {
            object.insert(name, map.next_value()?);
        }
        object.find_repeated_extra();
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_found_by_its_name() {
        for field in FieldName::ALL {
            assert_eq!(FieldName::of(field.name()), Some(field));
            assert_eq!(FieldName::ALL[field as usize], field);
        }
        assert_eq!(FieldName::of("device"), None);
    }
}
