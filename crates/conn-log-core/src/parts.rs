//! A JSON value taken apart one level deep, its parts unread.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::members::Name;

/// What a JSON value is made of.
pub(crate) enum Parts<'a> {
    /// Neither an array nor an object.
    None,
    Elements(Vec<&'a RawValue>),
    /// In the order given, names that stand twice included.
    Members(Vec<(Name<'a>, &'a RawValue)>),
}

/// Takes `raw` apart.
pub(crate) fn of(raw: &RawValue) -> Parts<'_> {
    if raw.get().starts_with(['[', '{']) {
        // The text is JSON already, so this cannot fail.
        serde_json::from_str(raw.get()).unwrap_or(Parts::None)
    } else {
        Parts::None
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartsVisitor;
        impl<'de> Visitor<'de> for PartsVisitor {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array or an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Parts::Elements(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Parts::Members(members))
            }
        }
        deserializer.deserialize_any(PartsVisitor)
    }
}
