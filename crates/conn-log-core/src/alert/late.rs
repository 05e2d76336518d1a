//! Late events: what of the log must be read again before a rule can take them in.
//!
//! A rule keeps of each group the events after its *floor*. For an event before it, the events
//! around it are read again and kept beside the others, as a stretch of time that is known. After
//! that the event is like any other. Whoever evaluates rules can ask what the next events need
//! ([`super::Watch::wants`]), read it in bulk and in pieces, and hand it over
//! ([`super::Watch::grant`]). What nobody handed over is read when the event is taken in.

use std::collections::BTreeMap;

use super::episode::Episode;
use super::first_seen::Sighting;
use super::group::State;
use super::history::{History, HistoryQuery, narrowed};
use super::hits::Windowed;
use super::observation::Observation;
use super::output::GroupKey;
use super::rule::{Clock, Kind, SECOND};
use super::subjects::{Subject, Subjects, values};
use super::view::EventView;
use super::watcher::Watcher;
use crate::{EventFilter, Record, Timestamp};

/// Limit of events that are read again at once for one late event.
const NEIGHBORS_MAX: usize = 20_000;

/// Neighborhoods of a group that lie no further apart are read as one, if their reach is shorter.
const GAP_MAX: i64 = 60 * SECOND;

/// More neighborhoods of a group than this are read as one, however far apart they lie: each read of
/// a log looks through all events of the group, and a few large ones cost less. If that is too much,
/// ask for fewer events at once.
const STRETCHES_MAX: usize = 4;

/// Events of the log that a rule needs before it can take in some of the next ones.
#[derive(Clone, Debug)]
pub struct Want {
    /// The number of the rule.
    pub rule: i64,
    /// Events with higher ids.
    pub after_id: i64,
    /// Events with lower ids.
    pub before_id: i64,
    /// Events of this time or later, in microseconds.
    pub from: i64,
    /// Events before this time, in microseconds.
    pub until: i64,
    filter: EventFilter,
    subject: Subject,
    what: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    /// The events of a group, which make that stretch of its time known, and its alerts.
    Neighborhood { known: (i64, i64) },
    /// The alerts of a group alone.
    Silences,
    /// Whether there is an event with that combination of values.
    Sight(Sighting),
}

/// What was found of what is wanted.
#[derive(Debug, Default)]
pub struct Findings {
    observations: Vec<Observation>,
    /// The latest time at which the combination was seen, in microseconds.
    seen: Option<i64>,
}

impl Want {
    /// The filter of its events within a part of its time.
    pub fn filter_within(&self, from: i64, until: i64) -> EventFilter {
        let (since, until) = (Timestamp::from_micros(from), Timestamp::from_micros(until));
        let mut filter = self.filter.clone();
        filter.since = filter.since.max(Some(since));
        filter.until = Some(filter.until.map_or(until, |other| other.min(until)));
        filter
    }

    /// Whether it is about events at all.
    pub fn has_events(&self) -> bool {
        !matches!(self.what, Wanted::Silences)
    }

    /// Whether enough was found, so that the rest need not be read.
    pub fn is_met_by(&self, findings: &Findings) -> bool {
        matches!(self.what, Wanted::Sight(_)) && findings.seen.is_some()
    }

    /// The group whose alerts are wanted, too, and their time in microseconds, which the rule's cooldown
    /// widens.
    pub fn alerts(&self) -> Option<(&GroupKey, i64, i64)> {
        match &self.what {
            Wanted::Neighborhood { .. } | Wanted::Silences => {
                Some((&self.subject.key, self.from, self.until))
            }
            Wanted::Sight(_) => None,
        }
    }
}

impl Findings {
    /// The number of events that are kept.
    pub fn len(&self) -> usize {
        self.observations.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.observations.is_empty()
    }
}

/// The stretches of time of a group, before the floor, whose events are in memory. In order and
/// apart; both ends included, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<(i64, i64)>);

impl Known {
    /// Whether all events from one time to another are in memory, given that those of the floor or
    /// later are.
    fn covers(&self, from: i64, until: i64, floor: i64) -> bool {
        let holds = |(begin, end): &(i64, i64)| *begin <= from && (until <= *end || floor <= *end);
        self.0.iter().any(holds)
    }

    fn add(&mut self, stretch: (i64, i64)) {
        self.0.push(stretch);
        self.0 = joined(std::mem::take(&mut self.0), 0);
    }

    pub(super) fn forget_before(&mut self, time: i64) {
        self.0.retain_mut(|(begin, end)| {
            *begin = time.max(*begin);
            begin < end
        });
    }
}

/// Stretches of time in order, those joined that lie no further apart than `gap`.
fn joined(mut stretches: Vec<(i64, i64)>, gap: i64) -> Vec<(i64, i64)> {
    stretches.sort_unstable();
    let mut all: Vec<(i64, i64)> = Vec::new();
    for (begin, end) in stretches {
        match all.last_mut().filter(|last| begin <= last.1.saturating_add(gap)) {
            Some(last) => last.1 = last.1.max(end),
            None => all.push((begin, end)),
        }
    }
    all
}

