//! The edges of the kinds' definitions: equal times, the first window that is judged, and what an
//! alert counts.

use conn_log_core::alert::{Change, Episode, Rule, What, explain};
use conn_log_core::{EventFields, Timestamp};
use serde_json::{Value, json};

use crate::alerts::{AFTER_MIDNIGHT, Memory, log, plain, rule, run};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn of_kind(kind: &str, params: Value) -> Rule {
    let mut json = json!({"name": "a rule", "kind": kind, "group_by": ["device_id"]});
    json["params"] = params;
    rule(json)
}

fn event(kind: &str, status: &str, micros: i64) -> EventFields {
    EventFields {
        connection_type: kind.to_owned(),
        status: status.to_owned(),
        ..plain(AFTER_MIDNIGHT + micros)
    }
}

/// The alerts of events that are registered at their own times.
fn raised(rule: &Rule, events: &[EventFields]) -> (Memory, Vec<Change>) {
    let records = log(events, |place| events[place].timestamp);
    run(std::slice::from_ref(rule), &records)
}

fn episodes(rule: &Rule, events: &[EventFields]) -> Vec<Episode> {
    let (memory, _) = raised(rule, events);
    memory.alerts.into_values().map(|(.., episode)| episode).collect()
}

#[test]
fn a_success_is_no_failure_even_if_the_filter_names_it() {
    let rule = rule(json!({"name": "burst", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 2, "window_seconds": 60},
        "filter": {"status": ["success", "denied"]}}));
    let successes = [0, 1].map(|second| event("attempted", "success", second * SECOND));
    assert_eq!(episodes(&rule, &successes), []);
    let failures = [0, 1].map(|second| event("attempted", "denied", second * SECOND));
    let all = [successes, failures].concat();
    assert_eq!(episodes(&rule, &all).iter().map(|e| e.count).collect::<Vec<_>>(), [2]);
}

