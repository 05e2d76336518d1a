//! All rules of one log: which of them look at an event, when deadlines pass, and how much is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::episode::{Episode, Mark};
use super::history::History;
use super::late::{Findings, Want};
use super::output::{GroupKey, Output, What};
use super::rule::{Kind, Rule};
use super::view::{EventView, text_digest};
use super::watcher::{WatchedRule, Watcher, session_key};
use super::window::slot_of;
use crate::{Record, Timestamp};

/// Limit of groups of all rules of a log.
pub const GROUPS_MAX: usize = 100_000;

/// Groups given up at once when there are too many: a tenth, so that the search for them is rare.
const GIVEN_UP_AT_ONCE: usize = GROUPS_MAX / 10;

/// Beyond so many observations those that only late events need are forgotten.
const OBSERVATIONS_SOFT_MAX: usize = 500_000;

/// Events between two looks at how much is kept.
const TIDY_EVERY: u64 = 16_384;

/// The same while more than half of all groups are taken. Each look goes through all of them.
const TIDY_EVERY_FULL: u64 = TIDY_EVERY / 4;

/// The time that rules take is measured on one event of so many: to ask for the time costs a tenth of
/// what a rule does with an event.
const MEASURED_EVERY: u32 = 61;

/// Limit of pairs of type and status that are remembered with their rules. There are some dozens,
/// unless a deployment adds names.
const PAIRS_MAX: usize = 1_000;

/// The group of the alert that tells of too many groups.
pub const OVERFLOW_GROUP: &str = r#"{"overflow":"groups"}"#;

/// The rules of one log, and what they keep of its events.
///
/// **Invariant.** What it tells depends on the events in the order of their ids, and on nothing
/// else: before an event with `created_at` c is taken in, every deadline up to c is judged at its
/// own time.
#[derive(Debug)]
pub struct Watch {
    watchers: Vec<Watcher>,
    /// The places of the rules that may look at events of a type and status.
    candidates: HashMap<(String, String), Candidates>,
    groups_max: usize,
    taken: u64,
    /// `taken` when it was tidied last.
    tidied: u64,
    /// Before so many were taken there cannot be too many groups: an event adds one at most.
    gives_up_next: u64,
    /// No deadline is earlier than this time, in microseconds.
    due_earliest: i64,
    overflow: Option<(i64, Episode)>,
    /// Groups given up because there were too many.
    given_up: u64,
    /// The log's clock, in microseconds.
    clock: i64,
}

/// Rules by the device or the application that they ask for.
#[derive(Debug, Default)]
struct Candidates {
    by_device: HashMap<String, Vec<usize>>,
    by_application: HashMap<String, Vec<usize>>,
    others: Vec<usize>,
}

/// How one rule fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleHealth {
    /// Groups in memory.
    pub groups: usize,
    /// Reads of the log for events that came too late for the memory.
    pub late_reads: u64,
    /// Such reads that left events out, because there were too many.
    pub late_reads_cut: u64,
    /// Groups of all rules that were given up because there were too many.
    pub groups_given_up: u64,
}

impl Watch {
    /// The rules, which are all enabled.
    pub fn new(rules: Vec<WatchedRule>) -> Self {
        Watch {
            watchers: rules.into_iter().map(Watcher::new).collect(),
            candidates: HashMap::new(),
            groups_max: GROUPS_MAX,
            taken: 0,
            tidied: 0,
            gives_up_next: 0,
            due_earliest: i64::MIN,
            overflow: None,
            given_up: 0,
            clock: 0,
        }
    }

    /// With another limit of groups.
    #[must_use]
    pub fn with_groups_max(mut self, groups_max: usize) -> Self {
        self.bound_groups(groups_max);
        self
    }

    /// Leaves room for so many groups from now on.
    pub fn bound_groups(&mut self, groups_max: usize) {
        let groups_max = groups_max.max(1);
        if groups_max != self.groups_max {
            (self.groups_max, self.gives_up_next) = (groups_max, 0);
        }
    }

