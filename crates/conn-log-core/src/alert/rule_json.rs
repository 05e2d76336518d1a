//! Rules from JSON and back.

use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::hours::{self, DAYS, LocalHours};
use super::members::{Members, RuleFault, are_disjoint, covers};
use super::rule::{Clock, Field, KINDS, Kind, Rule, Severity};
use crate::EventFilter;

const DAY: u32 = 86_400;

/// Limit of a window: a day's observations of a group are kept in memory.
const WINDOW_SECONDS: (u32, u32) = (1, DAY);

/// Limit of counts: as many observations are looked at for each event.
const COUNT: (u32, u32) = (2, 10_000);

/// Limit of lateness and of cooldown.
const UP_TO_A_DAY: (u32, u32) = (0, DAY);

/// Limit of times that only one instant of each group is kept for.
const UP_TO_30_DAYS: (u32, u32) = (1, 30 * DAY);

/// Limit of fields of a group, and of a combination.
const FIELDS_MAX: usize = 3;

impl Rule {
    /// Reads a rule. Members that are left out have their defaults.
    ///
    /// # Errors
    /// Every fault.
    pub fn from_json(object: Map<String, Value>) -> Result<Rule, Vec<RuleFault>> {
        let mut faults = Vec::new();
        let mut members = Members::new(object, "", &mut faults);
        let name = name(&mut members);
        let kind_name = kind_name(&mut members);
        let params = match members.take("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                members.shape("params", "wrong_type", "this member is a JSON object");
                Map::new()
            }
        };
        let filter = match members.take("filter") {
            Some(json) => members.filter("filter", json),
            None => EventFilter::default(),
        };
        let exclude = members.take("exclude").map(|json| members.filter("exclude", json));
        let exclude = exclude.filter(|exclude| *exclude != EventFilter::default());
        if exclude.as_ref().is_some_and(|exclude| covers(exclude, &filter)) {
            let why = "exclude leaves out all that filter lets pass";
            members.value("exclude", "matches_nothing", why.to_owned());
        }
        let group_by = match members.require("group_by") {
            Some(value) => fields(&mut members, "group_by", &value),
            None => Vec::new(),
        };
        let clock = members.choice("clock", Clock::ALL, Clock::name, Clock::Event);
        let lateness_seconds = members.whole("lateness_seconds", UP_TO_A_DAY, 300);
        let count_repeats = members.boolean("count_repeats", false);
        let severity = members.choice("severity", Severity::ALL, Severity::name, Severity::Warning);
        let cooldown_seconds = members.whole("cooldown_seconds", UP_TO_A_DAY, 3_600);
        let enabled = members.boolean("enabled", true);
        let faults_so_far = members.into_faults();
        let mut params = Members::new(params, "/params", faults_so_far);
        let kind = kind_name.map(|name| kind(name, &mut params));
        if kind.is_some() {
            params.into_faults();
        }
        if let Some(kind) = &kind {
            check_filter(kind, &filter, &mut faults);
        }
        match kind {
            Some(kind) if faults.is_empty() => Ok(Rule {
                name,
                kind,
                filter,
                exclude,
                group_by,
                clock,
                lateness_seconds,
                count_repeats,
                severity,
                cooldown_seconds,
                enabled,
            }),
            _ => Err(faults),
        }
    }

    /// The rule as JSON; [`Rule::from_json`] reads it back as the same rule.
    pub fn to_json(&self) -> Map<String, Value> {
        let names =
            |fields: &[Field]| -> Vec<String> { fields.iter().map(ToString::to_string).collect() };
        let json = json!({
            "name": self.name,
            "kind": self.kind.name(),
            "params": params(&self.kind),
            "filter": self.filter.to_json(),
            "exclude": self.exclude.as_ref().map(EventFilter::to_json),
            "group_by": names(&self.group_by),
            "clock": self.clock.name(),
            "lateness_seconds": self.lateness_seconds,
            "count_repeats": self.count_repeats,
            "severity": self.severity.name(),
            "cooldown_seconds": self.cooldown_seconds,
            "enabled": self.enabled,
        });
        match json {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

fn name(members: &mut Members<'_>) -> String {
    let value = members.require("name");
    let Some(name) = value.and_then(|value| members.text("name", &value)) else {
        return String::new();
    };
    if !(1..=255).contains(&name.chars().count()) {
        members.value("name", "length", "1 to 255 characters".to_owned());
    }
    if name.contains(char::is_control) {
        members.value("name", "control_character", "no control characters".to_owned());
    }
    if name.trim() != name {
        let detail = "no white space at the start or the end";
        members.value("name", "surrounding_space", detail.to_owned());
    }
    name
}

fn kind_name(members: &mut Members<'_>) -> Option<&'static str> {
    let value = members.require("kind")?;
    let text = members.text("kind", &value)?;
    let known = KINDS.into_iter().find(|known| *known == text);
    if known.is_none() {
        members.value("kind", "unknown_value", format!("one of {}", KINDS.join(", ")));
    }
    known
}

fn fields(members: &mut Members<'_>, name: &str, value: &Value) -> Vec<Field> {
    let Some(texts) = members.texts(name, value) else { return Vec::new() };
    if !(1..=FIELDS_MAX).contains(&texts.len()) {
        members.value(name, "length", format!("1 to {FIELDS_MAX} fields"));
    }
    let mut all = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let place = format!("{name}/{index}");
        match Field::parse(text) {
            None => members.value(&place, "unknown_value", FIELD.to_owned()),
            Some(field) if all.contains(&field) => {
                members.value(&place, "repeated", "this field stands twice".to_owned());
            }
            Some(field) => all.push(field),
        }
    }
    all
}

const FIELD: &str = "one of device_id, application_id, ip_address, user_agent, network_type and \
                     metadata.<path>";

fn kind(name: &str, params: &mut Members<'_>) -> Kind {
    match name {
        "match" => Kind::Match(local_hours(params)),
        "failure_burst" => Kind::FailureBurst {
            threshold: params.whole("threshold", COUNT, 5),
            window_seconds: params.whole("window_seconds", WINDOW_SECONDS, 60),
        },
        "distinct_count" => Kind::DistinctCount {
            of: one_field(params),
            at_least: params.whole("at_least", COUNT, 5),
            window_seconds: params.whole("window_seconds", WINDOW_SECONDS, 600),
        },
        "sequence" => Kind::Sequence {
            first: Box::new(required_filter(params, "first")),
            count: params.whole("count", (1, COUNT.1), 5),
            then: Box::new(required_filter(params, "then")),
            window_seconds: params.whole("window_seconds", WINDOW_SECONDS, 600),
        },
        "first_seen" => Kind::FirstSeen {
            of: match params.require("of") {
                Some(value) => fields(params, "of", &value),
                None => Vec::new(),
            },
            learning_seconds: params.whole("learning_seconds", (0, 30 * DAY), 7 * DAY),
            forget_after_days: params.whole("forget_after_days", (1, 365), 30),
        },
        "flapping" => Kind::Flapping {
            transitions: params.whole("transitions", COUNT, 10),
            window_seconds: params.whole("window_seconds", WINDOW_SECONDS, 600),
        },
        "silence" => {
            Kind::Silence { after_seconds: params.whole("after_seconds", UP_TO_30_DAYS, 3_600) }
        }
        "long_session" => Kind::LongSession {
            longer_than_seconds: params.whole("longer_than_seconds", UP_TO_30_DAYS, DAY),
        },
        "impossible_travel" => Kind::ImpossibleTravel {
            max_kmh: params.whole("max_kmh", (50, 100_000), 1_000),
            min_km: params.whole("min_km", (1, 20_015), 500),
        },
        "beaconing" => Kind::Beaconing {
            min_connections: params.whole("min_connections", (20, 10_000), 30),
            score: params.number("score", (0.0, 1.0), 0.9),
            max_prevalence: params.number("max_prevalence", (0.0, 1.0), 0.1),
        },
        _ => Kind::Volume {
            factor: params.number("factor", (1.1, 1_000.0), 5.0),
            window_seconds: params.whole("window_seconds", (60, DAY), 3_600),
            baseline_windows: params.whole("baseline_windows", (3, 336), 24),
        },
    }
}

fn one_field(params: &mut Members<'_>) -> Field {
    let value = params.require("of");
    let text = value.and_then(|value| params.text("of", &value));
    let field = text.as_deref().map(Field::parse);
    if field == Some(None) {
        params.value("of", "unknown_value", FIELD.to_owned());
    }
    field.flatten().unwrap_or(Field::Device)
}

fn required_filter(params: &mut Members<'_>, name: &str) -> EventFilter {
    match params.require(name) {
        Some(json) => params.filter(name, json),
        None => EventFilter::default(),
    }
}

fn local_hours(params: &mut Members<'_>) -> LocalHours {
    let mut found = LocalHours { hours: Vec::new(), days: Vec::new(), zone: Tz::UTC };
    if let Some(value) = params.take("hours") {
        for text in params.texts("hours", &value).unwrap_or_default() {
            match hours::span(&text) {
                Some(span) => found.hours.push(span),
                None => params.value("hours", "invalid_value", "such as 22:00-06:00".to_owned()),
            }
        }
    }
    if let Some(value) = params.take("days") {
        for text in params.texts("days", &value).unwrap_or_default() {
            match DAYS.iter().find(|(name, _)| *name == text) {
                Some((_, day)) => found.days.push(*day),
                None => {
                    let names: Vec<&str> = DAYS.iter().map(|(name, _)| *name).collect();
                    params.value("days", "unknown_value", format!("any of {}", names.join(", ")));
                }
            }
        }
    }
    if let Some(value) = params.take("timezone")
        && let Some(text) = params.text("timezone", &value)
    {
        match text.parse() {
            Ok(zone) => found.zone = zone,
            Err(_) => {
                let detail = "a name of the IANA database, such as Europe/Berlin";
                params.value("timezone", "unknown_value", detail.to_owned());
            }
        }
    }
    found
}

/// A filter that lets none of the events pass that a kind looks at.
fn check_filter(kind: &Kind, filter: &EventFilter, faults: &mut Vec<RuleFault>) {
    let mut fault = |pointer: &str, why: &str| {
        faults.push(RuleFault {
            pointer: pointer.to_owned(),
            code: "matches_nothing",
            detail: why.to_owned(),
            kind: crate::FaultKind::Value,
        });
    };
    if let Kind::Sequence { first, then, .. } = kind {
        for (pointer, part) in [("/params/first", first), ("/params/then", then)] {
            if are_disjoint(filter, part) {
                fault(pointer, "no event passes this and the rule's filter");
            }
        }
    }
    let misses = |given: &[String], needed: &[&str]| {
        !given.is_empty() && !given.iter().any(|name| needed.contains(&name.as_str()))
    };
    let why = match kind {
        Kind::FailureBurst { .. }
            if !filter.statuses.is_empty() && filter.statuses.iter().all(|s| s == "success") =>
        {
            "a success is no failure: the filter lets no failure pass"
        }
        Kind::Flapping { .. } | Kind::LongSession { .. }
            if misses(
                &filter.connection_types,
                if misses(&filter.statuses, &["success"]) {
                    &["suspended", "terminated"]
                } else {
                    &["established", "resumed", "suspended", "terminated"]
                },
            ) =>
        {
            "the filter lets no event pass that begins or ends a connection"
        }
        _ => return,
    };
    fault("/filter", why);
}

fn params(kind: &Kind) -> Value {
    match kind {
        Kind::Match(local) => {
            let hours: Vec<String> = local.hours.iter().copied().map(hours::text).collect();
            let named = |day| DAYS.iter().find(|(_, known)| *known == day).map(|(name, _)| *name);
            let days: Vec<&str> = local.days.iter().copied().filter_map(named).collect();
            json!({"hours": hours, "days": days, "timezone": local.zone.name()})
        }
        Kind::FailureBurst { threshold, window_seconds } => {
            json!({"threshold": threshold, "window_seconds": window_seconds})
        }
        Kind::DistinctCount { of, at_least, window_seconds } => json!({
            "of": of.to_string(), "at_least": at_least, "window_seconds": window_seconds,
        }),
        Kind::Sequence { first, count, then, window_seconds } => json!({
            "first": first.to_json(), "count": count, "then": then.to_json(),
            "window_seconds": window_seconds,
        }),
        Kind::FirstSeen { of, learning_seconds, forget_after_days } => json!({
            "of": of.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "learning_seconds": learning_seconds, "forget_after_days": forget_after_days,
        }),
        Kind::Flapping { transitions, window_seconds } => {
            json!({"transitions": transitions, "window_seconds": window_seconds})
        }
        Kind::Silence { after_seconds } => json!({"after_seconds": after_seconds}),
        Kind::LongSession { longer_than_seconds } => {
            json!({"longer_than_seconds": longer_than_seconds})
        }
        Kind::ImpossibleTravel { max_kmh, min_km } => {
            json!({"max_kmh": max_kmh, "min_km": min_km})
        }
        Kind::Beaconing { min_connections, score, max_prevalence } => json!({
            "min_connections": min_connections, "score": score, "max_prevalence": max_prevalence,
        }),
        Kind::Volume { factor, window_seconds, baseline_windows } => json!({
            "factor": factor, "window_seconds": window_seconds,
            "baseline_windows": baseline_windows,
        }),
    }
}
