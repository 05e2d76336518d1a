//! The names and strings of JSON members, which may not be valid texts.
//!
//! A JSON escape can write a lone surrogate, which a text cannot hold. Such a name is a value fault
//! and not a shape fault, so that it does not hide the other faults of its object.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::fault::{Fault, FaultCode, pointer_step};

/// A member's name.
pub(crate) enum MemberName<'a> {
    /// The name, borrowed from the JSON text if it has no escape.
    Text(Cow<'a, str>),
    /// A name with a lone surrogate, as written in the JSON text.
    Broken(&'a str),
}

impl<'de: 'a, 'a> Deserialize<'de> for MemberName<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(string(raw)
            .map_or_else(|| MemberName::Broken(raw.get().trim_matches('"')), MemberName::Text))
    }
}

/// The text of a JSON string; `None` if it has a lone surrogate.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let raw = raw.get();
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// The fault of a name that is not a text; `raw` is the name as the client wrote it.
pub(crate) fn broken_name(parent: &str, raw: &str) -> Fault {
    Fault::new(
        format!("{parent}{}", pointer_step(raw)),
        FaultCode::NotIJson,
        "a lone surrogate in a name (RFC 7493)",
    )
}

/// The fault of a repeated name in an object.
pub(crate) fn duplicate_key(parent: &str, name: &str) -> Fault {
    Fault::new(
        format!("{parent}{}", pointer_step(name)),
        FaultCode::DuplicateKey,
        "this name stands twice in its object",
    )
}
