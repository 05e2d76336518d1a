//! The alerts of rules: the same whatever the order, the repeats, the cuts and the memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use conn_log_core::alert::{
    Change, Episode, Findings, GroupKey, History, HistoryQuery, Output, Rule, Watch, WatchedRule,
    What,
};
use conn_log_core::{Event, EventFields, Record, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// 2026-11-26T23:58:00Z: near midnight, where episodes are cut.
const BASE: i64 = 1_795_737_480_000_000;

pub(crate) fn rule(json: Value) -> Rule {
    let Value::Object(object) = json else { panic!("not an object") };
    Rule::from_json(object).unwrap()
}

/// A log in memory, and the alerts told so far.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) records: Vec<Record>,
    pub(crate) alerts: BTreeMap<i64, (i64, String, Episode)>,
}

impl Memory {
    pub(crate) fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let alert = change.episode.alert;
            match change.what {
                What::MergedInto(_) | What::Withdrawn { .. } => {
                    self.alerts.remove(&alert);
                }
                _ => {
                    let entry = (change.rule, change.group.json.clone(), change.episode.clone());
                    self.alerts.insert(alert, entry);
                }
            }
        }
    }

    /// What the alerts say, without the numbers that depend on the order of arrival.
    pub(crate) fn episodes(&self) -> Vec<String> {
        let text = |(rule, group, episode): &(i64, String, Episode)| {
            // Silences and sessions have one event at either end: any of those of its instant.
            let is_exact = *rule <= 7;
            let digest = |digest| if is_exact { digest } else { 0 };
            let marks = episode.evidence();
            let mut evidence: Vec<(i64, u64)> =
                marks.iter().map(|mark| (mark.time, digest(mark.digest))).collect();
            evidence.dedup();
            format!(
                "{rule} {group} {} {} {} {} {evidence:?}",
                episode.start, episode.end, episode.goes_on, episode.count
            )
        };
        let mut all: Vec<String> = self.alerts.values().map(text).collect();
        all.sort();
        all
    }
}

impl History for Memory {
    type Error = Infallible;

    fn records(&mut self, query: &HistoryQuery) -> Result<Vec<Record>, Infallible> {
        let is_asked = |record: &&Record| {
            (query.after_id + 1..query.before_id).contains(&record.id)
                && query.filter.matches(&record.event)
        };
        Ok(self.records.iter().filter(is_asked).take(query.limit).cloned().collect())
    }

    fn episodes(
        &mut self,
        rule: i64,
        group: &GroupKey,
        from: i64,
        until: i64,
    ) -> Result<Vec<Episode>, Infallible> {
        let is_asked = |(number, json, episode): &&(i64, String, Episode)| {
            (*number, json) == (rule, &group.json) && episode.start <= until && from <= episode.end
        };
        Ok(self.alerts.values().filter(is_asked).map(|(.., episode)| episode.clone()).collect())
    }
}

/// Makes the records of a log from events in the order of their arrival.
pub(crate) fn log(events: &[EventFields], created: impl Fn(usize) -> Timestamp) -> Vec<Record> {
    let record = |(place, fields): (usize, &EventFields)| Record {
        id: i64::try_from(place).unwrap() + 1,
        created_at: created(place),
        event: Event::from_store(fields.clone()),
    };
    events.iter().enumerate().map(record).collect()
}

pub(crate) fn watched(rules: &[Rule]) -> Vec<WatchedRule> {
    let watched = |(number, rule): (i64, &Rule)| WatchedRule {
        number,
        rule: rule.clone(),
        after_id: 0,
        since: 0,
    };
    (1..).zip(rules).map(watched).collect()
}

/// Takes a whole log in, and judges all deadlines.
pub(crate) fn run(rules: &[Rule], records: &[Record]) -> (Memory, Vec<Change>) {
    let mut watch = Watch::new(watched(rules));
    let mut memory = Memory::default();
    let mut output = Output::after(0);
    for record in records {
        let told = output.changes.len();
        watch.take(record, &mut memory, &mut output).unwrap();
        memory.note(&output.changes[told..]);
        memory.records.push(record.clone());
    }
    let told = output.changes.len();
    watch.judge_until(Timestamp::from_micros(BASE + 100 * 86_400_000_000), &mut output);
    memory.note(&output.changes[told..]);
    (memory, output.changes)
}

