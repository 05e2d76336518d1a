//! The evaluation of one rule: its groups, and what an event or a deadline does to them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::context::Context;
use super::episode::{Applied, Episode, apply};
use super::history::{History, HistoryQuery, narrowed};
use super::output::{GroupKey, Output, What};
use super::rule::{Clock, Kind, Rule};
use super::sessions::{Sessions, Step};
use super::silence::Silence;
use super::view::{EventView, text_digest};
use super::volume::Volume;
use super::window::{Detail, Finder, Found, Observation, Window};
use super::{beaconing, counting, sequence, travel};
use crate::Timestamp;

/// Limit of events that are read again around a late one.
const NEIGHBORS_MAX: usize = 20_000;

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
    groups: HashMap<String, Group>,
    deadlines: BTreeSet<(i64, String)>,
    /// All observations of this time or later are in memory, in microseconds.
    floor: i64,
    /// The next time that beacons are scored.
    scored_next: Option<i64>,
    /// Combinations that were seen, with the latest time.
    seen: HashMap<u64, i64>,
    /// Reads of the log for late events.
    pub(super) late_reads: u64,
}

#[derive(Debug)]
struct Group {
    key: Arc<GroupKey>,
    state: State,
    /// The log's clock when it had its last event.
    touched: i64,
    deadline: Option<i64>,
}