    /// Takes in the next event of the log.
    ///
    /// # Errors
    /// Those of `history`. Then the state is undefined, and the watch must be made again.
    pub fn take<H: History>(
        &mut self,
        record: &Record,
        history: &mut H,
        output: &mut Output,
    ) -> Result<(), H::Error> {
        self.judge_until(record.created_at, output);
        let view = EventView::new(record);
        let is_measured = record.id.rem_euclid(i64::from(MEASURED_EVERY)) == 0;
        for place in self.candidates(record) {
            let watcher = &mut self.watchers[place];
            let begun = is_measured.then(|| history.elapsed());
            let is_taken = watcher.take(&view, history, output)?;
            if let Some(begun) = begun {
                watcher.spent += history.elapsed().saturating_sub(begun);
            }
            if is_taken {
                let due = watcher.next_deadline().unwrap_or(i64::MAX);
                self.due_earliest = self.due_earliest.min(due);
                self.bound(place, &view, output);
            }
        }
        Ok(())
    }

    /// What the rules need of the log before they can take in these events, which are the next ones.
    /// What is not handed over to [`Watch::grant`] is read when an event is taken in.
    pub fn wants(&mut self, records: &[Record]) -> Vec<Want> {
        let times = records.iter().map(|record| record.event.fields().timestamp.micros());
        let (Some(earliest), Some(first)) = (times.min(), records.first()) else {
            return Vec::new();
        };
        let may_want = |watcher: &&mut Watcher| {
            watcher.may_be_late(earliest)
                || matches!(watcher.watched.rule.kind(), Kind::FirstSeen { .. })
        };
        let mut some = self.watchers.iter_mut().filter(may_want).peekable();
        if some.peek().is_none() {
            return Vec::new();
        }
        let views: Vec<EventView<'_>> = records.iter().map(EventView::new).collect();
        some.flat_map(|watcher| watcher.wants(&views, first.id)).collect()
    }

    /// Keeps of some wanted events what their rule needs.
    pub fn collect(&self, want: &Want, records: &[Record], findings: &mut Findings) {
        let watcher = self.watchers.iter().find(|watcher| watcher.watched.number == want.rule);
        watcher.into_iter().for_each(|watcher| watcher.collect(want, records, findings));
    }

    /// Hands over what was wanted: what was found of its events, whether some were left out because
    /// they were too many, and the alerts of its group.
    pub fn grant(&mut self, want: Want, findings: Findings, is_cut: bool, alerts: Vec<Episode>) {
        let number = want.rule;
        if let Some(watcher) = self.watchers.iter_mut().find(|w| w.watched.number == number) {
            watcher.late_reads_cut += u64::from(is_cut);
            watcher.grant(want, findings, alerts);
        }
    }

    /// Takes a rule out, with all that is kept for it. It goes on on its own.
    pub fn release(&mut self, rule: i64) -> Option<Watch> {
        let place = self.watchers.iter().position(|watcher| watcher.watched.number == rule)?;
        let watcher = self.watchers.remove(place);
        self.candidates.clear();
        self.gives_up_next = 0;
        Some(Watch { watchers: vec![watcher], clock: self.clock, ..Watch::new(Vec::new()) })
    }

    /// Takes in rules that have taken in the same events.
    pub fn adopt(&mut self, other: Watch) {
        self.watchers.extend(other.watchers);
        self.watchers.sort_by_key(|watcher| watcher.watched.number);
        self.candidates.clear();
        self.given_up += other.given_up;
        self.clock = self.clock.max(other.clock);
        (self.gives_up_next, self.due_earliest) = (0, i64::MIN);
    }

    /// The time that each rule took since this was asked last, as far as it was measured: a small
    /// part of all, and the same part of each. It is multiplied to stand for all.
    pub fn spent(&mut self) -> Vec<(i64, Duration)> {
        let spent =
            |watcher: &mut Watcher| (watcher.watched.number, std::mem::take(&mut watcher.spent));
        let all = self.watchers.iter_mut().map(spent);
        all.map(|(rule, time)| (rule, time.saturating_mul(MEASURED_EVERY))).collect()
    }

    /// The numbers of the rules.
    pub fn rules(&self) -> impl Iterator<Item = i64> {
        self.watchers.iter().map(|watcher| watcher.watched.number)
    }

    /// Takes in an event that was taken in before, when the evaluation goes on after a start:
    /// nothing is told.
    pub fn recall(&mut self, record: &Record) {
        let mut output = Output { is_muted: true, ..Output::default() };
        let Ok(()) = self.take(record, &mut Nothing, &mut output);
    }

