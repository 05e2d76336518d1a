//! The starter rules: silent in a normal week, and each incident raises one alert.

#![cfg(test)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use conn_log_core::alert::{
    Episode, GroupKey, History, HistoryQuery, Output, Watch, WatchedRule, What, starter_rules,
};
use conn_log_core::{Event, Record, Timestamp};
use conn_log_simulation::{Incident, Week};

/// No event of the week is late: the history is not asked.
struct NeverAsked;

impl History for NeverAsked {
    type Error = Infallible;

    fn records(&mut self, _: &HistoryQuery) -> Result<Vec<Record>, Infallible> {
        panic!("no event of the week is late")
    }

    fn episodes(
        &mut self,
        _: i64,
        _: &GroupKey,
        _: i64,
        _: i64,
    ) -> Result<Vec<Episode>, Infallible> {
        panic!("no event of the week is late")
    }
}

/// Events that the store takes in at once, at most. It tidies between them.
const STEP: i64 = 1_000;

/// The alerts of a week, by the names of their rules: each with its group.
fn alerts(devices: u32, incidents: &[Incident]) -> Vec<(String, String)> {
    let week = Week::of(Timestamp::parse("2026-11-23T00:00:00Z").unwrap(), devices);
    let rules = starter_rules();
    let watched = |(number, rule): (i64, conn_log_core::alert::Rule)| WatchedRule {
        number,
        rule,
        after_id: 0,
        since: week.start().micros(),
    };
    let mut watch = Watch::new((0..).zip(rules.clone()).map(watched).collect());
    let mut output = Output::after(0);
    let mut id = 0;
    for hour in week.hours() {
        let mut events = week.events_of(hour);
        for incident in incidents {
            incident.plant(&week, hour, &mut events);
        }
        for fields in events {
            if id % STEP == 0 {
                watch.tidy();
            }
            id += 1;
            // Some clocks are ahead.
            let created_at = fields.timestamp.plus(chrono::TimeDelta::seconds(150));
            let record = Record { id, created_at, event: Event::from_store(fields) };
            watch.take(&record, &mut NeverAsked, &mut output).unwrap();
        }
    }
    let mut alerts: BTreeMap<i64, (String, String)> = BTreeMap::new();
    for change in output.changes {
        let place = usize::try_from(change.rule).unwrap();
        match change.what {
            What::Withdrawn { .. } | What::MergedInto(_) => {
                alerts.remove(&change.episode.alert);
            }
            _ => {
                let name = rules[place].name().to_owned();
                alerts.insert(change.episode.alert, (name, change.group.json.clone()));
            }
        }
    }
    let mut alerts: Vec<(String, String)> = alerts.into_values().collect();
    alerts.sort();
    alerts
}

#[test]
fn a_normal_week_raises_no_alert() {
    assert_eq!(alerts(400, &[]), []);
}

#[test]
fn each_incident_raises_one_alert() {
    for incident in Incident::ALL {
        let found = alerts(100, &[incident]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [incident.rule()], "{found:?}");
    }
}

#[test]
fn all_incidents_at_once_raise_one_alert_each() {
    let found = alerts(200, &Incident::ALL);
    let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let mut expected = Incident::ALL.map(Incident::rule);
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected, "{found:?}");
}

/// Run it with `cargo test --release -p conn-log-simulation -- --ignored`.
#[test]
#[ignore = "minutes without optimization"]
fn a_week_of_ten_thousand_devices_raises_the_planted_incidents_alone() {
    assert_eq!(alerts(10_000, &[]), []);
    let found = alerts(10_000, &Incident::ALL);
    let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let mut expected = Incident::ALL.map(Incident::rule);
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected, "{found:?}");
}
