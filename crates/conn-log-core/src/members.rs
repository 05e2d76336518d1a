//! The shape of an event's JSON: an object's members by name, not yet looked into.
//!
//! Values stay the text they are, so that a member no rule asks about costs no parsing, and a
//! fault in one member does not hide the faults of the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::{FAULTS_MAX, Fault, FaultCode, FaultList, Faults, pointer_step};
use crate::metadata::METADATA_BYTES_MAX;

/// The fields that either edition names. All other members are extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
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

impl Field {
    const ALL: [Field; 13] = [
        Field::DeviceId,
        Field::ApplicationId,
        Field::AppId,
        Field::ConnectionType,
        Field::ConnectionStatus,
        Field::Timestamp,
        Field::Status,
        Field::IpAddress,
        Field::UserAgent,
        Field::Duration,
        Field::Metadata,
        Field::SessionId,
        Field::EventId,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::DeviceId => "device_id",
            Field::ApplicationId => "application_id",
            Field::AppId => "app_id",
            Field::ConnectionType => "connection_type",
            Field::ConnectionStatus => "connection_status",
            Field::Timestamp => "timestamp",
            Field::Status => "status",
            Field::IpAddress => "ip_address",
            Field::UserAgent => "user_agent",
            Field::Duration => "duration",
            Field::Metadata => "metadata",
            Field::SessionId => "session_id",
            Field::EventId => "event_id",
        }
    }

    pub(crate) fn pointer(self) -> String {
        format!("/{}", self.name())
    }

    fn of(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// More members with names of their own than the metadata they move into can hold: each takes at
/// least five bytes there. Further ones are counted as too many and not kept.
const EXTRA_MAX: usize = METADATA_BYTES_MAX / 5;

/// One JSON object's members: the known fields, and the rest in the order given.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    known: [Option<&'a RawValue>; Field::ALL.len()],
    pub(crate) extra: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Whether there were more extra members than are kept.
    pub(crate) too_many: bool,
    /// Fields given twice, and names that are no text.
    pub(crate) faults: FaultList,
}

impl<'a> Members<'a> {
    /// Splits the object that `json` is.
    pub(crate) fn parse(json: &'a str) -> Result<Self, Faults> {
        if !json.trim_start_matches(JSON_SPACE).starts_with('{') {
            // What is not JSON at all is told from what is JSON of another type.
            serde_json::from_str::<&RawValue>(json).map_err(|e| invalid_json(&e))?;
            return Err(Fault::new("", FaultCode::NotAnObject, "an event is a JSON object").into());
        }
        serde_json::from_str(json).map_err(|e| invalid_json(&e).into())
    }

    pub(crate) fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.known[field as usize]
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.get(field).is_some()
    }

    /// The value of the object's only member, if that is `data`.
    pub(crate) fn envelope(&self) -> Option<&'a RawValue> {
        match self.extra.as_slice() {
            [(name, data)] if name == "data" && self.known.iter().all(Option::is_none) => {
                Some(data)
            }
            _ => None,
        }
    }

    fn insert(&mut self, name: Name<'a>, value: &'a RawValue) {
        let name = match name {
            Name::Text(name) => name,
            Name::Broken(raw) => return self.faults.push(broken_name("", raw)),
        };
        let Some(field) = Field::of(&name) else {
            self.too_many |= self.extra.len() == EXTRA_MAX;
            if !self.too_many {
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

    /// Sorted, not compared each with each: a hostile body has thousands of names.
    fn find_repeated_extra(&mut self) {
        let mut names: Vec<&str> = self.extra.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        let repeated = names.windows(2).filter(|pair| pair[0] == pair[1]);
        let faults = repeated.take(FAULTS_MAX).map(|pair| duplicate_key("", pair[0]));
        self.faults.extend(faults);
    }
}

/// The four characters that JSON takes as white space (RFC 8259, section 2).
pub(crate) const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

pub(crate) fn invalid_json(error: &serde_json::Error) -> Fault {
    Fault::new("", FaultCode::InvalidJson, format!("not valid JSON: {error}"))
}

pub(crate) fn duplicate_key(parent: &str, name: &str) -> Fault {
    Fault::new(
        format!("{parent}{}", pointer_step(name)),
        FaultCode::DuplicateKey,
        "this name stands twice in its object",
    )
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key()? {
            members.insert(name, map.next_value()?);
        }
        members.find_repeated_extra();
        Ok(members)
    }
}

/// A member's name.
pub(crate) enum Name<'a> {
    /// The name, borrowed from the JSON text wherever no escape stands in it.
    Text(Cow<'a, str>),
    /// A lone surrogate is in it; the name as it stands in the JSON text.
    Broken(&'a str),
}

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(string(raw).map_or_else(|| Name::Broken(raw.get().trim_matches('"')), Name::Text))
    }
}

/// The text that a JSON string stands for; `None` if a lone surrogate is in it.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let raw = raw.get();
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// The fault of a name that is no text; `raw` is the name as the client wrote it.
pub(crate) fn broken_name(parent: &str, raw: &str) -> Fault {
    Fault::new(
        format!("{parent}{}", pointer_step(raw)),
        FaultCode::NotIJson,
        "a lone surrogate in a name (RFC 7493)",
    )
}