pub(crate) fn kinds(cooldown: u32) -> Vec<Rule> {
    let all = json!([
        {"kind": "match", "filter": {"status": "denied"}, "params": {}},
        {"kind": "failure_burst", "params": {"threshold": 3, "window_seconds": 30}},
        {"kind": "failure_burst", "params": {"threshold": 2, "window_seconds": 200}},
        {"kind": "distinct_count",
         "params": {"of": "ip_address", "at_least": 3, "window_seconds": 60}},
        {"kind": "sequence", "params": {"first": {"status": "denied"}, "count": 2,
         "then": {"status": "success"}, "window_seconds": 60}},
        {"kind": "flapping", "params": {"transitions": 3, "window_seconds": 90}},
        {"kind": "impossible_travel", "params": {"max_kmh": 20_000, "min_km": 100}},
        {"kind": "silence", "params": {"after_seconds": 50}},
        {"kind": "long_session", "params": {"longer_than_seconds": 40}},
    ]);
    let Value::Array(all) = all else { unreachable!() };
    let complete = |mut json: Value| {
        json["name"] = "a rule".into();
        json["group_by"] = json!(["device_id"]);
        json["cooldown_seconds"] = cooldown.into();
        rule(json)
    };
    all.into_iter().map(complete).collect()
}

prop_compose! {
    fn event()(
        device in 0..2_u8,
        second in 0..300_i64,
        status in prop::sample::select(vec!["success", "denied"]),
        kind in prop::sample::select(
            vec!["attempted", "established", "terminated", "suspended", "resumed"],
        ),
        address in 0..4_u8,
        place in prop::option::of((0..3_u8, 0..2_u8)),
    ) -> EventFields {
        let metadata = match place {
            Some((lat, lon)) => format!(r#"{{"latitude":{},"longitude":{}}}"#, lat * 20, lon * 30),
            None => "{}".to_owned(),
        };
        EventFields {
            device_id: format!("d{device}"),
            application_id: "a".to_owned(),
            connection_type: kind.to_owned(),
            status: status.to_owned(),
            timestamp: Timestamp::from_micros(BASE + second * 1_000_000),
            ip_address: Some([10, 0, 0, address].into()),
            user_agent: None,
            duration: None,
            session_id: None,
            event_id: None,
            metadata,
        }
    }
}

/// Long after all of the events: each is later than its lateness.
fn at_once(_: usize) -> Timestamp {
    Timestamp::from_micros(BASE + 86_400_000_000)
}

/// As they come, a second apart, in the time of the events.
fn as_they_come(place: usize) -> Timestamp {
    Timestamp::from_micros(BASE + i64::try_from(place).unwrap() * 5_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn episodes_are_a_function_of_the_set_of_events(
        events in prop::collection::vec(event(), 0..40),
        order in Just((0..40_usize).collect::<Vec<_>>()).prop_shuffle(),
        repeated in prop::collection::vec(0..40_usize, 0..5),
        cooldown in prop::sample::select(vec![0, 10, 60]),
    ) {
        let rules = kinds(cooldown);
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| event.timestamp);
        let mut shuffled: Vec<EventFields> =
            order.iter().filter_map(|place| events.get(*place).cloned()).collect();
        shuffled.extend(repeated.iter().filter_map(|place| events.get(*place).cloned()));
        let (plain, _) = run(&rules, &log(&sorted, as_they_come));
        let (late, _) = run(&rules, &log(&shuffled, at_once));
        prop_assert_eq!(plain.episodes(), late.episodes());
        let (mixed, _) = run(&rules, &log(&shuffled, as_they_come));
        prop_assert_eq!(plain.episodes(), mixed.episodes());
    }

    #[test]
    fn what_is_told_does_not_depend_on_what_is_kept_in_memory(
        events in prop::collection::vec(event(), 1..40),
        cut in 0..40_usize,
        back in 0..40_usize,
    ) {
        let rules: Vec<Rule> = kinds(10).into_iter().take(7).collect();
        let records = log(&events, as_they_come);
        let (_, expected) = run(&rules, &records);
        let cut = cut.min(records.len());
        // Takes in the first events, and then goes on after a start that recalls some of them.
        let mut watch = Watch::new(watched(&rules));
        let mut memory = Memory::default();
        let mut output = Output::after(0);
        for (place, record) in records.iter().enumerate() {
            if place == cut {
                watch = Watch::new(watched(&rules));
                let recalled = &records[cut.saturating_sub(back)..cut];
                recalled.iter().for_each(|record| watch.recall(record));
                // No event before the recalled ones is this late.
                let first = i64::try_from(cut.saturating_sub(back)).unwrap() + 1;
                watch.knows_since(first, Timestamp::from_micros(BASE + 400_000_000));
                for (number, group, episode) in memory.alerts.values() {
                    watch.remember(*number, group, episode.clone(), None);
                }
            }
            let told = output.changes.len();
            watch.take(record, &mut memory, &mut output).unwrap();
            memory.note(&output.changes[told..]);
            memory.records.push(record.clone());
        }
        let expected: Vec<&Change> =
            expected.iter().filter(|change| change.at <= output.changes.last().map_or(0, |c| c.at)).collect();
        prop_assert_eq!(expected, output.changes.iter().collect::<Vec<_>>());
    }
}

/// Hands over what the next events need, in two pieces of time.
fn hand_over(watch: &mut Watch, memory: &mut Memory, next: &[Record]) {
    for want in watch.wants(next) {
        let mut findings = Findings::default();
        let middle = want.from.midpoint(want.until);
        for (from, until) in [(middle, want.until), (want.from, middle)] {
            let query = HistoryQuery {
                filter: want.filter_within(from, until),
                after_id: want.after_id,
                before_id: want.before_id,
                limit: usize::MAX,
            };
            if want.has_events() && !want.is_met_by(&findings) {
                let Ok(records) = memory.records(&query);
                watch.collect(&want, &records, &mut findings);
            }
        }
        let mut alerts = Vec::new();
        if let Some((group, from, until)) = want.alerts() {
            let day = 86_400_000_000;
            let Ok(known) = memory.episodes(want.rule, group, from - day, until + day);
            alerts = known;
        }
        watch.grant(want, findings, false, alerts);
    }
}

/// Nothing is to be read but what was handed over.
struct Nowhere;

impl History for Nowhere {
    type Error = Infallible;

    fn records(&mut self, query: &HistoryQuery) -> Result<Vec<Record>, Infallible> {
        panic!("{query:?}");
    }

    fn episodes(
        &mut self,
        _: i64,
        group: &GroupKey,
        _: i64,
        _: i64,
    ) -> Result<Vec<Episode>, Infallible> {
        panic!("{group:?}");
    }
}

/// Takes in some events, a batch at a time, and hands over before each batch what it needs.
fn take_in_batches(
    watch: &mut Watch,
    memory: &mut Memory,
    records: &[Record],
    size: usize,
) -> Vec<Change> {
    let mut output = Output::after(memory.alerts.keys().max().copied().unwrap_or(0) + 1_000);
    for batch in records.chunks(size) {
        hand_over(watch, memory, batch);
        for record in batch {
            let told = output.changes.len();
            watch.take(record, &mut Nowhere, &mut output).unwrap();
            memory.note(&output.changes[told..]);
            memory.records.push(record.clone());
        }
    }
    output.changes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn late_events_that_are_read_again_in_bulk_by_a_rule_on_its_own_change_nothing(
        events in prop::collection::vec(event(), 1..60),
        cut in 0..60_usize,
        size in 1..12_usize,
        released in 1..9_i64,
        behind in 0..20_usize,
    ) {
        let mut rules: Vec<Rule> = kinds(10).into_iter().take(7).collect();
        rules.push(rule(json!({"name": "new", "kind": "first_seen", "group_by": ["device_id"],
            "params": {"of": ["ip_address"], "learning_seconds": 0}})));
        let records = log(&events, as_they_come);
        let (expected, _) = run(&rules, &records);
        let cut = cut.min(records.len());
        let (before, after) = records.split_at(cut);
        // After a start that recalls nothing.
        let mut memory = Memory::default();
        let mut watch = Watch::new(watched(&rules));
        take_in_batches(&mut watch, &mut memory, before, size);
        watch = Watch::new(watched(&rules));
        watch.knows_since(i64::try_from(cut).unwrap() + 1, Timestamp::from_micros(BASE + 400_000_000));
        for (number, group, episode) in memory.alerts.values() {
            watch.remember(*number, group, episode.clone(), None);
        }
        // One rule goes on later than the others, and then catches up.
        let mut slow = watch.release(released).unwrap();
        let mut others = Memory { records: memory.records.clone(), alerts: memory.alerts.clone() };
        take_in_batches(&mut watch, &mut memory, after, size);
        let behind = behind.min(after.len());
        let (first, rest) = after.split_at(after.len() - behind);
        take_in_batches(&mut slow, &mut others, first, size + 1);
        take_in_batches(&mut slow, &mut others, rest, size);
        watch.adopt(slow);
        others.alerts.retain(|_, (number, ..)| *number == released);
        memory.alerts.retain(|_, (number, ..)| *number != released);
        let mut output = Output::after(10_000);
        memory.alerts.extend(others.alerts.into_iter().map(|(alert, entry)| (alert + 100_000, entry)));
        for (alert, (number, group, episode)) in &memory.alerts {
            prop_assert!(*number != released || *alert > 100_000, "{group} {episode:?}");
        }
        watch.judge_until(Timestamp::from_micros(BASE + 100 * 86_400_000_000), &mut output);
        for change in &mut output.changes {
            if change.rule == released && change.episode.alert <= 10_000 {
                change.episode.alert += 100_000;
            }
        }
        memory.note(&output.changes);
        prop_assert_eq!(expected.episodes(), memory.episodes());
    }
}

/// Thresholds of a busy group: its windows have hundreds of observations.
pub(crate) fn busy_kinds() -> Vec<Rule> {
    let all = json!([
        {"kind": "failure_burst", "params": {"threshold": 200, "window_seconds": 30}},
        {"kind": "distinct_count",
         "params": {"of": "ip_address", "at_least": 9, "window_seconds": 10}},
        {"kind": "sequence", "params": {"first": {"status": "denied"}, "count": 150,
         "then": {"status": "success"}, "window_seconds": 20}},
        {"kind": "flapping", "params": {"transitions": 100, "window_seconds": 20}},
        {"kind": "flapping", "params": {"transitions": 300, "window_seconds": 60}},
    ]);
    let Value::Array(all) = all else { unreachable!() };
    let complete = |mut json: Value| {
        json["name"] = "a rule".into();
        json["group_by"] = json!(["device_id"]);
        rule(json)
    };
    all.into_iter().map(complete).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Near midnight, too: the base lies two minutes before it.
    #[test]
    fn episodes_of_a_busy_group_do_not_depend_on_the_order_of_arrival(
        choices in prop::collection::vec((0..4_usize, 0..4_usize, 0..300_u16, 0..400_i64), 2_000..4_000),
    ) {
        let event = |(place, (status, kind, address, late)): (usize, (usize, usize, u16, i64))| {
            let place = i64::try_from(place).unwrap();
            let mut fields = plain(place * 100_000);
            fields.status = ["success", "denied", "denied", "denied"][status].to_owned();
            let kinds = ["established", "terminated", "terminated", "attempted"];
            fields.connection_type = kinds[kind].to_owned();
            let last = u8::try_from(address.saturating_sub(290)).unwrap();
            fields.ip_address = Some([10, 0, 0, last].into());
            (place + late / 4, fields)
        };
        let mut events: Vec<(i64, EventFields)> =
            choices.into_iter().enumerate().map(event).collect();
        let rules = busy_kinds();
        let stored = |place: usize| {
            Timestamp::from_micros(BASE + i64::try_from(place).unwrap() * 100_000)
        };
        let log_of = |events: &[(i64, EventFields)]| {
            let fields: Vec<EventFields> = events.iter().map(|(_, f)| f.clone()).collect();
            log(&fields, stored)
        };
        let (in_order, _) = run(&rules, &log_of(&events));
        events.sort_by_key(|(arrival, _)| *arrival);
        let (late, _) = run(&rules, &log_of(&events));
        prop_assert_eq!(in_order.episodes(), late.episodes());
        prop_assert!(in_order.alerts.len() >= 3, "{:?}", in_order.episodes());
    }
}

/// Microseconds from the base to a time that no episode is cut at.
pub(crate) const AFTER_MIDNIGHT: i64 = 600_000_000;

pub(crate) fn plain(micros: i64) -> EventFields {
    EventFields {
        device_id: "d".to_owned(),
        application_id: "a".to_owned(),
        connection_type: "attempted".to_owned(),
        status: "success".to_owned(),
        timestamp: Timestamp::from_micros(BASE + micros),
        ip_address: None,
        user_agent: None,
        duration: None,
        session_id: None,
        event_id: None,
        metadata: "{}".to_owned(),
    }
}

#[test]
fn a_late_event_of_a_window_with_an_alert_is_counted_in_it() {
    const MINUTE: i64 = 60_000_000;
    let rule = rule(
        json!({"name": "flood", "kind": "volume", "group_by": ["device_id"], "lateness_seconds": 0,
        "params": {"factor": 3, "window_seconds": 60, "baseline_windows": 3}}),
    );
    let of = |(minute, count): (i64, i64)| (0..count).map(move |n| plain(minute * MINUTE + n));
    let times = [(0, 1), (1, 10), (2, 10), (3, 10), (4, 10), (5, 100)];
    let events: Vec<EventFields> = times.into_iter().flat_map(of).collect();
    // All of them come when their windows are over.
    let records = log(&events, |_| Timestamp::from_micros(BASE + 6 * MINUTE));
    let (memory, _) = run(&[rule], &records);
    let floods: Vec<&Episode> = memory.alerts.values().map(|(.., episode)| episode).collect();
    assert_eq!(floods.len(), 1, "{floods:?}");
    assert_eq!((floods[0].count, floods[0].start), (100, BASE + 5 * MINUTE));
    let evidence: Vec<i64> = floods[0].evidence().iter().map(|mark| mark.id).collect();
    assert_eq!(evidence, [42, 141]);
}

#[test]
fn a_volume_counts_an_event_that_was_sent_again_once_unless_repeats_count() {
    const MINUTE: i64 = 60_000_000;
    for (count_repeats, expected) in [(false, &[][..]), (true, &[50][..])] {
        let rule = rule(json!({"name": "flood", "kind": "volume", "group_by": ["device_id"],
            "lateness_seconds": 0, "count_repeats": count_repeats,
            "params": {"factor": 3, "window_seconds": 60, "baseline_windows": 3}}));
        let of = |(minute, count): (i64, i64)| (0..count).map(move |n| plain(minute * MINUTE + n));
        let times = [(0, 1), (1, 10), (2, 10), (3, 10), (4, 10), (5, 25), (5, 25)];
        let events: Vec<EventFields> = times.into_iter().flat_map(of).collect();
        let records = log(&events, |place| events[place].timestamp);
        let (memory, _) = run(&[rule], &records);
        let counts: Vec<u64> = memory
            .alerts
            .values()
            .map(|(.., episode)| (episode.start, episode.count))
            .filter(|(start, _)| *start == BASE + 5 * MINUTE)
            .map(|(_, count)| count)
            .collect();
        assert_eq!(counts, expected);
    }
}
