//! Events that are registered long after their time, as an import does: what goes on is judged when
//! no further event has come for a moment, and not after each of them.

use conn_log_core::alert::{Change, Output, Rule, Watch, What, starter_rules};
use conn_log_core::{EventFields, Record, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use crate::alerts::{AFTER_MIDNIGHT, Memory, log, plain, rule, run, watched};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How events are registered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrival {
    /// All at once.
    Batch,
    /// One after the other, 50 ms apart.
    Singly,
}

/// How the log was read.
#[derive(Clone, Copy, Debug)]
struct Order {
    newest_first: bool,
    arrival: Arrival,
}

const ORDERS: [Order; 4] = [
    Order { newest_first: false, arrival: Arrival::Batch },
    Order { newest_first: true, arrival: Arrival::Batch },
    Order { newest_first: false, arrival: Arrival::Singly },
    Order { newest_first: true, arrival: Arrival::Singly },
];

fn of_kind(kind: &str, params: Value) -> Rule {
    let mut json = json!({"name": "a rule", "kind": kind, "group_by": ["device_id"]});
    json["params"] = params;
    rule(json)
}

fn of_type(kind: &str, micros: i64) -> EventFields {
    EventFields { connection_type: kind.to_owned(), ..plain(AFTER_MIDNIGHT + micros) }
}

/// A log of events that were registered three days after the last of them.
fn imported(mut events: Vec<EventFields>, order: Order) -> Vec<Record> {
    let begun = events.iter().map(|event| event.timestamp).max().unwrap().micros() + 3 * DAY;
    if order.newest_first {
        events.reverse();
    }
    let pause = if order.arrival == Arrival::Batch { 0 } else { 50_000 };
    let at = |place: usize| begun + i64::try_from(place).unwrap() * pause;
    log(&events, |place| Timestamp::from_micros(at(place)))
}

/// The numbers of alerts that were opened, and withdrawn.
fn counts(changes: &[Change]) -> (usize, usize) {
    let count = |is: fn(&What) -> bool| changes.iter().filter(|change| is(&change.what)).count();
    (count(|what| *what == What::Opened), count(|what| matches!(what, What::Withdrawn { .. })))
}

/// The same evaluation, that ends before each of these places and goes on after it.
fn run_cut(rules: &[Rule], records: &[Record], cuts: &[usize]) -> Vec<Change> {
    let mut watch = Watch::new(watched(rules));
    let mut memory = Memory::default();
    let mut output = Output::after(0);
    for (place, record) in records.iter().enumerate() {
        if cuts.contains(&place) {
            watch = Watch::new(watched(rules));
            records[..place].iter().for_each(|record| watch.recall(record));
            for (number, group, episode) in memory.alerts.values() {
                let first = episode.first.first().map(|mark| mark.id);
                let first = first.and_then(|id| records.iter().find(|record| record.id == id));
                watch.remember(*number, group, episode.clone(), first);
            }
        }
        let told = output.changes.len();
        watch.take(record, &mut memory, &mut output).unwrap();
        memory.note(&output.changes[told..]);
        memory.records.push(record.clone());
    }
    let end = records.last().unwrap().created_at.micros() + 100 * DAY;
    watch.judge_until(Timestamp::from_micros(end), &mut output);
    output.changes
}

/// Runs a rule over an import in each order, and compares the numbers of its alerts: none is
/// withdrawn, whatever the order and wherever the run was cut.
fn raises(rule: &Rule, events: &[EventFields], expected: usize) {
    for order in ORDERS {
        let records = imported(events.to_vec(), order);
        let rules = std::slice::from_ref(rule);
        let (_, changes) = run(rules, &records);
        assert_eq!(counts(&changes), (expected, 0), "{order:?}: {changes:?}");
        let cuts = [1, records.len() / 2, records.len() - 1];
        assert_eq!(run_cut(rules, &records, &cuts), changes, "{order:?}, cut");
    }
}

#[test]
fn two_old_events_are_one_silence() {
    let rule = of_kind("silence", json!({"after_seconds": 3_600}));
    raises(&rule, &[0, 10 * MINUTE].map(|micros| of_type("attempted", micros)), 1);
}

#[test]
fn old_events_with_one_gap_are_two_silences() {
    let rule = of_kind("silence", json!({"after_seconds": 3_600}));
    let at = |number: i64| number * 10 * MINUTE + if number < 20 { 0 } else { 3 * HOUR };
    let events: Vec<EventFields> = (0..40).map(|number| of_type("attempted", at(number))).collect();
    raises(&rule, &events, 2);
}

#[test]
fn short_sessions_of_the_past_are_none_that_is_long() {
    let rule = of_kind("long_session", json!({"longer_than_seconds": 3_600}));
    let session = |number: i64| {
        let begin = number * 30 * MINUTE;
        [of_type("established", begin), of_type("terminated", begin + 10 * MINUTE)]
    };
    let events: Vec<EventFields> = (0..10).flat_map(session).collect();
    raises(&rule, &events, 0);
    let mut with_a_long_one = events;
    with_a_long_one.push(of_type("established", 6 * HOUR));
    with_a_long_one.push(of_type("terminated", 8 * HOUR));
    raises(&rule, &with_a_long_one, 1);
}

/// Forty events in each of so many hours, from a full hour on.
fn steady(hours: i64) -> Vec<EventFields> {
    let at = |number: i64| of_type("attempted", 50 * MINUTE + number * 90_000_000);
    (0..hours * 40).map(at).collect()
}

fn volume() -> Rule {
    let params = json!({"factor": 5, "window_seconds": 3_600, "baseline_windows": 3});
    of_kind("volume", params)
}

#[test]
fn a_steady_volume_of_the_past_is_not_far_from_the_usual() {
    for order in ORDERS {
        let records = imported(steady(8), order);
        let (_, changes) = run(&[volume()], &records);
        let fewer: Vec<i64> = changes.iter().map(|change| change.episode.start).collect();
        // The device fell silent after the eight hours: that is far fewer events.
        let end = AFTER_MIDNIGHT + 50 * MINUTE + 8 * HOUR;
        let silent = records.iter().map(|record| record.event.fields().timestamp.micros()).max();
        assert!(silent.unwrap() < fewer[0], "{order:?}: {changes:?}");
        assert_eq!(counts(&changes), (1, 0), "{order:?} {end}: {changes:?}");
        let cuts = [1, 100, records.len() - 1];
        assert_eq!(run_cut(&[volume()], &records, &cuts), changes, "{order:?}, cut");
    }
}

#[test]
fn a_busy_group_does_not_hold_up_what_is_over() {
    // A gap of three hours, and then an event each second for ever.
    let rule = of_kind("silence", json!({"after_seconds": 3_600}));
    let begun = AFTER_MIDNIGHT + 3 * HOUR;
    let events: Vec<EventFields> = std::iter::once(plain(AFTER_MIDNIGHT))
        .chain((0..60).map(|second| plain(begun + second * 1_000_000)))
        .collect();
    // Registered a day later, each second one.
    let day = events[0].timestamp.micros() + DAY;
    let at = |place: usize| day + i64::try_from(place).unwrap() * 1_000_000;
    let records = log(&events, |place| Timestamp::from_micros(at(place)));
    let (_, changes) = run(std::slice::from_ref(&rule), &records);
    let opened = changes.iter().find(|change| change.what == What::Opened).unwrap();
    assert_eq!((opened.episode.start, opened.at), (events[0].timestamp.micros(), at(3)));
    // The same of a volume: an hour with forty events, each of them on time, is judged at its end
    // and the lateness, though late events go on to come.
    let mut records = log(&steady(6), |place| steady(6)[place].timestamp);
    let flood = records[210].event.fields().timestamp.micros();
    let hour = flood.div_euclid(HOUR) * HOUR;
    for number in 0..800 {
        let fields = EventFields { metadata: format!("{{\"n\":{number}}}"), ..plain(0) };
        let timestamp = Timestamp::from_micros(hour - HOUR + number);
        let fields = EventFields { timestamp, ..fields };
        let created_at = Timestamp::from_micros(hour + 4 * MINUTE + number * 250_000);
        let event = conn_log_core::Event::from_store(fields);
        records.push(Record { id: 0, created_at, event });
    }
    records.sort_by_key(|record| record.created_at);
    (1..).zip(&mut records).for_each(|(id, record)| record.id = id);
    let (_, changes) = run(&[volume()], &records);
    let opened = changes.iter().find(|change| change.what == What::Opened).unwrap();
    assert_eq!((opened.episode.start, opened.at), (hour - HOUR, hour + 5 * MINUTE));
    // Later ones are counted when a moment has passed.
    let last = changes.iter().rfind(|change| change.episode.alert == opened.episode.alert);
    assert_eq!(last.unwrap().episode.count, 840);
}

#[rstest]
fn the_starter_rules_withdraw_nothing_of_an_ordinary_batch(#[values(0, 1, 2, 3)] order: usize) {
    let order = ORDERS[order];
    // A thousand events of ten devices over twenty days, none of them out of the ordinary.
    let event = |number: i64| {
        let kind = ["established", "terminated"][usize::try_from(number / 10 % 2).unwrap()];
        EventFields {
            device_id: format!("d{}", number % 10),
            ..of_type(kind, number * 20 * DAY / 1_000 + number % 7 * MINUTE)
        }
    };
    let events: Vec<EventFields> = (0..1_000).map(event).collect();
    let records = imported(events, order);
    let rules = starter_rules();
    let (_, changes) = run(&rules, &records);
    let (opened, withdrawn) = counts(&changes);
    assert_eq!(withdrawn, 0, "{order:?}");
    // In the end each device and the application are silent: the rules are right.
    assert!(opened <= 11, "{order:?}: {opened}");
    assert_eq!(run_cut(&rules, &records, &[1, 500]), changes, "{order:?}, cut");
}

#[test]
fn what_was_judged_while_the_log_was_idle_is_not_told_again_after_a_start() {
    let rules = [
        of_kind("silence", json!({"after_seconds": 3_600})),
        of_kind("long_session", json!({"longer_than_seconds": 3_600})),
        volume(),
    ];
    for order in ORDERS {
        let mut events = steady(8);
        events.push(of_type("established", 20 * HOUR));
        let records = imported(events, order);
        let last = records.last().unwrap();
        let judged = Timestamp::from_micros(last.created_at.micros() + 10_000_000);
        let (mut live, mut again) = (Watch::new(watched(&rules)), Watch::new(watched(&rules)));
        let mut memory = Memory::default();
        let mut output = Output::after(0);
        for record in &records {
            live.take(record, &mut memory, &mut output).unwrap();
            again.recall(record);
        }
        live.judge_until(judged, &mut output);
        memory.note(&output.changes);
        for (number, group, episode) in memory.alerts.values() {
            let first = episode.first.first().map(|mark| mark.id);
            let first = first.and_then(|id| records.iter().find(|record| record.id == id));
            again.remember(*number, group, episode.clone(), first);
        }
        let kinds: std::collections::BTreeSet<i64> =
            output.changes.iter().map(|c| c.rule).collect();
        assert_eq!(kinds.len(), rules.len(), "{order:?}");
        let told = output.changes.len();
        let mut other = Output::after(output.last_alert);
        again.judge_until(judged, &mut other);
        assert_eq!(other.changes, [], "{order:?}");
        // Both go on in the same way.
        let mut next = last.clone();
        (next.id, next.created_at) = (last.id + 1, judged);
        let mut fields = next.event.fields().clone();
        (fields.timestamp, fields.connection_type) = (judged, "terminated".to_owned());
        next.event = conn_log_core::Event::from_store(fields);
        live.take(&next, &mut memory, &mut output).unwrap();
        again.take(&next, &mut memory, &mut other).unwrap();
        let day = Timestamp::from_micros(judged.micros() + DAY);
        live.judge_until(day, &mut output);
        again.judge_until(day, &mut other);
        assert!(other.changes.len() >= 2, "{order:?}");
        assert_eq!(output.changes[told..], other.changes, "{order:?}");
    }
}

#[test]
fn a_beacon_of_the_last_day_that_is_registered_at_once_is_found_a_moment_later() {
    let rule = of_kind("beaconing", json!({"min_connections": 20}));
    let beacon = |name: &str, numbers: std::ops::Range<i64>| -> Vec<EventFields> {
        let at = |number: i64| EventFields {
            device_id: name.to_owned(),
            application_id: name.to_owned(),
            ..of_type("established", number * 10 * MINUTE)
        };
        numbers.map(at).collect()
    };
    // The second device is registered ten seconds after the first, and newest first. The first one
    // goes on.
    let mut second = beacon("d2", 0..25);
    second.reverse();
    let events = [beacon("d1", 0..25), second, beacon("d1", 40..70)].concat();
    let begun = events[0].timestamp.micros() + 6 * HOUR;
    let at = |place: usize| {
        let micros = i64::try_from(place).unwrap() * 50_000;
        match place {
            0..25 => begun + micros,
            25..50 => begun + micros + 10_000_000,
            _ => events[place].timestamp.micros(),
        }
    };
    let records = log(&events, |place| Timestamp::from_micros(at(place)));
    let (_, changes) = run(std::slice::from_ref(&rule), &records);
    let told: Vec<(What, i64, u64)> = changes
        .iter()
        .take(2)
        .map(|change| (change.what, change.at, change.episode.count))
        .collect();
    let first = at(24) + 2_000_000;
    // Work for all groups is done once a minute.
    let expected = [(What::Opened, first, 25), (What::Opened, first + MINUTE, 25)];
    assert_eq!(told, expected, "{changes:?}");
    assert_eq!(counts(&changes), (2, 0));
    let extended = |change: &&Change| matches!(change.what, What::Extended { .. });
    assert_eq!(changes.iter().rfind(extended).unwrap().episode.count, 55, "{changes:?}");
    for cut in [10, 30, 49, 52, 60] {
        let cut_changes = run_cut(std::slice::from_ref(&rule), &records, &[cut]);
        assert_eq!(cut_changes, changes, "{cut}");
    }
}
