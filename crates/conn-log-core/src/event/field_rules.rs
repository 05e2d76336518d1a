//! An event's fields, read as their own types, and the rules that their values keep.
//!
//! [`FieldReader`](super::field_reader::FieldReader) settles shape and type; the attributes of [`Draft`] are the contract's table of
//! rules. Both add to one list of faults, so that a client sees them all at once.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::TimeDelta;
use validator::{ValidateArgs, ValidationError};

use super::json_object::FieldName;
use crate::fault::{Fault, FaultCode, FaultList};
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
    pub(crate) application_id: FieldName,
    pub(crate) status: FieldName,
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
