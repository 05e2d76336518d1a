//! A JSON value read one level deep. Nested values stay JSON text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::member_name::MemberName;

/// A JSON value, read one level deep.
pub(super) enum ShallowJson<'a> {
    /// Neither an array nor an object.
    Scalar,
    Array(Vec<&'a RawValue>),
    /// The members in the order given, repeated names included.
    Object(Vec<(MemberName<'a>, &'a RawValue)>),
}

impl<'a> ShallowJson<'a> {
    pub(super) fn of(raw: &'a RawValue) -> Self {
        if raw.get().starts_with(['[', '{']) {
            // The text is valid JSON, so this cannot fail.
            serde_json::from_str(raw.get()).unwrap_or(ShallowJson::Scalar)
        } else {
            ShallowJson::Scalar
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ShallowJson<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShallowVisitor;
        impl<'de> Visitor<'de> for ShallowVisitor {
            type Value = ShallowJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array or an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(ShallowJson::Array(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(ShallowJson::Object(members))
            }
        }
        deserializer.deserialize_any(ShallowVisitor)
    }
}
