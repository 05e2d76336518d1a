//! The names and texts of JSON members, where they are texts at all.
//!
//! JSON's escapes can write a lone surrogate, which no text holds. Such a name is a fault of value
//! and not of shape, so that it does not hide the other faults of its object.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::fault::{Fault, FaultCode, pointer_step};

/// A member's name.
pub(crate) enum MemberName<'a> {
    /// The name, borrowed from the JSON text wherever no escape stands in it.
    Text(Cow<'a, str>),
    /// A lone surrogate is in it; the name as it stands in the JSON text.
    Broken(&'a str),
}

impl<'de: 'a, 'a> Deserialize<'de> for MemberName<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(string(raw)
            .map_or_else(|| MemberName::Broken(raw.get().trim_matches('"')), MemberName::Text))
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

/// The fault of a name that its object has already.
pub(crate) fn duplicate_key(parent: &str, name: &str) -> Fault {
    Fault::new(
        format!("{parent}{}", pointer_step(name)),
        FaultCode::DuplicateKey,
        "this name stands twice in its object",
    )
}
