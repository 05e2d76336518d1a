//! Volume: far more, or far fewer, events than in the windows before.
//!
//! Windows begin at whole multiples of their length since 1970 in UTC. A window is judged when its
//! end and the lateness have passed. An event is counted and then forgotten; of the last ones the
//! content is remembered, so that a repeat does not count again.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::context::Context;
use super::episode::{Episode, Mark};
use super::output::What;
use super::rule::{Kind, Rule};

/// With fewer events on the larger side chance alone makes such factors.
const EVENTS_MIN: u64 = 20;

/// Events whose content is remembered: a sender that tries again does so within minutes. Some
/// megabytes for a rule.
const RECENT_MAX: usize = 200_000;

/// The content of the last events of a rule.
#[derive(Debug, Default)]
pub(super) struct Recent {
    digests: HashSet<u64>,
    in_order: VecDeque<u64>,
}

impl Recent {
    /// Notes an event. Returns whether it repeats one of the last.
    pub(super) fn has_seen(&mut self, digest: u64) -> bool {
        if !self.digests.insert(digest) {
            return true;
        }
        self.in_order.push_back(digest);
        if self.in_order.len() > RECENT_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        false
    }
}

/// The counts of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    windows: BTreeMap<i64, Tally>,
    /// The first window of the group: what lies before is unknown.
    first: Option<i64>,
    judged: Option<i64>,
    alerts: Vec<Episode>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u64,
    first: Mark,
    last: Mark,
}

impl Volume {
    pub(super) fn take(&mut self, context: &mut Context<'_>, mark: Mark) {
        let window = mark.time.div_euclid(context.rule.reach_micros());
        let (_, baseline) = Self::params(context.rule);
        // Before the first window nothing was counted, and what lies before the last baseline is
        // forgotten.
        if self.first.is_some_and(|first| window < first)
            || self.judged.is_some_and(|judged| window < judged - baseline)
        {
            return;
        }
        self.first.get_or_insert(window);
        let tally =
            self.windows.entry(window).or_insert(Tally { count: 0, first: mark, last: mark });
        tally.count += 1;
        tally.first = tally.first.min(mark);
        tally.last = tally.last.max(mark);
        if self.judged.is_some_and(|judged| window <= judged) {
            self.judge_again(context, window, mark);
        }
    }

    fn params(rule: &Rule) -> (f64, i64) {
        match rule.kind() {
            Kind::Volume { factor, baseline_windows, .. } => {
                (*factor, i64::from(*baseline_windows))
            }
            _ => (f64::MAX, 1),
        }
    }

    fn count(&self, window: i64) -> u64 {
        self.windows.get(&window).map_or(0, |tally| tally.count)
    }

    /// The median of the windows before, if that window is far above or below it.
    fn is_far(&self, context: &Context<'_>, window: i64) -> Option<f64> {
        let (factor, baseline) = Self::params(context.rule);
        // The group's first window may have begun before the rule.
        if self.first.is_none_or(|first| window - baseline <= first) {
            return None;
        }
        let mut before: Vec<u64> =
            (window - baseline..window).map(|other| self.count(other)).collect();
        before.sort_unstable();
        let count = self.count(window);
        // The median, so that one flood does not make the hours after it look quiet.
        let middle = before.get(before.len() / 2).copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (usual, count_f) = (middle as f64, count as f64);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let least = EVENTS_MIN as f64;
        let is_high = count_f > factor * usual && count_f >= least;
        let is_low = count_f * factor < usual && usual >= least;
        (is_high || is_low).then_some(usual)
    }

    /// The number of windows that are kept.
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn judge(&mut self, context: &mut Context<'_>) {
        let size = context.rule.reach_micros();
        let Some(first) = self.first else { return };
        // The last window whose time has come.
        let last = (context.clock - context.rule.lateness_micros()).div_euclid(size) - 1;
        let (_, baseline) = Self::params(context.rule);
        let mut window = self.judged.map_or(first, |judged| judged + 1);
        while window <= last {
            // In a long silence nothing is left to compare with.
            if self.windows.range(window - baseline..).next().is_none() {
                window = last;
            }
            if let Some(usual) = self.is_far(context, window) {
                self.found(context, window, usual);
            }
            self.judged = Some(window);
            window += 1;
        }
        self.judged = self.judged.max(Some(last));
        let old = last - 2 * baseline - 2;
        self.windows = self.windows.split_off(&old);
        self.alerts.retain(|episode| episode.end.div_euclid(size) >= old);
    }

    fn found(&mut self, context: &mut Context<'_>, window: i64, usual: f64) {
        let size = context.rule.reach_micros();
        let (start, end) = (window * size, (window + 1) * size);
        let cooldown = context.rule.cooldown_micros();
        let tally = self.windows.get(&window).copied();
        let evidence = tally.map(|tally| [tally.first, tally.last]);
        let is_near =
            |episode: &&mut Episode| start - episode.end <= cooldown && episode.start < start;
        if let Some(episode) = self.alerts.iter_mut().rev().find(is_near) {
            episode.count += tally.map_or(0, |tally| tally.count);
            episode.end = end;
            episode.last = evidence.map_or_else(|| episode.last.clone(), |marks| vec![marks[1]]);
            let is_told = episode.is_told();
            context.tell(What::Extended { is_told }, episode);
            return;
        }
        let latest = self.windows.values().map(|tally| tally.last).max();
        let opened_by = latest.map_or(0, |mark| mark.id);
        let mut episode = context.episode(window, start, end);
        episode.opened_by = opened_by;
        episode.count = tally.map_or(0, |tally| tally.count);
        episode.measure = usual;
        episode.told = (episode.count, end);
        if let Some([first, last]) = evidence {
            (episode.first, episode.last) = (vec![first], vec![last]);
        }
        context.tell(What::Opened, &episode);
        self.alerts.push(episode);
    }

    /// A late event in a window that was judged.
    fn judge_again(&mut self, context: &mut Context<'_>, window: i64, mark: Mark) {
        let size = context.rule.reach_micros();
        let is_of =
            |episode: &Episode| episode.slot == window && episode.end - episode.start == size;
        let known = self.alerts.iter().position(is_of);
        match (known, self.is_far(context, window)) {
            (Some(place), None) => {
                let episode = self.alerts.remove(place);
                context.tell(What::Withdrawn { by: mark.id }, &episode);
            }
            (None, Some(usual))
                if !self
                    .alerts
                    .iter()
                    .any(|e| e.start <= window * size && window * size < e.end) =>
            {
                self.found(context, window, usual);
            }
            (Some(place), Some(_)) => {
                let episode = &mut self.alerts[place];
                episode.count += 1;
                episode.first =
                    episode.first.iter().copied().chain([mark]).min().into_iter().collect();
                episode.last =
                    episode.last.iter().copied().chain([mark]).max().into_iter().collect();
                let is_told = episode.is_told();
                context.tell(What::Extended { is_told }, episode);
            }
            _ => {}
        }
    }

    pub(super) fn deadline(&self, rule: &Rule) -> Option<i64> {
        let size = rule.reach_micros();
        let (_, baseline) = Self::params(rule);
        let next = self.judged.map_or(self.first?, |judged| judged + 1);
        // Nothing to compare with any more.
        self.windows.range(next - baseline..).next()?;
        Some((next + 1) * size + rule.lateness_micros())
    }

    /// Takes an alert that is known from before, in place of one that was found again.
    pub(super) fn remember(&mut self, episode: Episode) {
        self.alerts.retain(|other| other.alert != 0);
        self.alerts.push(episode);
    }
}
