//! Late events: what of the log must be read again before a rule can take them in.
//!
//! A rule keeps of each group the events after its *floor*. For an event before it, the events
//! around it are read again and kept beside the others, as a stretch of time that is known. After
//! that the event is like any other. Whoever evaluates rules can ask what the next events need
//! ([`super::Watch::wants`]), read it in bulk and in pieces, and hand it over
//! ([`super::Watch::grant`]). What nobody handed over is read when the event is taken in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::episode::Episode;
use super::history::{History, HistoryQuery, narrowed};
use super::output::GroupKey;
use super::rule::{Clock, Field, Kind, SECOND};
use super::view::EventView;
use super::watcher::{State, Watcher, find, group_name, key, values};
use super::window::{Observation, Window};
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
    values: Vec<String>,
    what: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    /// The events of a group, which make that stretch of its time known, and its alerts.
    Neighborhood { group: Arc<GroupKey>, known: (i64, i64) },
    /// The alerts of a group alone.
    Silences { group: Arc<GroupKey> },
    /// Whether there is an event with these values of the rule's fields.
    Sight { digest: u64, others: Vec<String> },
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
        !matches!(self.what, Wanted::Silences { .. })
    }

    /// Whether enough was found, so that the rest need not be read.
    pub fn is_met_by(&self, findings: &Findings) -> bool {
        matches!(self.what, Wanted::Sight { .. }) && findings.seen.is_some()
    }

    /// The group whose alerts are wanted, too, and their time in microseconds, which the rule's cooldown
    /// widens.
    pub fn alerts(&self) -> Option<(&GroupKey, i64, i64)> {
        match &self.what {
            Wanted::Neighborhood { group, .. } | Wanted::Silences { group } => {
                Some((group, self.from, self.until))
            }
            Wanted::Sight { .. } => None,
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

/// A combination of values that a rule for new ones looks at.
pub(super) struct Sighting {
    pub(super) digest: u64,
    others: Vec<String>,
    /// A combination of this time or later is known, in microseconds.
    pub(super) since: i64,
    pub(super) is_learning: bool,
}

impl Watcher {
    /// What these events, the next ones of the log, need of it. `before_id` is the id of the first.
    pub(super) fn wants(&mut self, views: &[EventView<'_>], before_id: i64) -> Vec<Want> {
        self.absent.clear();
        match self.rule().kind {
            Kind::FirstSeen { .. } => self.wants_sights(views, before_id),
            _ => self.wants_neighborhoods(views, before_id),
        }
    }

    /// The time that the rule looks back at from an event: what lies there must be in memory. `None`
    /// if it takes events as they come.
    fn looks_back(&self) -> Option<i64> {
        match self.rule().kind {
            Kind::FailureBurst { .. }
            | Kind::DistinctCount { .. }
            | Kind::Sequence { .. }
            | Kind::Flapping { .. }
            | Kind::ImpossibleTravel { .. }
            | Kind::Match(_)
                if self.rule().clock == Clock::Event =>
            {
                Some(self.rule().reach_micros())
            }
            Kind::Silence { .. } => Some(0),
            _ => None,
        }
    }

    /// Whether an event of that time may be too late for the memory.
    pub(super) fn may_be_late(&self, time: i64) -> bool {
        self.looks_back().is_some_and(|reach| time.saturating_sub(reach) < self.floor)
    }

    fn wants_neighborhoods(&self, views: &[EventView<'_>], before_id: i64) -> Vec<Want> {
        let Some(reach) = self.looks_back() else { return Vec::new() };
        let rule = self.rule();
        let mut stretches: BTreeMap<Vec<String>, Vec<(i64, i64)>> = BTreeMap::new();
        for view in views {
            let time = view.time(rule.clock).micros();
            if !self.may_be_late(time) || !self.admits(view) {
                continue;
            }
            let Some(values) = values(rule, view) else { continue };
            let (from, until) = (time.saturating_sub(reach), time.saturating_add(reach));
            let group = self.groups.get(&group_name(&values));
            if !group.is_some_and(|group| group.known.covers(from, until, self.floor)) {
                stretches.entry(values).or_default().push((from, until));
            }
        }
        let want = |values: &Vec<String>, (from, until): (i64, i64)| {
            let group = Arc::new(key(rule, values.clone()));
            let what = match rule.kind {
                Kind::Silence { .. } => Wanted::Silences { group },
                _ => Wanted::Neighborhood { group, known: (from, until) },
            };
            // Which events at its ends are counted in an alert depends on events beyond them.
            Want {
                rule: self.watched.number,
                after_id: self.watched.after_id,
                before_id,
                from: from.saturating_sub(reach),
                until: until.saturating_add(reach + 1),
                filter: narrowed(rule, rule.group_by.iter().zip(values.iter().map(String::as_str))),
                values: values.clone(),
                what,
            }
        };
        let gap = (2 * reach).max(GAP_MAX);
        let of_group = |(values, stretches): (Vec<String>, Vec<(i64, i64)>)| {
            let mut stretches = joined(stretches, gap);
            if stretches.len() > STRETCHES_MAX {
                stretches = joined(stretches, i64::MAX);
            }
            stretches.into_iter().map(|one| want(&values, one)).collect::<Vec<_>>()
        };
        stretches.into_iter().flat_map(of_group).collect()
    }

    fn wants_sights(&self, views: &[EventView<'_>], before_id: i64) -> Vec<Want> {
        let mut wants: BTreeMap<u64, Want> = BTreeMap::new();
        for view in views.iter().filter(|view| self.admits(view)) {
            let Some(values) = values(self.rule(), view) else { continue };
            let Some(sighting) = self.sighting(view, &values) else { continue };
            let known = self.seen.get(&sighting.digest);
            if sighting.is_learning || known.is_some_and(|latest| *latest >= sighting.since) {
                continue;
            }
            let since = sighting.since;
            let want = wants
                .entry(sighting.digest)
                .or_insert_with(|| self.wants_sight(&values, sighting, before_id));
            want.from = want.from.min(since);
        }
        wants.into_values().collect()
    }

    pub(super) fn wants_sight(&self, values: &[String], of: Sighting, before_id: i64) -> Want {
        let rule = self.rule();
        let fields = self.fields_seen();
        let texts = values.iter().chain(&of.others).map(String::as_str);
        Want {
            rule: self.watched.number,
            // What the log had before the rule is not new either.
            after_id: 0,
            before_id,
            from: of.since,
            until: i64::MAX,
            filter: narrowed(rule, fields.into_iter().zip(texts)),
            values: values.to_vec(),
            what: Wanted::Sight { digest: of.digest, others: of.others },
        }
    }

    /// The fields whose values make up a combination.
    fn fields_seen(&self) -> Vec<&Field> {
        let rule = self.rule();
        match &rule.kind {
            Kind::FirstSeen { of, .. } => rule.group_by.iter().chain(of).collect(),
            _ => Vec::new(),
        }
    }

    /// The combination that an event has; `None` if it lacks a field.
    pub(super) fn sighting(&self, view: &EventView<'_>, values: &[String]) -> Option<Sighting> {
        let Kind::FirstSeen { of, learning_seconds, forget_after_days } = &self.rule().kind else {
            return None;
        };
        let others: Option<Vec<String>> =
            of.iter().map(|field| view.value(field).map(std::borrow::Cow::into_owned)).collect();
        let others = others?;
        let parts: Vec<&str> = values.iter().chain(&others).map(String::as_str).collect();
        let digest = super::view::text_digest(&parts.join("\0"));
        let forget = i64::from(*forget_after_days) * 86_400 * SECOND;
        let learnt = self.watched.since + i64::from(*learning_seconds) * SECOND;
        Some(Sighting {
            digest,
            others,
            since: view.time(self.rule().clock).micros().saturating_sub(forget),
            is_learning: view.created_at().micros() < learnt,
        })
    }

    /// Keeps what some of the wanted events say.
    pub(super) fn collect(&self, want: &Want, records: &[Record], findings: &mut Findings) {
        let rule = self.rule();
        for record in records {
            let view = EventView::new(record);
            match &want.what {
                Wanted::Neighborhood { .. } => {
                    let is_of =
                        self.admits(&view) && values(rule, &view).as_ref() == Some(&want.values);
                    findings.observations.extend(is_of.then(|| self.observation(&view)).flatten());
                }
                Wanted::Sight { others, .. } => {
                    let wanted = want.values.iter().chain(others);
                    let mut fields = self.fields_seen().into_iter().zip(wanted);
                    let is_left_out =
                        rule.exclude.as_ref().is_some_and(|exclude| view.passes(exclude));
                    if !is_left_out
                        && fields.all(|(field, text)| view.value(field).is_some_and(|v| v == *text))
                    {
                        let time = view.time(rule.clock).micros();
                        findings.seen = findings.seen.max(Some(time));
                    }
                }
                Wanted::Silences { .. } => {}
            }
        }
    }

    /// Takes over what was wanted.
    pub(super) fn grant(&mut self, want: Want, findings: Findings, alerts: Vec<Episode>) {
        self.late_reads += 1;
        match want.what {
            Wanted::Neighborhood { group, known } => {
                let read = self.recount(findings.observations);
                self.recalled += read.len();
                let count_repeats = self.rule().count_repeats;
                let kept = self.group_mut(&group);
                let State::Window { window, episodes } = &mut kept.state else { return };
                window.merge(read.within(known), count_repeats);
                for episode in alerts {
                    if !episodes.iter().any(|other| other.alert == episode.alert) {
                        episodes.push(episode);
                    }
                }
                kept.known.add(known);
            }
            Wanted::Silences { group } => {
                let kept = self.group_mut(&group);
                kept.known.add((want.from, want.until));
                let State::Silence(silence) = &mut kept.state else { return };
                alerts.into_iter().for_each(|episode| silence.remember(episode));
            }
            Wanted::Sight { digest, .. } => {
                self.see(digest, findings.seen);
            }
        }
    }

    /// A window of events that were read again, with those marked that are counted in an alert.
    fn recount(&self, mut observations: Vec<Observation>) -> Window {
        let rule = self.rule();
        observations.sort_unstable_by_key(|other| (other.time, other.digest, other.id));
        let mut window = Window::new(false);
        for observation in observations {
            if let Some(place) = window.insert(observation, rule.count_repeats) {
                for found in find(rule, &window, place) {
                    window.count(found.slot, &found.members);
                }
            }
        }
        window
    }

    /// Reads what an event needs, and nobody has handed over.
    pub(super) fn read_again<H: History>(
        &mut self,
        view: &EventView<'_>,
        history: &mut H,
    ) -> Result<(), H::Error> {
        for want in self.wants_neighborhoods(std::slice::from_ref(view), view.id()) {
            self.read_want(want, history)?;
        }
        Ok(())
    }

    pub(super) fn read_want<H: History>(
        &mut self,
        want: Want,
        history: &mut H,
    ) -> Result<(), H::Error> {
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
        let cooldown = self.rule().cooldown_micros();
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
        let (floor, cooldown) = (self.floor, self.rule().cooldown_micros());
        self.groups.retain(|_, group| {
            group.known.forget_before(floor);
            let State::Window { window, episodes } = &mut group.state else { return true };
            window.forget_before(floor);
            episodes.retain(|episode| episode.end >= floor - cooldown);
            window.len() > 0 || !episodes.is_empty()
        });
        self.recalled = 0;
    }
}

/// Events that were read again and that a rule keeps: some megabytes.
const RECALLED_MAX: usize = 100_000;