#[test]
fn at_one_instant_the_first_events_of_a_sequence_come_before_the_second() {
    let params = |first: Value| json!({"first": first, "count": 2, "then": {"status": "success"}, "window_seconds": 60});
    let rule = of_kind("sequence", params(json!({"status": "denied"})));
    let either = of_kind("sequence", params(json!({"status": ["denied", "success"]})));
    for number in 0..50 {
        // Of any content, so that the order by content is any.
        let of = |status: &str, name: &str| EventFields {
            metadata: format!(r#"{{"{name}":{number}}}"#),
            ..event("attempted", status, 0)
        };
        let (one, other, then) = (of("denied", "a"), of("denied", "b"), of("success", "c"));
        for order in [[&one, &other, &then], [&then, &one, &other], [&one, &then, &other]] {
            let events = order.map(Clone::clone);
            assert_eq!(episodes(&rule, &events).len(), 1, "{number}");
            assert_eq!(episodes(&either, &events).len(), 1, "{number}");
        }
    }
}

#[test]
fn a_volume_is_judged_after_as_many_windows_as_the_baseline_has() {
    let params = json!({"factor": 5, "window_seconds": 60, "baseline_windows": 3});
    let rule = of_kind("volume", params);
    for (windows, expected) in [(2, 0), (3, 1), (4, 1)] {
        let of = |(minute, count): (i64, i64)| {
            (0..count).map(move |n| event("attempted", "success", minute * MINUTE + n * SECOND))
        };
        let flood = (windows, 59);
        let events: Vec<EventFields> =
            (0..windows).map(|minute| (minute, 5)).chain([flood]).flat_map(of).collect();
        let found = episodes(&rule, &events);
        assert_eq!(found.len(), expected, "{windows}: {found:?}");
        assert!(found.iter().all(|episode| episode.count == 59 && episode.measure < 6.0));
    }
}

#[test]
fn a_volume_takes_back_what_late_events_contradict() {
    let params = json!({"factor": 5, "window_seconds": 3_600, "baseline_windows": 3});
    let rule = of_kind("volume", params);
    let start = AFTER_MIDNIGHT.div_euclid(HOUR) * HOUR + 2 * MINUTE - AFTER_MIDNIGHT;
    let hour = |hour: i64| {
        let count = if hour == 6 { 300 } else { 30 };
        let at = move |n: i64| start + hour * HOUR + n * 12 * SECOND;
        (0..count).map(move |n| event("attempted", "success", at(n))).collect::<Vec<_>>()
    };
    // Each hour is registered at once, three hours after it began, and the next one is thirty
    // seconds later than the time at which it was judged without any event.
    let events: Vec<(i64, EventFields)> =
        (0..9).flat_map(|n| hour(n).into_iter().map(move |event| (n, event))).collect();
    let begun = plain(AFTER_MIDNIGHT + start).timestamp.micros();
    let fields: Vec<EventFields> = events.iter().map(|(_, event)| event.clone()).collect();
    let created = |place: usize| {
        let (hour, _) = events[place];
        Timestamp::from_micros(begun + hour * HOUR + 3 * HOUR + 30 * SECOND)
    };
    let (memory, changes) = run(std::slice::from_ref(&rule), &log(&fields, created));
    let mut lasting: Vec<(u64, i64)> =
        memory.alerts.values().map(|(.., e)| (e.count, e.end - e.start)).collect();
    lasting.sort_unstable();
    // The flood is one hour; in the end the device fell silent.
    assert_eq!(lasting.last(), Some(&(300, HOUR)), "{lasting:?}");
    assert!(lasting.iter().all(|(count, _)| [0, 300].contains(count)), "{lasting:?}");
    let is_taken_back = |change: &&Change| matches!(change.what, What::Withdrawn { .. });
    assert!(changes.iter().any(|change| is_taken_back(&change)));
}

#[test]
fn an_alert_counts_the_events_that_it_names() {
    let silence = of_kind("silence", json!({"after_seconds": 60}));
    let long = of_kind("long_session", json!({"longer_than_seconds": 60}));
    let events = [event("established", "success", 0), event("terminated", "success", 10 * MINUTE)];
    for (rule, expected) in [(&silence, &[2, 1][..]), (&long, &[2])] {
        let found = episodes(rule, &events);
        let named = |episode: &Episode| (episode.count, episode.evidence().len() as u64);
        let expected: Vec<(u64, u64)> = expected.iter().map(|count| (*count, *count)).collect();
        assert_eq!(found.iter().map(named).collect::<Vec<_>>(), expected);
    }
    // While it goes on it has one.
    assert_eq!(episodes(&long, &events[..1])[0].count, 1);
}

#[test]
fn a_long_session_begins_and_ends_as_the_list_of_sessions_says() {
    let rule = of_kind("long_session", json!({"longer_than_seconds": 600}));
    let of = |steps: &[(&str, i64)]| {
        let events: Vec<EventFields> =
            steps.iter().map(|(kind, at)| event(kind, "success", at * SECOND)).collect();
        let found = episodes(&rule, &events);
        let said = |episode: &Episode| {
            let length = (!episode.goes_on).then_some((episode.end - episode.start) / SECOND);
            ((episode.start - events[0].timestamp.micros()) / SECOND, length)
        };
        found.iter().map(said).collect::<Vec<_>>()
    };
    // An end is that of the next start within a minute.
    assert_eq!(of(&[("terminated", 0), ("established", 30)]), []);
    assert_eq!(of(&[("terminated", 0), ("established", 60)]), []);
    assert_eq!(of(&[("terminated", 0), ("established", 61)]), [(61, None)]);
    assert_eq!(of(&[("terminated", 0), ("established", 30), ("established", 40)]), [(40, None)]);
    // The end of a session is not that of the next one.
    let ended = [("established", 0), ("terminated", 90), ("established", 100)];
    assert_eq!(of(&ended), [(100, None)]);
    // A resumed event goes on with a suspended session, and begins one otherwise.
    let resumed = [("established", 0), ("suspended", 300), ("resumed", 400), ("terminated", 900)];
    assert_eq!(of(&resumed), [(0, Some(900))]);
    let again = [("established", 0), ("resumed", 400), ("terminated", 900)];
    assert_eq!(of(&again), []);
}

/// The explanations of the alerts that stay.
fn explained(rule: &Rule, events: &[EventFields]) -> Vec<String> {
    let records = log(events, |place| events[place].timestamp);
    let (memory, _) = run(std::slice::from_ref(rule), &records);
    let text = |(_, group, episode): &(i64, String, Episode)| {
        let is_named = |id: i64| episode.evidence().iter().any(|mark| mark.id == id);
        let evidence: Vec<_> = records.iter().filter(|r| is_named(r.id)).cloned().collect();
        explain(rule, group, episode, &evidence)
    };
    memory.alerts.values().map(text).collect()
}

#[test]
fn explanations_are_plain_english() {
    let guessed = of_kind(
        "sequence",
        json!({"first": {"status": "denied"}, "count": 1, "then": {"status": "success"}}),
    );
    let events = [event("attempted", "denied", 0), event("attempted", "success", SECOND)];
    let expected = "1 event and then attempted success (event 2) of device d within 1 s";
    assert_eq!(explained(&guessed, &events), [expected]);
    let burst = of_kind("failure_burst", json!({"threshold": 2, "window_seconds": 60}));
    let at_once = |name: &str| EventFields {
        metadata: format!(r#"{{"latitude":{},"longitude":0,"n":"{name}"}}"#, name.len() * 20),
        ..event("attempted", "denied", 0)
    };
    let expected = "2 events (attempted, denied) of device d at the same instant; the rule looks \
                    for 2 within 1 min";
    assert_eq!(explained(&burst, &[at_once("a"), at_once("bb")]), [expected]);
    let mut travel = json!({"name": "a rule", "kind": "impossible_travel", "params": {}});
    for (group_by, who) in [
        (json!(["device_id"]), "device d was"),
        (json!(["device_id", "application_id"]), "application a and device d were"),
    ] {
        travel["group_by"] = group_by;
        let expected = format!(
            "{who} in two places 2224 km apart at the same instant, and no one travels faster than \
             1000 km/h"
        );
        let found = explained(&rule(travel.clone()), &[at_once("a"), at_once("bb")]);
        assert_eq!(found, [expected]);
    }
}
