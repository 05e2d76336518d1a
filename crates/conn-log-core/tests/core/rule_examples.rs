//! The worked examples of docs/rules.md.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use conn_log_core::alert::{KINDS, Rule, What, explain, starter_rules};
use conn_log_core::{EventDraft, EventFields, EventPolicy, Timestamp};

use crate::alerts::{log, rule, run};

/// The code blocks of a section, each with its language.
fn blocks(section: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = section.split("```").collect();
    parts.iter().skip(1).step_by(2).map(|part| part.split_once('\n').unwrap()).collect()
}

fn fields(line: &str) -> EventFields {
    let draft = EventDraft::from_json(line).unwrap();
    // An example is of the past for whoever tries it.
    let now = Timestamp::parse("2026-02-01T00:00:00Z").unwrap();
    EventPolicy::default().check(draft, now).unwrap().into_fields()
}

/// Four events an hour for five hours, and then 150.
fn flood() -> Vec<EventFields> {
    let hour = |hour: i64| {
        let count = if hour == 5 { 150 } else { 4 };
        (0..count).map(move |number| {
            let start = Timestamp::parse("2026-01-15T10:00:00Z").unwrap();
            let line = r#"{"device_id": "dev-7", "application_id": "app", "status": "success",
                "connection_type": "established", "timestamp": "2026-01-15T10:00:00Z"}"#;
            let seconds = hour * 3_600 + number * 20;
            let timestamp = start.plus(chrono::TimeDelta::seconds(seconds));
            EventFields { timestamp, ..fields(line) }
        })
    };
    (0..6).flat_map(hour).collect()
}

/// A section's rule and its events.
fn example(section: &str) -> (Rule, Vec<EventFields>) {
    let blocks = blocks(section);
    let of = |language| blocks.iter().find(|(name, _)| *name == language).map(|(_, text)| *text);
    let rule = rule(serde_json::from_str(of("json").unwrap()).unwrap());
    let events = of("ndjson").map_or_else(flood, |text| text.lines().map(fields).collect());
    (rule, events)
}

/// What a rule raises over events that are registered in this order, each when the latest of those
/// so far happened, or so long after all of them.
fn raised(rule: &Rule, events: &[EventFields], late: Option<TimeDelta>) -> Vec<String> {
    let times: Vec<Timestamp> = events.iter().map(|event| event.timestamp).collect();
    let created = |place: usize| match late {
        None => times[..=place].iter().copied().max().unwrap(),
        Some(late) => times.iter().copied().max().unwrap().plus(late),
    };
    let records = log(events, created);
    let (_, changes) = run(std::slice::from_ref(rule), &records);
    let mut alerts = BTreeMap::new();
    for change in changes {
        alerts.insert(change.episode.alert, change);
    }
    let text = |change: &conn_log_core::alert::Change| {
        let marks = change.episode.evidence();
        let place = |mark: &conn_log_core::alert::Mark| usize::try_from(mark.id - 1).unwrap();
        let evidence: Vec<_> = marks.iter().map(|mark| records[place(mark)].clone()).collect();
        let state = match change.what {
            What::Withdrawn { .. } => " (withdrawn)",
            _ => "",
        };
        format!("{}{state}\n", explain(rule, &change.group.json, &change.episode, &evidence))
    };
    alerts.values().map(text).collect()
}

#[test]
fn every_example_of_the_page_raises_what_the_page_says() {
    let page = include_str!("../../../../docs/rules.md");
    let (_, kinds) = page.split_once("## Kinds\n").unwrap();
    let sections: Vec<&str> = kinds.split("\n### ").skip(1).collect();
    let names: Vec<&str> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(names, KINDS);
    let mut wrong = Vec::new();
    for section in sections {
        let expected = blocks(section).into_iter().rev().find(|(language, _)| *language == "text");
        let (rule, events) = example(section);
        // Who tries it registers them at once; a preview takes them as they happened.
        let is_previewed = rule.kind().name() == "beaconing";
        let late = (!is_previewed).then_some(TimeDelta::days(1));
        let found = raised(&rule, &events, late).concat();
        if expected.unwrap().1 != found {
            wrong.push(format!("{}\n{found}", section.lines().next().unwrap()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_names_every_starter_rule() {
    let page = include_str!("../../../../docs/rules.md");
    let (_, rest) = page.split_once("## Starter rules\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .skip(4)
        .filter(|l| l.starts_with('|'))
        .map(|l| l.split('|').collect())
        .collect();
    let listed: Vec<(String, String)> = rows
        .iter()
        .filter(|cells| cells[2].contains('`'))
        .map(|cells| (cells[1].trim().to_owned(), cells[2].trim().trim_matches('`').to_owned()))
        .collect();
    let rules = starter_rules();
    let named: Vec<(String, String)> =
        rules.iter().map(|rule| (rule.name().to_owned(), rule.kind().name().to_owned())).collect();
    assert_eq!(listed, named);
}

/// The same order for the same number.
fn shuffled(events: &[EventFields], seed: u64, reach: usize, repeats: usize) -> Vec<EventFields> {
    let mut state = seed;
    let mut next = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut keyed: Vec<(usize, EventFields)> = events
        .iter()
        .enumerate()
        .map(|(place, event)| (place + next(reach), event.clone()))
        .collect();
    let repeated: Vec<_> = (0..repeats).map(|_| keyed[next(keyed.len())].clone()).collect();
    keyed.extend(repeated);
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, event)| event).collect()
}

/// The alerts that are not withdrawn. Their ids are left out: these depend on the order of arrival.
fn lasting(texts: Vec<String>) -> Vec<String> {
    let plain = |text: String| match text.split_once(" (event ") {
        Some((begin, rest)) => format!("{begin}{}", rest.split_once(')').unwrap().1),
        None => text,
    };
    let lasts = |text: &String| !text.ends_with("(withdrawn)\n");
    let mut all: Vec<String> = texts.into_iter().filter(lasts).map(plain).collect();
    all.sort();
    all
}

#[test]
fn every_example_raises_the_same_in_other_orders_and_with_repeats() {
    let page = include_str!("../../../../docs/rules.md");
    let (_, kinds) = page.split_once("## Kinds\n").unwrap();
    for section in kinds.split("\n### ").skip(1) {
        let (rule, events) = example(section);
        let kind = rule.kind().name();
        let expected = lasting(raised(&rule, &events, None));
        // Volume and beacons are judged when their time has passed: they are told for events that
        // come within the lateness.
        let is_closing = ["volume", "beaconing"].contains(&kind);
        for seed in 0..100 {
            // Of the closing kinds neighbors change places, of the others all.
            let reach = if is_closing { 3 } else { events.len() };
            let other = shuffled(&events, seed, reach, 3);
            assert_eq!(lasting(raised(&rule, &other, None)), expected, "{kind} {seed}");
            if !is_closing {
                let beyond = Some(TimeDelta::days(1));
                assert_eq!(lasting(raised(&rule, &other, beyond)), expected, "{kind} {seed}, late");
            }
        }
    }
}