    /// Takes an alert that was told before. `first` is its first event.
    pub fn remember(&mut self, rule: i64, json: &str, episode: Episode, first: Option<&Record>) {
        if json == OVERFLOW_GROUP {
            self.overflow = Some((rule, episode));
            return;
        }
        let Some(watcher) = self.watchers.iter_mut().find(|w| w.watched.number == rule) else {
            return;
        };
        (self.gives_up_next, self.due_earliest) = (0, i64::MIN);
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).unwrap_or_default();
        let value =
            |field: &super::rule::Field| Some(object.get(&field.to_string())?.as_str()?.to_owned());
        let values: Option<Vec<String>> =
            watcher.watched.rule.group_by().iter().map(value).collect();
        let session = first.map(|record| session_key(&EventView::new(record)));
        if let Some(values) = values {
            watcher.remember(values, episode, session.unwrap_or_default());
        }
    }

    /// Says that the events from that id on were recalled, and with them all of that time or later.
    /// What lies before is read again from the log where a late event needs it.
    pub fn knows_since(&mut self, first_id: i64, time: Timestamp) {
        for watcher in &mut self.watchers {
            if watcher.watched.after_id + 1 < first_id {
                watcher.knows_since(time.micros());
            }
        }
    }

    /// Judges the deadlines up to that time, each at its own time.
    pub fn judge_until(&mut self, time: Timestamp, output: &mut Output) {
        if self.due_earliest <= time.micros() {
            let mut next = self.next();
            while let Some((due, place)) = next.filter(|(due, _)| *due <= time.micros()) {
                self.watchers[place].judge(due, output);
                next = self.next();
            }
            self.due_earliest = next.map_or(i64::MAX, |(due, _)| due);
        }
        self.clock = self.clock.max(time.micros());
    }

    /// The next deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.next().map(|(due, _)| Timestamp::from_micros(due))
    }

    fn next(&self) -> Option<(i64, usize)> {
        let due = |(place, watcher): (usize, &Watcher)| Some((watcher.next_deadline()?, place));
        self.watchers.iter().enumerate().filter_map(due).min()
    }

    /// How a rule fares.
    pub fn health(&self, rule: i64) -> RuleHealth {
        let of = self.watchers.iter().find(|watcher| watcher.watched.number == rule);
        RuleHealth {
            groups: of.map_or(0, Watcher::groups),
            late_reads: of.map_or(0, |watcher| watcher.late_reads),
            late_reads_cut: of.map_or(0, |watcher| watcher.late_reads_cut),
            groups_given_up: self.given_up,
        }
    }

    /// The groups of all rules.
    pub fn groups(&self) -> usize {
        self.watchers.iter().map(Watcher::groups).sum()
    }

    /// The rules that may look at an event, in order.
    fn candidates(&mut self, record: &Record) -> Vec<usize> {
        let fields = record.event.fields();
        let pair = (fields.connection_type.clone(), fields.status.clone());
        if !self.candidates.contains_key(&pair) {
            if self.candidates.len() >= PAIRS_MAX {
                self.candidates.clear();
            }
            let rules = self.watchers.iter().map(|watcher| &watcher.watched.rule);
            self.candidates.insert(pair.clone(), Candidates::of(rules, &pair));
        }
        let Some(all) = self.candidates.get(&pair) else { return Vec::new() };
        let mut places = all.others.clone();
        places.extend(all.by_device.get(&fields.device_id).into_iter().flatten());
        places.extend(all.by_application.get(&fields.application_id).into_iter().flatten());
        places.sort_unstable();
        places
    }

    /// Forgets what only events that are too late need. Call it now and then, when everything that
    /// was told is written: what is forgotten is read again from there.
    pub fn tidy(&mut self) {
        self.watchers.iter_mut().for_each(Watcher::forget_recalled);
        let is_full = self.groups() > self.groups_max / 2;
        let every = if is_full { TIDY_EVERY_FULL } else { TIDY_EVERY };
        if self.taken < self.tidied + every.min(self.groups_max as u64) {
            return;
        }
        self.tidied = self.taken;
        let kept: usize = self.watchers.iter().map(Watcher::observations).sum();
        if kept > OBSERVATIONS_SOFT_MAX || self.groups() > self.groups_max / 2 {
            let clock = self.clock;
            self.watchers.iter_mut().for_each(|watcher| watcher.forget(clock));
        }
    }

    /// Keeps the number of groups within its bound.
    fn bound(&mut self, place: usize, view: &EventView<'_>, output: &mut Output) {
        self.taken += 1;
        if self.taken < self.gives_up_next {
            return;
        }
        let room = self.groups_max.saturating_sub(self.groups());
        if room > 0 || self.groups() == self.groups_max {
            self.gives_up_next = self.taken + room as u64 + 1;
        } else {
            // A search for quiet groups goes through all of them: a hundredth may be too many
            // meanwhile.
            self.gives_up_next = self.taken + (self.groups_max / 100) as u64;
            let count = self.give_up();
            self.given_up += count;
            self.tell_overflow(place, view, count, output);
        }
    }

    /// Gives up the groups that were quiet for longest, and returns how many.
    fn give_up(&mut self) -> u64 {
        let mut all: Vec<(i64, usize, String)> = Vec::new();
        for (place, watcher) in self.watchers.iter().enumerate() {
            let names = watcher.unprotected();
            all.extend(names.map(|(touched, name)| (touched, place, name.clone())));
        }
        all.sort_unstable();
        let excess = self.groups().saturating_sub(self.groups_max);
        all.truncate(GIVEN_UP_AT_ONCE.min(self.groups_max / 10).max(excess).max(1));
        for (_, place, name) in &all {
            self.watchers[*place].give_up(name);
        }
        all.len() as u64
    }

    /// One alert a day says that groups were given up.
    fn tell_overflow(
        &mut self,
        place: usize,
        view: &EventView<'_>,
        count: u64,
        output: &mut Output,
    ) {
        if output.is_muted {
            return;
        }
        let time = view.created_at().micros();
        let slot = slot_of(time);
        let group = Arc::new(GroupKey {
            json: OVERFLOW_GROUP.to_owned(),
            hash: text_digest(OVERFLOW_GROUP).cast_signed(),
            values: Vec::new(),
        });
        let known = self.overflow.take().filter(|(_, episode)| episode.slot == slot);
        let watched = &self.watchers[place].watched;
        let number = known.as_ref().map_or(watched.number, |(number, _)| *number);
        let mut context = Context {
            rule: &watched.rule,
            number,
            group: &group,
            clock: time,
            floor: i64::MIN,
            event: view.id(),
            output,
        };
        let mark = Mark { time, digest: view.digest(), id: view.id() };
        let episode = match known {
            Some((_, mut episode)) => {
                episode.count += count;
                episode.end = time;
                episode.last = vec![mark];
                let is_told = episode.is_told();
                context.tell(What::Extended { is_told }, &episode);
                episode
            }
            None => {
                let mut episode = context.open(slot, mark, view.id());
                (episode.count, episode.told) = (count, (count, time));
                context.tell(What::Opened, &episode);
                episode
            }
        };
        self.overflow = Some((number, episode));
    }
}

