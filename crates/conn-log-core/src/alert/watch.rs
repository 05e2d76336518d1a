//! All rules of one log: which of them look at an event, when deadlines pass, and how much is kept.

use std::time::Duration;

use super::candidates::Candidates;
use super::episode::Episode;
use super::history::{History, NoHistory};
use super::late::{Findings, Want};
use super::output::Output;
use super::overflow::{self, OVERFLOW_GROUP, Overflow};
use super::rule::{Field, Kind};
use super::sessions::session_key;
use super::subjects::Subjects;
use super::view::EventView;
use super::watcher::{WatchedRule, Watcher};
use crate::{Record, Timestamp};

/// Limit of groups of all rules of a log.
const GROUPS_MAX: usize = 100_000;

/// Groups given up at once when there are too many: a tenth, so that the search for them is rare.
const GIVEN_UP_AT_ONCE: usize = GROUPS_MAX / 10;

/// Limit of the memory of all rules of a log, in bytes, by the estimates below.
const BYTES_MAX: usize = 128 << 20;

/// Memory of a subject with its key, of a group without its observations, and of an observation with
/// the room that its chunk keeps free. Measured, and rounded up.
const SUBJECT_BYTES: usize = 500;
const GROUP_BYTES: usize = 500;
const OBSERVATION_BYTES: usize = 100;

/// Beyond so many observations those that only late events need are forgotten.
const OBSERVATIONS_SOFT_MAX: usize = 500_000;

/// The time that rules take is measured on one event of so many: to ask for the time costs a tenth of
/// what a rule does with an event.
const MEASURED_EVERY: u32 = 61;

