//! The evaluation of one rule: its groups, and what an event or a deadline does to them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::context::Context;
use super::episode::{Applied, Episode, apply};
use super::history::History;
use super::late::Known;
use super::output::{GroupKey, Output, What};
use super::rule::{Clock, Kind, Rule};
use super::sessions::{Sessions, Step};
use super::silence::Silence;
use super::view::{EventView, text_digest};
use super::volume::{Recent, Volume};
use super::window::{Detail, Finder, Found, Observation, Window};
use super::{beaconing, counting, sequence, travel};

/// Combinations that are remembered as seen. Others are looked up in the log.
const SEEN_MAX: usize = 100_000;

/// A rule that is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchedRule {
    /// Its number.
    pub number: i64,
    /// The rule.
    pub rule: Rule,
    /// It looks at events with higher ids only.
    pub after_id: i64,
    /// The time at which it began, in microseconds: learning begins then.
    pub since: i64,
}

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) watched: WatchedRule,
    rule: Arc<Rule>,
    pub(super) groups: HashMap<String, Group>,
    deadlines: BTreeSet<(i64, String)>,
    /// All observations of this time or later are in memory, in microseconds.
    pub(super) floor: i64,
    /// The next time that beacons are scored.
    scored_next: Option<i64>,
    /// Combinations that were seen, with the latest time.
    pub(super) seen: HashMap<u64, i64>,
    /// The last events, for kinds that count them and forget them.
    recent: Recent,
    /// Combinations of the next events that the log does not have before them.
    pub(super) absent: HashSet<u64>,
    /// Events before the floor that were read again and are in memory.
    pub(super) recalled: usize,
    /// The measured part of the time that it took.
    pub(super) spent: Duration,
    /// Reads of the log for late events.
    pub(super) late_reads: u64,
    /// Reads that left events out, because there were too many.
    pub(super) late_reads_cut: u64,
}

#[derive(Debug)]
pub(super) struct Group {
    key: Arc<GroupKey>,
    pub(super) state: State,
    /// The stretches of time before the floor that are in memory, too.
    pub(super) known: Known,
    /// The log's clock when it had its last event.
    touched: i64,
    deadline: Option<i64>,
}

#[derive(Debug)]
pub(super) enum State {
    Window { window: Window, episodes: Vec<Episode> },
    Silence(Silence),
    Sessions(Sessions),
    Volume(Volume),
}

