//! Reads a new silence from a body.

use std::net::IpAddr;

use chrono::TimeDelta;
use conn_log_core::alert::Field;
use conn_log_core::{FaultKind, Timestamp};
use conn_log_store::NewSilence;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::http::json_object::Members;
use crate::http::problem::Problem;
use crate::log::query::RFC3339;
use crate::webhooks::{SEVERITIES, rule_id};

/// Longest silence. One without an end would be forgotten.
const LONGEST: TimeDelta = TimeDelta::days(366);

/// Fields that the group of an alert has at most.
const GROUP_FIELDS_MAX: usize = 3;

/// Fields of the groups of other alerts: of a webhook that was disabled, and of too many groups.
const OTHER_FIELDS: [&str; 2] = ["webhook_id", "overflow"];

/// Longest text of a group's value, as long as a user agent of four-byte characters.
const TEXT_BYTES_MAX: usize = 4_096;

/// Reads a silence that the token `created_by` creates.
///
/// # Errors
/// 400 or 422 with all faults.
pub(super) fn read(
    mut members: Members<'_>,
    created_by: Uuid,
    now: Timestamp,
) -> Result<NewSilence, Problem> {
    let covers = ["rule_id", "group", "severity"];
    if !covers.iter().any(|name| members.has(name)) {
        let detail = "one of rule_id, group and severity is required";
        members.shape(String::new(), "missing", detail);
    }
    if !members.has("until") {
        members.shape("/until".to_owned(), "missing", "this member is required");
    }
    let until = members.text_as("until", |text| {
        let time = Timestamp::parse(text).ok_or(("invalid_timestamp", RFC3339.to_owned()))?;
        if (now..now.plus(LONGEST)).contains(&time) {
            Ok(time)
        } else {
            Err(("out_of_range", "a time within the next 366 days".to_owned()))
        }
    });
    let rule_ids = members.list("rule_id", rule_id).unwrap_or_default();
    if rule_ids.len() > 1 {
        members.shape("/rule_id".to_owned(), "wrong_type", "the id of one rule");
    }
    let known = &SEVERITIES;
    let severity = members.choice("severity", known, |name| name);
    let new = NewSilence {
        rule_id: rule_ids.into_iter().next(),
        group: members.object("group", group),
        severity: severity.map(str::to_owned),
        until: until.unwrap_or(now),
        reason: members.required_label("reason").unwrap_or_default(),
        created_by,
    };
    members.finish()?;
    Ok(new)
}

/// The fields of a group and their values, as an alert has them. A fault keeps a silence from
/// covering more than was meant.
fn group(members: &mut Members<'_>) -> Map<String, Value> {
    let names = members.names();
    if !(1..=GROUP_FIELDS_MAX).contains(&names.len()) {
        members.value(String::new(), "length", "one to three fields of a group".into());
    }
    let mut group = Map::new();
    for name in names {
        // The other names are told as unknown.
        let Some(field) = GroupField::parse(&name) else { continue };
        if let Some(value) = members.scalar(&name, |value| field.read(value)) {
            group.insert(field.name(), value);
        }
    }
    group
}

/// A field that the group of an alert can have.
enum GroupField {
    /// A field that rules group by.
    OfRule(Field),
    /// A field of an alert that no group of a rule raised.
    Other(&'static str),
}

impl GroupField {
    fn parse(name: &str) -> Option<Self> {
        let other = OTHER_FIELDS.into_iter().find(|other| *other == name);
        other.map(GroupField::Other).or_else(|| Field::parse(name).map(GroupField::OfRule))
    }

    /// Its name as alerts spell it.
    fn name(&self) -> String {
        match self {
            GroupField::OfRule(field) => field.to_string(),
            GroupField::Other(name) => (*name).to_owned(),
        }
    }

    /// Reads a value as alerts have it, or names a code, a detail and whether its shape is wrong.
    fn read(&self, value: &Value) -> Result<Value, (&'static str, &'static str, FaultKind)> {
        match value {
            Value::String(text) if text.len() > TEXT_BYTES_MAX => {
                Err(("length", "a text of at most 4,096 bytes", FaultKind::Value))
            }
            Value::String(text) if text.contains('\0') => {
                Err(("nul_character", "no U+0000", FaultKind::Value))
            }
            Value::String(text) if matches!(self, GroupField::OfRule(Field::Address)) => {
                let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
                let invalid = ("invalid_address", "an IPv4 or IPv6 address", FaultKind::Value);
                address.map(|address| address.to_string().into()).map_err(|_| invalid)
            }
            Value::String(_) => Ok(value.clone()),
            Value::Number(_) | Value::Bool(_)
                if matches!(self, GroupField::OfRule(Field::Metadata(_))) =>
            {
                Ok(value.clone())
            }
            _ => {
                let detail = "one text; for metadata also a number, true or false";
                Err(("wrong_type", detail, FaultKind::Shape))
            }
        }
    }
}