impl Candidates {
    fn of<'a>(rules: impl Iterator<Item = &'a Rule>, pair: &(String, String)) -> Self {
        let mut all = Candidates::default();
        let passes =
            |wanted: &[String], value: &String| wanted.is_empty() || wanted.contains(value);
        for (place, rule) in rules.enumerate() {
            let filter = rule.filter();
            if !passes(&filter.connection_types, &pair.0) || !passes(&filter.statuses, &pair.1) {
                continue;
            }
            if !filter.device_ids.is_empty() {
                for name in &filter.device_ids {
                    all.by_device.entry(name.clone()).or_default().push(place);
                }
            } else if !filter.application_ids.is_empty() {
                for name in &filter.application_ids {
                    all.by_application.entry(name.clone()).or_default().push(place);
                }
            } else {
                all.others.push(place);
            }
        }
        all
    }
}

/// A history that is never asked.
struct Nothing;

impl History for Nothing {
    type Error = std::convert::Infallible;

    fn records(&mut self, _: &super::history::HistoryQuery) -> Result<Vec<Record>, Self::Error> {
        Ok(Vec::new())
    }

    fn episodes(
        &mut self,
        _: i64,
        _: &GroupKey,
        _: i64,
        _: i64,
    ) -> Result<Vec<Episode>, Self::Error> {
        Ok(Vec::new())
    }
}
