//! Kinds whose hits lie within a window: the observations of a group, and the episodes of its hits.

use super::context::Context;
use super::counting::Latest;
use super::episode::{Applied, Episode, apply};
use super::finder::{Finder, Found};
use super::observation::Observation;
use super::output::What;
use super::rule::{Clock, Kind, Rule};
use super::window::Window;
use super::{counting, sequence, travel};

/// The observations of one group, and its episodes.
#[derive(Debug)]
pub(super) struct Windowed {
    pub(super) window: Window,
    pub(super) episodes: Vec<Episode>,
    /// For kinds that count different values.
    latest: Option<Box<Latest>>,
}

impl Windowed {
    pub(super) fn new(rule: &Rule) -> Self {
        let latest = matches!(rule.kind, Kind::DistinctCount { .. }).then(Box::default);
        let is_by_arrival = rule.clock == Clock::Received && !rule.count_repeats;
        Windowed { window: Window::new(is_by_arrival), episodes: Vec::new(), latest }
    }

    /// Takes an observation in, and tells its hits.
    pub(super) fn take(&mut self, context: &mut Context<'_>, new: Observation) {
        let rule = context.rule;
        let Some(place) = self.insert(rule, new) else { return };
        for found in self.find(rule, place) {
            if !context.output.is_muted {
                self.tell(context, &found);
            }
            self.window.count(found.slot, &found.members);
        }
    }

    /// Takes an observation in whose hits were told before.
    pub(super) fn recall(&mut self, rule: &Rule, known: Observation) {
        if let Some(place) = self.insert(rule, known) {
            for found in self.find(rule, place) {
                self.window.count(found.slot, &found.members);
            }
        }
    }

    /// Takes in what was read again of a stretch of time, both ends included.
    pub(super) fn merge(&mut self, rule: &Rule, read: &Windowed, (from, until): (i64, i64)) {
        let places = read.window.from(from)..read.window.after(until);
        for known in read.window.iter(places) {
            if !self.window.has(known) {
                self.insert(rule, *known);
            }
        }
        self.window.copy_counts(&read.window);
    }

    /// Takes alerts that were told before.
    pub(super) fn remember_all(&mut self, alerts: Vec<Episode>) {
        for episode in alerts {
            if !self.episodes.iter().any(|other| other.alert == episode.alert) {
                self.episodes.push(episode);
            }
        }
    }

    /// Adds an observation, and returns its place. `None` for a repeat that does not count.
    pub(super) fn insert(&mut self, rule: &Rule, new: Observation) -> Option<usize> {
        let place = self.window.insert(new, rule.count_repeats)?;
        if let Some(latest) = &mut self.latest {
            latest.note(&new);
        }
        Some(place)
    }

    /// The hits that the observation at that place is part of.
    fn find(&self, rule: &Rule, place: usize) -> Vec<Found> {
        if !self.may_be_hit(rule, place) {
            return Vec::new();
        }
        let mut finder = Finder::new(&self.window, place, rule.reach_micros());
        match &rule.kind {
            Kind::FailureBurst { threshold, .. } => {
                counting::bursts(&mut finder, *threshold as usize);
            }
            Kind::DistinctCount { at_least, .. } => {
                counting::distinct(&mut finder, *at_least as usize);
            }
            Kind::Flapping { transitions, .. } => {
                counting::changes(&mut finder, *transitions as usize);
            }
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

    /// Whether the observation at that place may be part of a hit: most are told not to be by what
    /// is at hand.
    fn may_be_hit(&self, rule: &Rule, place: usize) -> bool {
        match (&rule.kind, &self.latest) {
            (Kind::FailureBurst { threshold, .. }, _) => self.window.len() >= *threshold as usize,
            (Kind::Flapping { transitions, .. }, _) => self.window.len() > *transitions as usize,
            (Kind::Sequence { count, .. }, _) => self.window.len() > *count as usize,
            (Kind::DistinctCount { at_least, .. }, Some(latest)) => {
                let since = self.window.at(place).time.saturating_sub(rule.reach_micros());
                latest.has(*at_least as usize, since)
            }
            (Kind::Beaconing { .. }, _) => false,
            _ => true,
        }
    }

    /// Adds a hit to the episodes, and tells what that does to them.
    fn tell(&mut self, context: &mut Context<'_>, found: &Found) {
        let cooldown = context.rule.cooldown_micros();
        let Windowed { window, episodes, .. } = self;
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

    /// How far the group is on the way to a hit, in the unit of the rule's threshold.
    pub(super) fn progress(&self, rule: &Rule) -> usize {
        match (&rule.kind, &self.latest) {
            (Kind::DistinctCount { .. }, Some(latest)) => latest.len(),
            (Kind::Sequence { .. } | Kind::Flapping { .. }, _) => {
                self.window.tally(0..self.window.len())
            }
            _ => self.window.len(),
        }
    }

    /// Forgets observations before that time, and episodes that ended before the other one.
    pub(super) fn forget_before(&mut self, time: i64, ended: i64) {
        if self.window.forget_before(time) > 0
            && let Some(latest) = &mut self.latest
        {
            latest.forget_before(time);
        }
        self.episodes.retain(|episode| episode.end >= ended);
    }

    /// Forgets the earlier half of the observations.
    pub(super) fn cut(&mut self) {
        if self.window.len() > 0 {
            let middle = self.window.at(self.window.len() / 2).time;
            self.forget_before(middle, i64::MIN);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.len() == 0 && self.episodes.is_empty()
    }
}