#[derive(Debug)]
enum State {
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
            late_reads: 0,
        }
    }

    fn rule(&self) -> &Rule {
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
    fn admits(&self, view: &EventView<'_>) -> bool {
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

    fn observation(&self, view: &EventView<'_>) -> Option<Observation> {
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
        let name = values.join("\0");
        let clock = view.created_at().micros();
        if !self.groups.contains_key(&name) {
            let key = Arc::new(key(self.rule(), values));
            let state = state(self.rule());
            let group = Group { key, state, touched: clock, deadline: None };
            self.groups.insert(name.clone(), group);
        }
        let rule = Arc::clone(&self.rule);
        let is_late = rule.clock == Clock::Event
            && observation.time.saturating_sub(rule.reach_micros()) < self.floor
            && matches!(
                rule.kind,
                Kind::FailureBurst { .. }
                    | Kind::DistinctCount { .. }
                    | Kind::Sequence { .. }
                    | Kind::Flapping { .. }
                    | Kind::ImpossibleTravel { .. }
                    | Kind::Match(_)
            )
            && !output.is_muted;
        if is_late {
            self.take_late(view, observation, &name, history, output)?;
            return Ok(true);
        }
        let Some(group) = self.groups.get_mut(&name) else { return Ok(false) };
        group.touched = clock;
        // Silences this old are forgotten; the event may be within one.
        if let State::Silence(silence) = &mut group.state
            && observation.time < self.floor
            && !output.is_muted
        {
            self.late_reads += 1;
            let (number, time) = (self.watched.number, observation.time);
            for episode in history.episodes(number, &group.key, time, time)? {
                silence.remember(episode);
            }
        }
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
            State::Volume(volume) => volume.take(&mut context, observation.mark()),
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

    /// Takes in an event whose neighbors are no longer in memory: they are read again.
    fn take_late<H: History>(
        &mut self,
        view: &EventView<'_>,
        new: Observation,
        name: &str,
        history: &mut H,
        output: &mut Output,
    ) -> Result<(), H::Error> {
        self.late_reads += 1;
        let rule = Arc::clone(&self.rule);
        let Some(key) = self.groups.get(name).map(|group| Arc::clone(&group.key)) else {
            return Ok(());
        };
        let reach = rule.reach_micros();
        let pairs = rule.group_by.iter().zip(key.values.iter().map(String::as_str));
        let mut filter = narrowed(&rule, pairs);
        let since = Timestamp::from_micros(new.time.saturating_sub(2 * reach));
        let until = Timestamp::from_micros(new.time.saturating_add(2 * reach + 1));
        filter.since = filter.since.max(Some(since));
        filter.until = Some(filter.until.map_or(until, |other| other.min(until)));
        let query = HistoryQuery {
            filter,
            after_id: self.watched.after_id,
            before_id: view.id(),
            limit: NEIGHBORS_MAX,
        };
        let mut neighbors: Vec<Observation> = Vec::new();
        for record in history.records(&query)? {
            let other = EventView::new(&record);
            if self.admits(&other)
                && values(&rule, &other).as_ref() == Some(&key.values)
                && let Some(observation) = self.observation(&other)
            {
                neighbors.push(observation);
            }
        }
        neighbors.sort_unstable_by_key(|other| (other.time, other.digest, other.id));
        let mut window = Window::new(false);
        for neighbor in neighbors {
            if let Some(place) = window.insert(neighbor, rule.count_repeats) {
                for found in find(&rule, &window, place) {
                    window.count(found.slot, &found.members);
                }
            }
        }
        let span = 2 * reach + rule.cooldown_micros();
        let number = self.watched.number;
        let known = history.episodes(number, &key, new.time - span, new.time + span)?;
        let floor = self.floor;
        let Some(group) = self.groups.get_mut(name) else { return Ok(()) };
        group.touched = view.created_at().micros();
        let State::Window { window: kept, episodes } = &mut group.state else { return Ok(()) };
        for episode in known {
            if !episodes.iter().any(|other| other.alert == episode.alert) {
                episodes.push(episode);
            }
        }
        let mut context = Context {
            rule: &rule,
            number,
            group: &key,
            clock: view.created_at().micros(),
            floor,
            event: view.id(),
            output,
        };
        take_windowed(&mut context, &mut window, episodes, new);
        // What is in memory anyway must say the same.
        if new.time >= floor {
            kept.insert(new, rule.count_repeats);
        }
        kept.copy_counts(&window);
        Ok(())
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
        let Kind::FirstSeen { of, learning_seconds, forget_after_days } = &self.rule().kind else {
            return Ok(false);
        };
        let others: Option<Vec<Cow<'_, str>>> = of.iter().map(|field| view.value(field)).collect();
        let Some(others) = others else { return Ok(false) };
        let parts = values.iter().map(String::as_str).chain(others.iter().map(AsRef::as_ref));
        let digest = text_digest(&parts.clone().collect::<Vec<&str>>().join("\0"));
        let forget = i64::from(*forget_after_days) * 86_400 * super::rule::SECOND;
        let since = time.saturating_sub(forget);
        let is_learning = view.created_at().micros()
            < self.watched.since + i64::from(*learning_seconds) * super::rule::SECOND;
        let known = self.seen.get(&digest).copied();
        let is_known = known.is_some_and(|latest| latest >= since);
        let is_new = if is_known || is_learning || output.is_muted {
            false
        } else {
            let fields = self.rule().group_by.iter().chain(of);
            let mut filter = narrowed(self.rule(), fields.clone().zip(parts));
            filter.since = Some(Timestamp::from_micros(since));
            let has_agent = fields.clone().any(|field| *field == super::rule::Field::UserAgent);
            let limit = if has_agent { 1_000 } else { 1 };
            let query = HistoryQuery { filter, after_id: 0, before_id: view.id(), limit };
            let found = history.records(&query)?;
            let is_same = |record: &crate::Record| {
                let other = EventView::new(record);
                fields.clone().all(|field| other.value(field) == view.value(field))
            };
            !found.iter().any(is_same)
        };
        if self.seen.len() >= SEEN_MAX {
            // What is forgotten here is looked up in the log.
            self.seen.clear();
        }
        let latest = self.seen.entry(digest).or_insert(time);
        *latest = time.max(*latest);
        Ok(is_new)
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
            let Some(group) = self.groups.get_mut(&key.values.join("\0")) else { continue };
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
        let name = values.join("\0");
        let rule = &self.watched.rule;
        let group = self.groups.entry(name).or_insert_with(|| Group {
            key: Arc::new(key(rule, values)),
            state: state(rule),
            touched: episode.detected_at,
            deadline: None,
        });
        match &mut group.state {
            State::Window { episodes, .. } => episodes.push(episode),
            State::Silence(silence) => silence.remember(episode),
            State::Sessions(sessions) => sessions.remember(session.0, session.1, episode),
            State::Volume(volume) => volume.remember(episode),
        }
    }

    /// Everything since that time is in memory; what lies before must be read again.
    pub(super) fn knows_since(&mut self, micros: i64) {
        self.floor = self.floor.max(micros);
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
                silence.forget_before(old);
                true
            }
            State::Window { window, episodes } if is_by_window => {
                floor = floor.max(old);
                window.forget_before(old);
                episodes.retain(|episode| episode.end >= old - rule.cooldown_micros());
                window.len() > 0 || !episodes.is_empty()
            }
            _ => true,
        });
        self.floor = floor;
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
fn find(rule: &Rule, window: &Window, place: usize) -> Vec<Found> {
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
fn values(rule: &Rule, view: &EventView<'_>) -> Option<Vec<String>> {
    rule.group_by.iter().map(|field| view.value(field).map(Cow::into_owned)).collect()
}

fn key(rule: &Rule, values: Vec<String>) -> GroupKey {
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
