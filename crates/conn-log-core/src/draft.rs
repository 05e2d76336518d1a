//! An event's fields, read as their own types, and the rules that their values keep.
//!
//! [`Reader`] settles shape and type; the attributes of [`Draft`] are the contract's table of
//! rules. Both add to one list of faults, so that a client sees them all at once.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::TimeDelta;
use serde_json::value::RawValue;
use validator::{ValidateArgs, ValidationError};

use crate::fault::{Fault, FaultCode, FaultList};
use crate::members::{Field, string};
use crate::{Rules, Timestamp};

/// How far a client's clock may run ahead of the server's.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// What the rules are held against.
pub(crate) struct Context<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) now: Timestamp,
}

/// The fields of an event of either edition under the second edition's names, where they could be
/// read at all.
#[derive(Debug, Default, validator::Validate)]
#[validate(context = "Context<'v_a>")]
pub(crate) struct Draft<'a> {
    #[validate(length(min = 1, max = 255), non_control_character, custom(function = "trimmed"))]
    pub(crate) device_id: Option<Cow<'a, str>>,
    #[validate(length(min = 1, max = 255), non_control_character, custom(function = "trimmed"))]
    pub(crate) application_id: Option<Cow<'a, str>>,
    #[validate(custom(function = "known_connection_type", use_context))]
    pub(crate) connection_type: Option<Cow<'a, str>>,
    #[validate(custom(function = "within_time", use_context))]
    pub(crate) timestamp: Option<Timestamp>,
    #[validate(custom(function = "known_status", use_context))]
    pub(crate) status: Option<Cow<'a, str>>,
    pub(crate) ip_address: Option<IpAddr>,
    #[validate(length(max = 1024), custom(function = "no_nul"))]
    pub(crate) user_agent: Option<Cow<'a, str>>,
    #[validate(range(min = 0.0))]
    pub(crate) duration: Option<f64>,
    #[validate(length(min = 1, max = 255), custom(function = "no_nul"))]
    pub(crate) session_id: Option<Cow<'a, str>>,
    #[validate(length(min = 1, max = 64), custom(function = "no_nul"))]
    pub(crate) event_id: Option<Cow<'a, str>>,
}

impl Draft<'_> {
    /// Adds every value that breaks its rule to `faults`, under the name that the client used.
    pub(crate) fn check(&self, context: &Context<'_>, names: &Names, faults: &mut FaultList) {
        let Err(errors) = self.validate_with_args(context) else {
            return;
        };
        for (field, errors) in errors.field_errors() {
            let pointer = format!("/{}", names.of(&field));
            faults.extend(errors.iter().map(|error| fault(&pointer, error, context.rules)));
        }
        // The validator keeps its findings in a hash map; clients get them in one order.
        faults.sort_by_pointer();
    }
}

/// The names that a client's edition has for an event's fields.
pub(crate) struct Names {
    pub(crate) application_id: Field,
    pub(crate) status: Field,
}

impl Names {
    fn of<'f>(&self, field: &'f str) -> &'f str {
        match field {
            "application_id" => self.application_id.name(),
            "status" => self.status.name(),
            other => other,
        }
    }
}

fn fault(pointer: &str, error: &ValidationError, rules: &Rules) -> Fault {
    let limit =
        |name: &str| error.params.get(name).map_or_else(|| "0".to_owned(), ToString::to_string);
    let (code, detail) = match error.code.as_ref() {
        "length" => (
            FaultCode::Length,
            format!("the text has {} to {} characters", limit("min"), limit("max")),
        ),
        "range" => (FaultCode::OutOfRange, "the number is 0 or more".to_owned()),
        "non_control_character" => {
            (FaultCode::ControlCharacter, "control characters are not taken here".to_owned())
        }
        "surrounding_space" => {
            (FaultCode::SurroundingSpace, "no white space at the start or the end".to_owned())
        }
        "nul_character" => (FaultCode::NulCharacter, "U+0000 is not taken in any text".to_owned()),
        "connection_type" => (FaultCode::UnknownValue, format!("one of {}", rules.names().0)),
        "status" => (FaultCode::UnknownValue, format!("one of {}", rules.names().1)),
        "in_the_future" => (
            FaultCode::InTheFuture,
            format!(
                "not more than {} minutes ahead of the server's clock",
                AHEAD_MAX.num_minutes()
            ),
        ),
        _ => (FaultCode::Before1970, "not before 1970".to_owned()),
    };
    Fault::new(pointer, code, detail)
}

fn broken(code: &'static str) -> Result<(), ValidationError> {
    Err(ValidationError::new(code))
}

fn trimmed(text: &str) -> Result<(), ValidationError> {
    if text.trim() == text { Ok(()) } else { broken("surrounding_space") }
}

fn no_nul(text: &str) -> Result<(), ValidationError> {
    if text.contains('\0') { broken("nul_character") } else { Ok(()) }
}

fn known_connection_type(name: &str, context: &Context<'_>) -> Result<(), ValidationError> {
    if context.rules.has_connection_type(name) { Ok(()) } else { broken("connection_type") }
}

fn known_status(name: &str, context: &Context<'_>) -> Result<(), ValidationError> {
    if context.rules.has_status(name) { Ok(()) } else { broken("status") }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the validator calls it with a reference")]
fn within_time(time: &Timestamp, context: &Context<'_>) -> Result<(), ValidationError> {
    if *time > context.now.plus(AHEAD_MAX) {
        broken("in_the_future")
    } else if *time < Timestamp::EPOCH {
        broken("before_1970")
    } else {
        Ok(())
    }
}

/// Reads raw members as their own types, and notes those that are not.
pub(crate) struct Reader<'f> {
    pub(crate) faults: &'f mut FaultList,
}

impl Reader<'_> {
    /// The member, unless it is missing or null, which is noted.
    pub(crate) fn required<'a>(
        &mut self,
        field: Field,
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

    /// The member, unless it is missing or null, which both mean that it is not given.
    pub(crate) fn optional(raw: Option<&RawValue>) -> Option<&RawValue> {
        raw.filter(|raw| !is_null(raw))
    }

    pub(crate) fn text<'a>(
        &mut self,
        field: Field,
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

    pub(crate) fn time(&mut self, field: Field, raw: Option<&RawValue>) -> Option<Timestamp> {
        let time = Timestamp::parse(&self.text(field, raw)?);
        if time.is_none() {
            let detail = "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z";
            self.fault(field, FaultCode::InvalidTimestamp, detail);
        }
        time
    }

    pub(crate) fn address(&mut self, field: Field, raw: Option<&RawValue>) -> Option<IpAddr> {
        let address = self.text(field, raw)?.parse().ok();
        if address.is_none() {
            self.fault(field, FaultCode::InvalidAddress, "an IPv4 or IPv6 address");
        }
        address
    }

    pub(crate) fn number(&mut self, field: Field, raw: Option<&RawValue>) -> Option<f64> {
        let raw = raw?.get();
        if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            self.fault(field, FaultCode::WrongType, "this field is a JSON number");
            return None;
        }
        let number = raw.parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            self.fault(field, FaultCode::OutOfRange, "the number is finite");
        }
        // Minus zero is zero, in JSON's canonical form too.
        number.map(|number| number + 0.0)
    }

    pub(crate) fn fault(&mut self, field: Field, code: FaultCode, detail: &str) {
        self.faults.push(Fault::new(field.pointer(), code, detail));
    }
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}