impl Watcher {
    pub(super) fn new(watched: WatchedRule) -> Self {
        Watcher {
            rule: Arc::new(watched.rule.clone()),
            watched,
            groups: HashMap::new(),
            deadlines: BTreeSet::new(),
            floor: i64::MIN,
            scored_next: None,
            seen: HashMap::new(),
            recent: Recent::default(),
            absent: HashSet::new(),
            recalled: 0,
            spent: Duration::ZERO,
            late_reads: 0,
            late_reads_cut: 0,
        }
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn observations(&self) -> usize {
        self.groups
            .values()
            .map(|group| match &group.state {
                State::Window { window, .. } => window.len(),
                State::Silence(silence) => silence.len(),
                _ => 1,
            })
            .sum()
    }

    /// Whether the rule looks at an event, beyond its filter's types and statuses.
    pub(super) fn admits(&self, view: &EventView<'_>) -> bool {
        let rule = self.rule();
        view.id() > self.watched.after_id
            && view.passes(&rule.filter)
            && rule.exclude.as_ref().is_none_or(|exclude| !view.passes(exclude))
            && match &rule.kind {
                Kind::Match(hours) => hours.contains(view.time(rule.clock)),
                Kind::FailureBurst { .. } => {
                    !rule.filter.statuses.is_empty() || view.fields().status != "success"
                }
                Kind::Flapping { .. } => switch_of(view).is_some(),
                Kind::LongSession { .. } => step_of(view).is_some(),
                _ => true,
            }
    }

    pub(super) fn observation(&self, view: &EventView<'_>) -> Option<Observation> {
        let rule = self.rule();
        let detail = match &rule.kind {
            Kind::DistinctCount { of, .. } => Detail::Value(text_digest(&view.value(of)?)),
            Kind::Sequence { first, then, .. } => {
                let (is_first, is_then) = (view.passes(first), view.passes(then));
                if !is_first && !is_then {
                    return None;
                }
                Detail::Role { is_first, is_then }
            }
            Kind::Flapping { .. } => Detail::Switch(switch_of(view)?),
            Kind::ImpossibleTravel { .. } => {
                let (latitude, longitude) = view.place()?;
                Detail::Place(latitude, longitude)
            }
            Kind::Beaconing { .. } => Detail::Value(text_digest(&view.fields().application_id)),
            _ => Detail::Nothing,
        };
        Some(Observation {
            time: view.time(rule.clock).micros(),
            digest: view.digest(),
            id: view.id(),
            detail,
            counted: 0,
        })
    }

    /// Takes an event in. Returns whether it looks at the event.
    pub(super) fn take<H: History>(
        &mut self,
        view: &EventView<'_>,
        history: &mut H,
        output: &mut Output,
    ) -> Result<bool, H::Error> {
        if !self.admits(view) {
            return Ok(false);
        }
        let (Some(values), Some(observation)) = (values(self.rule(), view), self.observation(view))
        else {
            return Ok(false);
        };
        if matches!(self.rule().kind, Kind::FirstSeen { .. })
            && !self.is_new(view, &values, observation.time, history, output)?
        {
            return Ok(false);
        }
        if self.may_be_late(observation.time) && !output.is_muted {
            self.read_again(view, history)?;
        }
        let name = group_name(&values);
        let clock = view.created_at().micros();
        if !self.groups.contains_key(&name) {
            let key = Arc::new(key(self.rule(), values));
            self.group_mut(&key);
        }
        let rule = Arc::clone(&self.rule);
        let Some(group) = self.groups.get_mut(&name) else { return Ok(false) };
        group.touched = clock;
        let mut context = Context {
            rule: &rule,
            number: self.watched.number,
            group: &group.key,
            clock,
            floor: self.floor,
            event: view.id(),
            output,
        };
        match &mut group.state {
            State::Window { window, episodes } => {
                take_windowed(&mut context, window, episodes, observation);
            }
            State::Silence(silence) => silence.take(&mut context, observation.mark()),
            State::Sessions(sessions) => {
                if let Some(step) = step_of(view) {
                    sessions.take(&mut context, session_key(view), observation.mark(), step);
                }
            }
            State::Volume(volume) => {
                if rule.count_repeats || !self.recent.has_seen(observation.digest) {
                    volume.take(&mut context, observation.mark());
                }
            }
        }
        let deadline = match &group.state {
            State::Window { .. } => None,
            State::Silence(silence) => silence.deadline(&context),
            State::Sessions(sessions) => sessions.deadline(&context),
            State::Volume(volume) => volume.deadline(&context),
        };
        set_deadline(&mut self.deadlines, group, name, deadline);
        if matches!(rule.kind, Kind::Beaconing { .. }) && self.scored_next.is_none() {
            let next = (clock.div_euclid(beaconing::EVERY) + 1) * beaconing::EVERY;
            self.scored_next = Some(next + rule.lateness_micros());
        }
        Ok(true)
    }

    /// A group; a new one has no events.
    pub(super) fn group_mut(&mut self, key: &Arc<GroupKey>) -> &mut Group {
        let rule = &self.rule;
        self.groups.entry(group_name(&key.values)).or_insert_with(|| Group {
            key: Arc::clone(key),
            state: state(rule),
            known: Known::default(),
            touched: 0,
            deadline: None,
        })
    }

    /// Whether a combination was not seen before.
    fn is_new<H: History>(
        &mut self,
        view: &EventView<'_>,
        values: &[String],
        time: i64,
        history: &mut H,
        output: &Output,
    ) -> Result<bool, H::Error> {
        let Some(sighting) = self.sighting(view, values) else { return Ok(false) };
        let digest = sighting.digest;
        let is_known = |seen: &HashMap<u64, i64>| {
            seen.get(&digest).is_some_and(|latest| *latest >= sighting.since)
        };
        let is_new = if is_known(&self.seen) || sighting.is_learning || output.is_muted {
            false
        } else {
            let since = sighting.since;
            if !self.absent.remove(&digest) {
                self.read_want(self.wants_sight(values, sighting, view.id()), history)?;
                self.absent.remove(&digest);
            }
            self.seen.get(&digest).is_none_or(|latest| *latest < since)
        };
        self.see(digest, Some(time));
        Ok(is_new)
    }

    /// Notes when a combination was seen: `None` if the log does not have it.
    pub(super) fn see(&mut self, digest: u64, time: Option<i64>) {
        let Some(time) = time else {
            self.absent.insert(digest);
            return;
        };
        if self.seen.len() >= SEEN_MAX {
            // What is forgotten here is looked up in the log.
            self.seen.clear();
        }
        let latest = self.seen.entry(digest).or_insert(time);
        *latest = time.max(*latest);
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        let of_groups = self.deadlines.first().map(|(at, _)| *at);
        of_groups.into_iter().chain(self.scored_next).min()
    }

    /// Judges what is due at that deadline, and nothing later.
    pub(super) fn judge(&mut self, at: i64, output: &mut Output) {
        while let Some((due, name)) = self.deadlines.first().filter(|(due, _)| *due <= at).cloned()
        {
            let Some(group) = self.groups.get_mut(&name) else {
                self.deadlines.remove(&(due, name));
                continue;
            };
            let mut context = Context {
                rule: &self.watched.rule,
                number: self.watched.number,
                group: &group.key,
                clock: due,
                floor: self.floor,
                event: 0,
                output,
            };
            let deadline = match &mut group.state {
                State::Window { .. } => None,
                State::Silence(silence) => {
                    silence.judge(&mut context);
                    silence.deadline(&context)
                }
                State::Sessions(sessions) => {
                    sessions.judge(&mut context);
                    sessions.deadline(&context)
                }
                State::Volume(volume) => {
                    volume.judge(&mut context);
                    volume.deadline(&context)
                }
            };
            // A deadline that stays would be judged for ever.
            set_deadline(&mut self.deadlines, group, name, deadline.filter(|next| *next > due));
        }
        if let Some(due) = self.scored_next.filter(|due| *due <= at) {
            self.score(due, output);
        }
    }

    fn score(&mut self, due: i64, output: &mut Output) {
        let rule = Arc::clone(&self.rule);
        let Kind::Beaconing { min_connections, score, max_prevalence } = rule.kind else { return };
        let until = due - rule.lateness_micros();
        let mut pulses = Vec::new();
        for group in self.groups.values_mut() {
            if let State::Window { window, episodes } = &mut group.state {
                let old = until - rule.reach_micros();
                window.forget_before(old - rule.lateness_micros());
                episodes.retain(|episode| episode.end >= old);
                let pulse = beaconing::pulse(window.as_slice(), until);
                pulses.extend(pulse.map(|pulse| (Arc::clone(&group.key), pulse)));
            }
        }
        self.groups.retain(|_, group| match &group.state {
            State::Window { window, episodes } => window.len() > 0 || !episodes.is_empty(),
            _ => true,
        });
        pulses.sort_by(|(one, _), (other, _)| one.values.cmp(&other.values));
        for (key, pulse, _) in beaconing::beacons(&pulses, min_connections, score, max_prevalence) {
            let Some(group) = self.groups.get_mut(&group_name(&key.values)) else { continue };
            let State::Window { window, episodes } = &mut group.state else { continue };
            let mut context = Context {
                rule: &rule,
                number: self.watched.number,
                group: &key,
                clock: due,
                floor: self.floor,
                event: 0,
                output,
            };
            beaconing::note(&mut context, episodes, window.as_slice(), &pulse);
        }
        let is_idle = self.groups.is_empty();
        self.scored_next = (!is_idle).then_some(due + beaconing::EVERY);
    }

    /// Takes an alert that is known from before, when the evaluation goes on after a start.
    pub(super) fn remember(
        &mut self,
        values: Vec<String>,
        episode: Episode,
        session: (String, bool),
    ) {
        let key = Arc::new(key(&self.watched.rule, values));
        let group = self.group_mut(&key);
        group.touched = group.touched.max(episode.detected_at);
        match &mut group.state {
            State::Window { episodes, .. } => episodes.push(episode),
            State::Silence(silence) => silence.remember(episode),
            State::Sessions(sessions) => sessions.remember(session.0, session.1, episode),
            State::Volume(volume) => volume.remember(episode),
        }
    }

    /// Everything since that time is in memory; what lies before must be read again.
    pub(super) fn knows_since(&mut self, micros: i64) {
        // Of the first events it is not known which of them an alert has counted.
        self.floor = self.floor.max(micros.saturating_add(self.rule.reach_micros()));
    }

    /// Forgets observations that only late events need.
    pub(super) fn forget(&mut self, clock: i64) {
        let rule = &self.watched.rule;
        let reach = rule.reach_micros();
        let old = clock - rule.lateness_micros() - 2 * reach;
        let is_by_window = !matches!(rule.kind, Kind::Beaconing { .. });
        let mut floor = self.floor;
        self.groups.retain(|_, group| match &mut group.state {
            State::Silence(silence) => {
                floor = floor.max(old);
                group.known.forget_before(old);
                silence.forget_before(old);
                true
            }
            State::Window { window, episodes } if is_by_window => {
                floor = floor.max(old);
                group.known.forget_before(old);
                window.forget_before(old);
                episodes.retain(|episode| episode.end >= old - rule.cooldown_micros());
                window.len() > 0 || !episodes.is_empty()
            }
            _ => true,
        });
        self.floor = floor;
        self.recalled = 0;
    }

    /// The groups that may be given up, each with the time of its last event.
    pub(super) fn unprotected(&self) -> impl Iterator<Item = (i64, &String)> {
        let half = self.half_of_threshold();
        self.groups.iter().filter_map(move |(name, group)| {
            let may_go = match &group.state {
                State::Window { window, episodes } => episodes.is_empty() && window.len() < half,
                State::Silence(silence) => !silence.has_alert(),
                State::Sessions(_) => false,
                State::Volume(_) => true,
            };
            may_go.then_some((group.touched, name))
        })
    }

    fn half_of_threshold(&self) -> usize {
        let threshold = match self.rule().kind {
            Kind::FailureBurst { threshold, .. } => threshold,
            Kind::DistinctCount { at_least, .. } => at_least,
            Kind::Sequence { count, .. } => count,
            Kind::Flapping { transitions, .. } => transitions,
            Kind::Beaconing { min_connections, .. } => min_connections,
            _ => 4,
        };
        (threshold as usize).div_ceil(2).max(2)
    }

    pub(super) fn give_up(&mut self, name: &str) {
        if let Some(group) = self.groups.remove(name)
            && let Some(deadline) = group.deadline
        {
            self.deadlines.remove(&(deadline, name.to_owned()));
        }
    }
}

fn set_deadline(
    deadlines: &mut BTreeSet<(i64, String)>,
    group: &mut Group,
    name: String,
    deadline: Option<i64>,
) {
    if group.deadline == deadline {
        return;
    }
    if let Some(old) = group.deadline.take() {
        deadlines.remove(&(old, name.clone()));
    }
    if let Some(deadline) = deadline {
        deadlines.insert((deadline, name));
    }
    group.deadline = deadline;
}

fn take_windowed(
    context: &mut Context<'_>,
    window: &mut Window,
    episodes: &mut Vec<Episode>,
    new: Observation,
) {
    let rule = context.rule;
    let Some(place) = window.insert(new, rule.count_repeats) else { return };
    for found in find(rule, window, place) {
        if !context.output.is_muted {
            add(context, window, episodes, &found);
        }
        window.count(found.slot, &found.members);
    }
}

fn add(context: &mut Context<'_>, window: &Window, episodes: &mut Vec<Episode>, found: &Found) {
    let cooldown = context.rule.cooldown_micros();
    let applied = apply(found, window, episodes, cooldown, || {
        context.episode(found.slot, found.start, found.end)
    });
    match applied {
        Applied::Nothing => {}
        Applied::Opened(place) => context.tell(What::Opened, &episodes[place]),
        Applied::Grown(place, joined) => {
            let episode = &mut episodes[place];
            let is_told = episode.is_told() || !joined.is_empty();
            for other in &joined {
                context.tell(What::MergedInto(episode.alert), other);
            }
            context.tell(What::Extended { is_told }, episode);
        }
    }
}

/// The hits that the observation at that place is part of.
pub(super) fn find(rule: &Rule, window: &Window, place: usize) -> Vec<Found> {
    let mut finder = Finder::new(window, place, rule.reach_micros());
    match &rule.kind {
        Kind::FailureBurst { threshold, .. } => counting::bursts(&mut finder, *threshold as usize),
        Kind::DistinctCount { at_least, .. } => counting::distinct(&mut finder, *at_least as usize),
        Kind::Flapping { transitions, .. } => counting::changes(&mut finder, *transitions as usize),
        Kind::Sequence { count, .. } => sequence::sequences(&mut finder, *count as usize),
        Kind::ImpossibleTravel { max_kmh, min_km } => {
            travel::journeys(&mut finder, *max_kmh, *min_km);
        }
        Kind::Match(_) | Kind::FirstSeen { .. } => finder.hit(place, [place]),
        Kind::Beaconing { .. }
        | Kind::Silence { .. }
        | Kind::LongSession { .. }
        | Kind::Volume { .. } => {}
    }
    finder.finish()
}

fn state(rule: &Rule) -> State {
    match rule.kind {
        Kind::Silence { .. } => State::Silence(Silence::default()),
        Kind::LongSession { .. } => State::Sessions(Sessions::default()),
        Kind::Volume { .. } => State::Volume(Volume::default()),
        _ => State::Window {
            window: Window::new(rule.clock == Clock::Received && !rule.count_repeats),
            episodes: Vec::new(),
        },
    }
}

/// The values of an event's group. `None` if it lacks one: then it is of no group.
pub(super) fn values(rule: &Rule, view: &EventView<'_>) -> Option<Vec<String>> {
    rule.group_by.iter().map(|field| view.value(field).map(Cow::into_owned)).collect()
}

/// The name of a group in memory.
pub(super) fn group_name(values: &[String]) -> String {
    values.join("\0")
}

pub(super) fn key(rule: &Rule, values: Vec<String>) -> GroupKey {
    let members = rule.group_by.iter().zip(&values);
    let members = members.map(|(field, value)| (field.to_string(), Value::from(value.as_str())));
    let json = Value::Object(members.collect::<Map<String, Value>>()).to_string();
    let hash = text_digest(&json).cast_signed();
    GroupKey { json, hash, values }
}

/// Whether an event says that a connection is on or off.
fn switch_of(view: &EventView<'_>) -> Option<bool> {
    match view.fields().connection_type.as_str() {
        "established" | "resumed" => (view.fields().status == "success").then_some(true),
        "suspended" | "terminated" => Some(false),
        _ => None,
    }
}

fn step_of(view: &EventView<'_>) -> Option<Step> {
    match view.fields().connection_type.as_str() {
        "established" | "resumed" => (view.fields().status == "success").then_some(Step::Start),
        "terminated" => Some(Step::End),
        _ => None,
    }
}

/// The key of an event's session, and whether it has a session id.
pub(super) fn session_key(view: &EventView<'_>) -> (String, bool) {
    let fields = view.fields();
    let session = fields.session_id.as_deref();
    let parts = [fields.device_id.as_str(), &fields.application_id, session.unwrap_or_default()];
    (parts.join("\0"), session.is_some())
}
