//! The worked examples of docs/rules.md.

use std::collections::BTreeMap;

use conn_log_core::alert::{KINDS, What, explain};
use conn_log_core::{EventDraft, EventFields, EventPolicy, Timestamp};

use crate::alerts::{log, rule, run};

/// The code blocks of a section, each with its language.
fn blocks(section: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = section.split("```").collect();
    parts.iter().skip(1).step_by(2).map(|part| part.split_once('\n').unwrap()).collect()
}

fn fields(line: &str) -> EventFields {
    let draft = EventDraft::from_json(line).unwrap();
    EventPolicy::default().check(draft, Timestamp::MAX).unwrap().into_fields()
}

/// Four events an hour for five hours, and then 150.
fn flood() -> Vec<EventFields> {
    let hour = |hour: i64| {
        let count = if hour == 5 { 150 } else { 4 };
        (0..count).map(move |number| {
            let start = Timestamp::parse("2026-11-27T10:00:00Z").unwrap();
            let line = r#"{"device_id": "dev-7", "application_id": "app", "status": "success",
                "connection_type": "established", "timestamp": "2026-11-27T10:00:00Z"}"#;
            let seconds = hour * 3_600 + number * 20;
            let timestamp = start.plus(chrono::TimeDelta::seconds(seconds));
            EventFields { timestamp, ..fields(line) }
        })
    };
    (0..6).flat_map(hour).collect()
}

/// What a section's rule raises over its events.
fn raised(section: &str) -> String {
    let blocks = blocks(section);
    let of = |language| blocks.iter().find(|(name, _)| *name == language).map(|(_, text)| *text);
    let rule = rule(serde_json::from_str(of("json").unwrap()).unwrap());
    let events = of("ndjson").map_or_else(flood, |text| text.lines().map(fields).collect());
    let times: Vec<Timestamp> = events.iter().map(|event| event.timestamp).collect();
    let created = |place: usize| times[..=place].iter().copied().max().unwrap();
    let records = log(&events, created);
    let (_, changes) = run(std::slice::from_ref(&rule), &records);
    let mut alerts = BTreeMap::new();
    for change in changes {
        alerts.insert(change.episode.alert, change);
    }
    let text = |change: &conn_log_core::alert::Change| {
        let marks = change.episode.evidence();
        let evidence: Vec<_> = marks.iter().map(|mark| mark.id - 1).collect();
        let evidence: Vec<_> = evidence
            .into_iter()
            .map(|place| records[usize::try_from(place).unwrap()].clone())
            .collect();
        let state = match change.what {
            What::Ended => " (ended)",
            What::Withdrawn { .. } => " (withdrawn)",
            _ => "",
        };
        let group = &change.group.json;
        format!("{}{state}\n", explain(&rule, group, &change.episode, &evidence))
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
        let found = raised(section);
        if expected.unwrap().1 != found {
            wrong.push(format!("{}\n{found}", section.lines().next().unwrap()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