impl Watcher {
    /// What these events, the next ones of the log, need of it. `before_id` is the id of the first.
    pub(super) fn wants(
        &mut self,
        views: &[EventView<'_>],
        before_id: i64,
        subjects: &mut Subjects,
    ) -> Vec<Want> {
        self.seen.begin();
        match self.watched.rule.kind {
            Kind::FirstSeen { .. } => self.wants_sights(views, before_id, subjects),
            _ => self.wants_neighborhoods(views, before_id, subjects),
        }
    }

    /// The time that the rule looks back at from an event: what lies there must be in memory. `None`
    /// if it takes events as they come.
    fn looks_back(&self) -> Option<i64> {
        let rule = &self.watched.rule;
        match rule.kind {
            Kind::FailureBurst { .. }
            | Kind::DistinctCount { .. }
            | Kind::Sequence { .. }
            | Kind::Flapping { .. }
            | Kind::ImpossibleTravel { .. }
            | Kind::Match(_)
                if rule.clock == Clock::Event =>
            {
                Some(rule.reach_micros())
            }
            Kind::Silence { .. } => Some(0),
            _ => None,
        }
    }

    /// Whether an event of that time may be too late for the memory.
    pub(super) fn may_be_late(&self, time: i64) -> bool {
        self.looks_back().is_some_and(|reach| time.saturating_sub(reach) < self.floor)
    }

    /// The stretch of a group's time that an event needs and that is not in memory.
    fn lacks(&self, time: i64, subject: &Subject) -> Option<(i64, i64)> {
        let reach = self.looks_back()?;
        let (from, until) = (time.saturating_sub(reach), time.saturating_add(reach));
        let group = self.groups.get(subject.id);
        let is_known = group.is_some_and(|group| group.known.covers(from, until, self.floor));
        (!is_known).then_some((from, until))
    }

    fn wants_neighborhoods(
        &self,
        views: &[EventView<'_>],
        before_id: i64,
        subjects: &mut Subjects,
    ) -> Vec<Want> {
        let Some(reach) = self.looks_back() else { return Vec::new() };
        let mut all: BTreeMap<u64, (Subject, Vec<(i64, i64)>)> = BTreeMap::new();
        for view in views {
            let time = view.time(self.watched.rule.clock).micros();
            if !self.may_be_late(time) || self.observe(view).is_none() {
                continue;
            }
            let Some(subject) = subjects.of(self.grouping, view) else { continue };
            if let Some(lacks) = self.lacks(time, subject) {
                all.entry(subject.id)
                    .or_insert_with(|| (subject.clone(), Vec::new()))
                    .1
                    .push(lacks);
            }
        }
        let gap = (2 * reach).max(GAP_MAX);
        let of_group = |(subject, stretches): (Subject, Vec<(i64, i64)>)| {
            let mut stretches = joined(stretches, gap);
            if stretches.len() > STRETCHES_MAX {
                stretches = joined(stretches, i64::MAX);
            }
            let want = |one| self.wants_neighborhood(&subject, one, before_id);
            stretches.into_iter().map(want).collect::<Vec<_>>()
        };
        all.into_values().flat_map(of_group).collect()
    }

    fn wants_neighborhood(&self, subject: &Subject, known: (i64, i64), before_id: i64) -> Want {
        let rule = &self.watched.rule;
        let reach = self.looks_back().unwrap_or(0);
        let values = subject.key.values.iter().map(String::as_str);
        // Which events at its ends are counted in an alert depends on events beyond them.
        Want {
            rule: self.watched.number,
            after_id: self.watched.after_id,
            before_id,
            from: known.0.saturating_sub(reach),
            until: known.1.saturating_add(reach + 1),
            filter: narrowed(rule, rule.group_by.iter().zip(values)),
            subject: subject.clone(),
            what: match rule.kind {
                Kind::Silence { .. } => Wanted::Silences,
                _ => Wanted::Neighborhood { known },
            },
        }
    }

    fn wants_sights(
        &self,
        views: &[EventView<'_>],
        before_id: i64,
        subjects: &mut Subjects,
    ) -> Vec<Want> {
        let mut wants: BTreeMap<u64, Want> = BTreeMap::new();
        for view in views.iter().filter(|view| self.observe(view).is_some()) {
            let Some(subject) = subjects.of(self.grouping, view) else { continue };
            let Some(sighting) = Sighting::of(&self.watched, view, &subject.key) else { continue };
            if sighting.is_learning || self.seen.has(&sighting) {
                continue;
            }
            let since = sighting.since;
            let number = sighting.number;
            let want = wants
                .entry(number)
                .or_insert_with(|| self.wants_sight(subject, sighting, before_id));
            want.from = want.from.min(since);
        }
        wants.into_values().collect()
    }

    fn wants_sight(&self, subject: &Subject, sighting: Sighting, before_id: i64) -> Want {
        let rule = &self.watched.rule;
        let texts = sighting.values.iter().map(String::as_str);
        Want {
            rule: self.watched.number,
            // What the log had before the rule is not new either.
            after_id: 0,
            before_id,
            from: sighting.since,
            until: i64::MAX,
            filter: narrowed(rule, Sighting::fields(rule).zip(texts)),
            subject: subject.clone(),
            what: Wanted::Sight(sighting),
        }
    }

    /// Keeps what some of the wanted events say.
    pub(super) fn collect(&self, want: &Want, records: &[Record], findings: &mut Findings) {
        let rule = &self.watched.rule;
        for record in records {
            let view = EventView::new(record);
            match &want.what {
                Wanted::Neighborhood { .. } => {
                    let key = &want.subject.key;
                    let is_of = values(&rule.group_by, &view).as_ref() == Some(&key.values);
                    findings.observations.extend(is_of.then(|| self.observe(&view)).flatten());
                }
                Wanted::Sight(sighting) if sighting.is_seen_in(rule, &view) => {
                    findings.seen = findings.seen.max(Some(view.time(rule.clock).micros()));
                }
                Wanted::Sight(_) | Wanted::Silences => {}
            }
        }
    }

    /// Takes over what was wanted.
    pub(super) fn grant(&mut self, want: Want, mut findings: Findings, alerts: Vec<Episode>) {
        self.late_reads += 1;
        let rule = &self.watched.rule;
        if let Wanted::Sight(sighting) = &want.what {
            self.seen.note(sighting.number, findings.seen);
            return;
        }
        self.groups.of(&want.subject, rule, 0);
        self.recalled += findings.observations.len();
        findings.observations.sort_unstable_by_key(Observation::key);
        self.groups.change(want.subject.id, |group| match (&mut group.state, want.what) {
            (State::Windowed(kept), Wanted::Neighborhood { known }) => {
                let mut around = Windowed::new(rule);
                findings.observations.into_iter().for_each(|one| around.recall(rule, one));
                kept.merge(rule, &around, known);
                kept.remember_all(alerts);
                group.known.add(known);
            }
            (State::Silence(silence), Wanted::Silences) => {
                alerts.into_iter().for_each(|episode| silence.remember(episode));
                group.known.add((want.from, want.until));
            }
            _ => {}
        });
    }

    /// Reads what an event needs, and nobody has handed over.
    pub(super) fn read_again<H: History>(
        &mut self,
        view: &EventView<'_>,
        time: i64,
        subject: &Subject,
        history: &mut H,
    ) -> Result<(), H::Error> {
        match self.lacks(time, subject) {
            Some(lacks) => {
                self.read_want(self.wants_neighborhood(subject, lacks, view.id()), history)
            }
            None => Ok(()),
        }
    }

    /// Whether an event is not left out: of rules of other kinds none is, and of these an event whose
    /// combination was seen before.
    pub(super) fn is_new<H: History>(
        &mut self,
        view: &EventView<'_>,
        time: i64,
        subject: &Subject,
        history: &mut H,
        is_muted: bool,
    ) -> Result<bool, H::Error> {
        if !matches!(self.watched.rule.kind, Kind::FirstSeen { .. }) {
            return Ok(true);
        }
        let Some(sighting) = Sighting::of(&self.watched, view, &subject.key) else {
            return Ok(false);
        };
        let number = sighting.number;
        let is_new = !sighting.is_learning && !is_muted && !self.seen.has(&sighting) && {
            if !self.seen.is_absent(number) {
                let want = self.wants_sight(subject, sighting.clone(), view.id());
                self.read_want(want, history)?;
            }
            !self.seen.has(&sighting)
        };
        self.seen.note(number, Some(time));
        Ok(is_new)
    }

    fn read_want<H: History>(&mut self, want: Want, history: &mut H) -> Result<(), H::Error> {
        let mut findings = Findings::default();
        if want.has_events() {
            let query = HistoryQuery {
                filter: want.filter_within(want.from, want.until),
                after_id: want.after_id,
                before_id: want.before_id,
                limit: NEIGHBORS_MAX,
            };
            let records = history.records(&query)?;
            self.late_reads_cut += u64::from(records.len() >= NEIGHBORS_MAX);
            self.collect(&want, &records, &mut findings);
        }
        let cooldown = self.watched.rule.cooldown_micros();
        let alerts = match want.alerts() {
            Some((group, from, until)) => {
                history.episodes(want.rule, group, from - cooldown, until + cooldown)?
            }
            None => Vec::new(),
        };
        self.grant(want, findings, alerts);
        Ok(())
    }

    /// Forgets the events that were read again, if they are many. Only when everything that was told
    /// is written.
    pub(super) fn forget_recalled(&mut self) {
        if self.recalled <= RECALLED_MAX {
            return;
        }
        let (floor, rule) = (self.floor, &self.watched.rule);
        self.groups.retain(|group| {
            group.known.forget_before(floor);
            match &mut group.state {
                State::Windowed(windowed) => {
                    windowed.forget_before(floor, floor - rule.cooldown_micros());
                    !windowed.is_empty()
                }
                _ => true,
            }
        });
        self.recalled = 0;
    }
}

/// Events that were read again and that a rule keeps: some megabytes.
const RECALLED_MAX: usize = 100_000;
