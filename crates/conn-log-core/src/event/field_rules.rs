//! The contract's table of rules: the attributes of [`FieldRules`], one or two lines for each
//! field.

use chrono::TimeDelta;
use validator::{ValidateArgs, ValidationError};

use super::draft::EventDraft;
use super::editions::FieldNames;
use crate::fault::{Fault, FaultCode, FaultList};
use crate::{EventPolicy, Timestamp};

/// The longest time that a client's clock may be ahead of the server's.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// The data that the rules compare with.
struct Context<'a> {
    policy: &'a EventPolicy,
    now: Timestamp,
}

/// Adds a fault to `faults` for every field of `draft` that is missing or breaks its rule, under
/// the client's name of the field.
pub(super) fn check(
    draft: &EventDraft<'_>,
    policy: &EventPolicy,
    now: Timestamp,
    names: FieldNames,
    faults: &mut FaultList,
) {
    require(draft, names, faults);
    let Err(errors) = FieldRules::of(draft).validate_with_args(&Context { policy, now }) else {
        return;
    };
    for (field, errors) in errors.field_errors() {
        let pointer = names.pointer(&field);
        faults.extend(errors.iter().map(|error| fault(&pointer, error, policy)));
    }
    // The validator keeps its findings in a hash map; sorted, clients get them in a fixed order.
    faults.sort_by_pointer();
}

/// Adds a fault for a required field without a value, unless a fault already says why it has none.
fn require(draft: &EventDraft<'_>, names: FieldNames, faults: &mut FaultList) {
    for (field, is_given) in [
        ("device_id", draft.device_id.is_some()),
        ("application_id", draft.application_id.is_some()),
        ("connection_type", draft.connection_type.is_some()),
        ("status", draft.status.is_some()),
        ("timestamp", draft.timestamp.is_some()),
    ] {
        if !is_given {
            let pointer = names.pointer(field);
            if !faults.has(&pointer) {
                faults.push(Fault::new(pointer, FaultCode::Missing, "this field is required"));
            }
        }
    }
}

/// The fields of a draft that have rules.
#[derive(Debug, validator::Validate)]
#[validate(context = "Context<'v_a>")]
struct FieldRules<'d> {
    #[validate(length(min = 1, max = 255), non_control_character, custom(function = "trimmed"))]
    device_id: Option<&'d str>,
    #[validate(length(min = 1, max = 255), non_control_character, custom(function = "trimmed"))]
    application_id: Option<&'d str>,
    #[validate(custom(function = "known_connection_type", use_context))]
    connection_type: Option<&'d str>,
    #[validate(custom(function = "within_time", use_context))]
    timestamp: Option<Timestamp>,
    #[validate(custom(function = "known_status", use_context))]
    status: Option<&'d str>,
    #[validate(length(max = 1024), custom(function = "no_nul"))]
    user_agent: Option<&'d str>,
    #[validate(range(min = 0.0), custom(function = "finite"))]
    duration: Option<f64>,
    #[validate(length(min = 1, max = 255), custom(function = "no_nul"))]
    session_id: Option<&'d str>,
    #[validate(length(min = 1, max = 64), custom(function = "no_nul"))]
    event_id: Option<&'d str>,
}

impl<'d> FieldRules<'d> {
    fn of(draft: &'d EventDraft<'_>) -> Self {
        FieldRules {
            device_id: draft.device_id.as_deref(),
            application_id: draft.application_id.as_deref(),
            connection_type: draft.connection_type.as_deref(),
            timestamp: draft.timestamp,
            status: draft.status.as_deref(),
            user_agent: draft.user_agent.as_deref(),
            duration: draft.duration,
            session_id: draft.session_id.as_deref(),
            event_id: draft.event_id.as_deref(),
        }
    }
}

fn fault(pointer: &str, error: &ValidationError, policy: &EventPolicy) -> Fault {
    let limit =
        |name: &str| error.params.get(name).map_or_else(|| "0".to_owned(), ToString::to_string);
    let (code, detail) = match error.code.as_ref() {
        "length" => (
            FaultCode::Length,
            format!("the text has {} to {} characters", limit("min"), limit("max")),
        ),
        "range" => (FaultCode::OutOfRange, "the number is 0 or more".to_owned()),
        "finite" => (FaultCode::OutOfRange, "the number is finite".to_owned()),
        "non_control_character" => {
            (FaultCode::ControlCharacter, "control characters are not taken here".to_owned())
        }
        "surrounding_space" => {
            (FaultCode::SurroundingSpace, "no white space at the start or the end".to_owned())
        }
        "nul_character" => (FaultCode::NulCharacter, "U+0000 is not taken in any text".to_owned()),
        "connection_type" => (FaultCode::UnknownValue, format!("one of {}", policy.names().0)),
        "status" => (FaultCode::UnknownValue, format!("one of {}", policy.names().1)),
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

fn finite(number: f64) -> Result<(), ValidationError> {
    if number.is_finite() { Ok(()) } else { broken("finite") }
}

fn known_connection_type(name: &str, context: &Context<'_>) -> Result<(), ValidationError> {
    if context.policy.has_connection_type(name) { Ok(()) } else { broken("connection_type") }
}

fn known_status(name: &str, context: &Context<'_>) -> Result<(), ValidationError> {
    if context.policy.has_status(name) { Ok(()) } else { broken("status") }
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