/// The rules of one log, and what they keep of its events.
///
/// **Invariant.** What it tells depends on the events in the order of their ids, and on nothing
/// else: before an event with `created_at` c is taken in, every deadline up to c is judged at its
/// own time.
#[derive(Debug)]
pub struct Watch {
    watchers: Vec<Watcher>,
    subjects: Subjects,
    candidates: Candidates,
    /// Room for the places of an event's candidates.
    places: Vec<usize>,
    groups_max: usize,
    bytes_max: usize,
    taken: u64,
    /// Before so many were taken there cannot be too much: an event adds a group and an observation
    /// at most.
    bounds_next: u64,
    /// No deadline is earlier than this time, in microseconds.
    due_earliest: i64,
    overflow: Overflow,
    /// The log's clock, in microseconds.
    clock: i64,
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
        let mut subjects = Subjects::default();
        let watcher = |watched: WatchedRule| {
            let grouping = subjects.grouping(watched.rule.group_by());
            Watcher::new(watched, grouping)
        };
        Watch {
            watchers: rules.into_iter().map(watcher).collect(),
            subjects,
            candidates: Candidates::default(),
            places: Vec::new(),
            groups_max: GROUPS_MAX,
            bytes_max: BYTES_MAX,
            taken: 0,
            bounds_next: 0,
            due_earliest: i64::MIN,
            overflow: Overflow::default(),
            clock: 0,
        }
    }

    /// With another limit of groups.
    #[must_use]
    pub fn with_groups_max(self, groups_max: usize) -> Self {
        Watch { groups_max: groups_max.max(1), ..self }
    }

    /// Leaves room for so many groups and bytes of the same log that are kept elsewhere.
    pub fn leave_room(&mut self, groups: usize, bytes: usize) {
        let groups_max = GROUPS_MAX.saturating_sub(groups).max(1);
        let bytes_max = BYTES_MAX.saturating_sub(bytes).max(BYTES_MAX / 8);
        if (groups_max, bytes_max) != (self.groups_max, self.bytes_max) {
            (self.groups_max, self.bytes_max, self.bounds_next) = (groups_max, bytes_max, 0);
        }
    }

    /// With another limit of memory, in bytes.
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: usize) -> Self {
        Watch { bytes_max, ..self }
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
        let mut places = std::mem::take(&mut self.places);
        let rules = self.watchers.iter().map(|watcher| &watcher.watched.rule);
        self.candidates.find(view.fields(), rules, &mut places);
        let is_measured = record.id.rem_euclid(i64::from(MEASURED_EVERY)) == 0;
        for place in places.iter().copied() {
            let watcher = &mut self.watchers[place];
            let Some(new) = watcher.observe(&view) else { continue };
            let Some(subject) = self.subjects.of(watcher.grouping, &view) else { continue };
            let begun = is_measured.then(|| history.elapsed());
            let is_taken = watcher.take(&view, new, subject, history, output)?;
            if let Some(begun) = begun {
                watcher.spent += history.elapsed().saturating_sub(begun);
            }
            if is_taken {
                let due = watcher.due_earliest().unwrap_or(i64::MAX);
                self.due_earliest = self.due_earliest.min(due);
                self.bound(place, &view, output);
            }
        }
        self.places = places;
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
        some.flat_map(|watcher| watcher.wants(&views, first.id, &mut self.subjects)).collect()
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
        self.candidates = Candidates::default();
        self.bounds_next = 0;
        let mut alone = Watch { clock: self.clock, ..Watch::new(Vec::new()) };
        alone.add(watcher);
        Some(alone)
    }

    /// Takes in rules that have taken in the same events.
    pub fn adopt(&mut self, other: Watch) {
        other.watchers.into_iter().for_each(|watcher| self.add(watcher));
        self.watchers.sort_by_key(|watcher| watcher.watched.number);
        self.candidates = Candidates::default();
        self.overflow.given_up += other.overflow.given_up;
        self.clock = self.clock.max(other.clock);
        (self.bounds_next, self.due_earliest) = (0, i64::MIN);
    }

    /// Adds a rule whose subjects are those of another watch.
    fn add(&mut self, mut watcher: Watcher) {
        watcher.grouping = self.subjects.grouping(watcher.watched.rule.group_by());
        let (subjects, grouping) = (&mut self.subjects, watcher.grouping);
        watcher.groups.renumber(|key| subjects.with(grouping, key.values.clone()));
        self.watchers.push(watcher);
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
        let Ok(()) = self.take(record, &mut NoHistory, &mut output);
    }

    /// Takes an alert that was told before. `first` is its first event.
    pub fn remember(&mut self, rule: i64, json: &str, episode: Episode, first: Option<&Record>) {
        if json == OVERFLOW_GROUP {
            self.overflow.remember(rule, episode);
            return;
        }
        let Some(watcher) = self.watchers.iter_mut().find(|w| w.watched.number == rule) else {
            return;
        };
        (self.bounds_next, self.due_earliest) = (0, i64::MIN);
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).unwrap_or_default();
        let value = |field: &Field| Some(object.get(&field.to_string())?.as_str()?.to_owned());
        let values: Option<Vec<String>> =
            watcher.watched.rule.group_by().iter().map(value).collect();
        let session = first.map(|record| session_key(&EventView::new(record)));
        if let Some(values) = values {
            let subject = self.subjects.with(watcher.grouping, values);
            watcher.remember(&subject, episode, session.unwrap_or_default());
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

    /// Judges what the rules would have found by now of a time that ended at `until`: they would have
    /// waited for late events. Beacons are scored at its end, too.
    pub fn judge_end(&mut self, until: Timestamp, now: Timestamp, output: &mut Output) {
        let lateness = self.watchers.iter().map(|watcher| watcher.watched.rule.lateness_micros());
        let waited = until.micros().saturating_add(lateness.max().unwrap_or(0));
        self.judge_until(Timestamp::from_micros(waited.min(now.micros())), output);
        let (until, clock) = (until.min(now).micros(), self.clock);
        self.watchers.iter_mut().for_each(|watcher| watcher.score_until(until, clock, output));
    }

    /// The next deadline.
    pub fn next_deadline(&mut self) -> Option<Timestamp> {
        self.next().map(|(due, _)| Timestamp::from_micros(due))
    }

    fn next(&mut self) -> Option<(i64, usize)> {
        let due = |(place, watcher): (usize, &mut Watcher)| Some((watcher.next_deadline()?, place));
        self.watchers.iter_mut().enumerate().filter_map(due).min()
    }

    /// How a rule fares.
    pub fn health(&self, rule: i64) -> RuleHealth {
        let of = self.watchers.iter().find(|watcher| watcher.watched.number == rule);
        RuleHealth {
            groups: of.map_or(0, |watcher| watcher.groups.len()),
            late_reads: of.map_or(0, |watcher| watcher.late_reads),
            late_reads_cut: of.map_or(0, |watcher| watcher.late_reads_cut),
            groups_given_up: self.overflow.given_up,
        }
    }

    /// The groups of all rules.
    pub fn groups(&self) -> usize {
        self.watchers.iter().map(|watcher| watcher.groups.len()).sum()
    }

    /// The memory that the rules take, in bytes: an estimate that is rather too high.
    pub fn bytes(&self) -> usize {
        let observations = self.observations() * OBSERVATION_BYTES;
        self.subjects.len() * SUBJECT_BYTES + self.groups() * GROUP_BYTES + observations
    }

    fn observations(&self) -> usize {
        self.watchers.iter().map(|watcher| watcher.groups.observations()).sum()
    }

    /// Forgets what only events that are too late need. Call it now and then, when everything that
    /// was told is written: what is forgotten is read again from there.
    pub fn tidy(&mut self) {
        self.watchers.iter_mut().for_each(Watcher::forget_recalled);
        if self.observations() > OBSERVATIONS_SOFT_MAX || self.groups() > self.groups_max / 2 {
            let clock = self.clock;
            self.watchers.iter_mut().for_each(|watcher| watcher.forget(clock));
        }
    }

    /// Keeps groups and memory within their bounds.
    fn bound(&mut self, place: usize, view: &EventView<'_>, output: &mut Output) {
        self.taken += 1;
        if self.taken < self.bounds_next {
            return;
        }
        let (groups, bytes) = (self.groups(), self.bytes());
        if groups <= self.groups_max && bytes <= self.bytes_max {
            let room = (self.bytes_max - bytes) / (SUBJECT_BYTES + GROUP_BYTES + OBSERVATION_BYTES);
            self.bounds_next = self.taken + room.min(self.groups_max - groups) as u64 + 1;
            return;
        }
        // A search goes through all groups: a hundredth may be too many meanwhile.
        self.bounds_next = self.taken + (self.groups_max / 100) as u64;
        let mut count = 0;
        // An eighth more than too many, so that the next search is not at once.
        let wanted = self.bytes_max - self.bytes_max / 8;
        if bytes > self.bytes_max {
            let excess = (bytes - wanted).div_ceil(OBSERVATION_BYTES);
            count += overflow::cut_busiest(&mut self.watchers, excess);
        }
        let excess = (groups.saturating_sub(self.groups_max))
            .max(self.bytes().saturating_sub(self.bytes_max) / GROUP_BYTES);
        if excess > 0 {
            let at_once = GIVEN_UP_AT_ONCE.min(self.groups_max / 10).max(excess);
            // What is half way to an alert stays, unless there is no end of it.
            let is_urgent = groups > 2 * self.groups_max || bytes > 2 * self.bytes_max;
            count += overflow::give_up_quietest(&mut self.watchers, at_once, is_urgent);
            self.subjects.forget_unused();
        }
        self.overflow.tell(count, &self.watchers[place].watched, view, output);
    }
}
