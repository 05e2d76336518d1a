//! Lenient handling: an optional field with an invalid value does not cost the event.
//!
//! Real equipment sends `"-"`, `LOCAL` or `1.2.3.4:46992` as an address, and its programs cannot be
//! corrected. The field is left empty, and its value goes to `invalid` in the metadata, so that
//! nothing is lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;
use serde_json::value::RawValue;

use super::draft::{EventDraft, MetadataJson};
use super::json_object::FieldName;
use super::member_name::string;
use super::metadata::MetadataBuilder;
use crate::fault::{FaultList, pointer_step};

/// What an invalid value of an optional field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// The event is refused.
    Strict,
    /// The field is left empty.
    Lenient,
}

/// The optional fields of both editions. `metadata` is handled by its builder, member by member.
pub(super) const OPTIONAL: [FieldName; 5] = [
    FieldName::IpAddress,
    FieldName::UserAgent,
    FieldName::Duration,
    FieldName::SessionId,
    FieldName::EventId,
];

/// The first edition's optional numbers, which move into the metadata.
pub(super) const MEASUREMENTS: [&str; 2] = ["signal_strength", "data_transferred"];

/// Empties the optional fields that have faults, removes these faults, and gives the fields' values
/// to the metadata. `sent` are the fields as sent, in the order of [`OPTIONAL`].
pub(super) fn set_aside<'a>(
    draft: &mut EventDraft<'a>,
    sent: [Option<&'a RawValue>; OPTIONAL.len()],
    faults: &mut FaultList,
    metadata: &mut MetadataBuilder<'_>,
) {
    for (field, raw) in OPTIONAL.into_iter().zip(sent) {
        if !faults.forgive(&field.pointer()) {
            continue;
        }
        let built = take(draft, field);
        if field == FieldName::IpAddress {
            draft.ip_address = raw.and_then(string).and_then(|text| bare_address(&text));
            if draft.ip_address.is_some() {
                continue;
            }
        }
        if let Some(value) = raw.map(MetadataJson::from).or(built) {
            metadata.invalid(field.name(), value);
        }
    }
    for name in MEASUREMENTS {
        if faults.forgive(&pointer_step(name))
            && let Some(at) = draft.extra_metadata.iter().position(|(other, _)| other == name)
        {
            let (_, value) = draft.extra_metadata.remove(at);
            metadata.invalid(name, value);
        }
    }
}

/// Empties a field; returns its value, for a draft that was not read from JSON.
fn take<'a>(draft: &mut EventDraft<'a>, field: FieldName) -> Option<MetadataJson<'a>> {
    let text = match field {
        FieldName::UserAgent => draft.user_agent.take(),
        FieldName::SessionId => draft.session_id.take(),
        FieldName::EventId => draft.event_id.take(),
        FieldName::Duration => {
            // JSON has no number for infinity.
            let seconds = draft.duration.take()?;
            let number = serde_json::Number::from_f64(seconds).map(Value::Number);
            return Some(number.unwrap_or_else(|| seconds.to_string().into()).into());
        }
        _ => None,
    };
    text.map(|text| Value::from(text).into())
}

/// The address of a text that has a port or a zone beside it: `192.0.2.7:443`, `[2001:db8::1]:443`,
/// `fe80::1%eth0`.
fn bare_address(text: &str) -> Option<IpAddr> {
    if let Some((address, port)) = text.split_once(':')
        && let Ok(address) = address.parse::<Ipv4Addr>()
    {
        return is_port(port).then_some(address.into());
    }
    let inside = match text.strip_prefix('[') {
        None => text,
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let is_end = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            is_end.then_some(inside)?
        }
    };
    let address = match inside.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _zone)) => address,
        None => inside,
    };
    address.parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1.2.3.4:46992", "1.2.3.4")]
    #[case("[::1]:80", "::1")]
    #[case("[2001:db8::1]", "2001:db8::1")]
    #[case("fe80::1%eth0", "fe80::1")]
    #[case("[fe80::1%25eth0]:443", "fe80::1")]
    fn an_address_is_found_beside_a_port_or_a_zone(#[case] text: &str, #[case] address: IpAddr) {
        assert_eq!(bare_address(text), Some(address));
    }

    #[rstest]
    fn what_has_no_address_has_none(
        #[values(
            "",
            "-",
            "LOCAL",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:65536",
            "1.2.3.4:+80",
            "[::1",
            "[::1]80",
            "[1.2.3.4]:80",
            "fe80::1%",
            "1.2.3.4%eth0",
            "localhost:80",
            "1.2.3.4 "
        )]
        text: &str,
    ) {
        assert_eq!(bare_address(text), None);
    }
}
