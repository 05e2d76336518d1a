//! Reads an event's JSON members as the types of their fields, and adds faults for wrong types.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::value::RawValue;

use super::json_object::FieldName;
use super::member_name::string;
use crate::Timestamp;
use crate::fault::{Fault, FaultCode, FaultList};

/// Reads raw members as the types of their fields, and adds faults for wrong types.
pub(super) struct FieldReader<'f> {
    pub(super) faults: &'f mut FaultList,
}

impl FieldReader<'_> {
    /// The member. If it is missing or null, adds a fault.
    pub(super) fn required<'a>(
        &mut self,
        field: FieldName,
        raw: Option<&'a RawValue>,
    ) -> Option<&'a RawValue> {
        let (code, detail) = match raw {
            None => (FaultCode::Missing, "this field is required"),
            Some(raw) if is_null(raw) => (FaultCode::Null, "this field is required and not null"),
            Some(raw) => return Some(raw),
        };
        self.fault(field, code, detail);
        None
    }

    /// The member, or `None` if it is missing or null.
    pub(super) fn optional(raw: Option<&RawValue>) -> Option<&RawValue> {
        raw.filter(|raw| !is_null(raw))
    }

    pub(super) fn text<'a>(
        &mut self,
        field: FieldName,
        raw: Option<&'a RawValue>,
    ) -> Option<Cow<'a, str>> {
        let raw = raw?;
        if !raw.get().starts_with('"') {
            self.fault(field, FaultCode::WrongType, "this field is a JSON string");
            return None;
        }
        let text = string(raw);
        if text.is_none() {
            self.fault(field, FaultCode::NotIJson, "a lone surrogate (RFC 7493)");
        }
        text
    }

    pub(super) fn time(&mut self, field: FieldName, raw: Option<&RawValue>) -> Option<Timestamp> {
        let time = Timestamp::parse(&self.text(field, raw)?);
        if time.is_none() {
            let detail = "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z";
            self.fault(field, FaultCode::InvalidTimestamp, detail);
        }
        time
    }

    pub(super) fn address(&mut self, field: FieldName, raw: Option<&RawValue>) -> Option<IpAddr> {
        let address = self.text(field, raw)?.parse().ok();
        if address.is_none() {
            self.fault(field, FaultCode::InvalidAddress, "an IPv4 or IPv6 address");
        }
        address
    }

    pub(super) fn number(&mut self, field: FieldName, raw: Option<&RawValue>) -> Option<f64> {
        let raw = raw?.get();
        if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            self.fault(field, FaultCode::WrongType, "this field is a JSON number");
            return None;
        }
        let number = raw.parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            self.fault(field, FaultCode::OutOfRange, "the number is finite");
        }
        number
    }

    pub(super) fn fault(&mut self, field: FieldName, code: FaultCode, detail: &str) {
        self.faults.push(Fault::new(field.pointer(), code, detail));
    }
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}
