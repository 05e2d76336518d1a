//! Volume: far more, or far fewer, events than in the windows before.
//!
//! Windows begin at whole multiples of their length since 1970 in UTC. They are judged in their
//! order, each when its end and the lateness have passed. A window of old events, which came after
//! that, is judged a moment after the last of them; one that was judged before is judged again. An
//! event is counted and then forgotten; of the last ones the content is remembered, so that a repeat
//! does not count again.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::context::{Context, after_grace};
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
    /// Windows with events that came after they were judged.
    late: Vec<Late>,
    alerts: Vec<Episode>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u64,
    first: Mark,
    last: Mark,
    /// The log's clock when an event made it what it is, in microseconds: the first one if it came
    /// before the window was to be judged, else the last one.
    noted: i64,
}

/// A window that is to be judged again.
#[derive(Clone, Copy, Debug)]
struct Late {
    window: i64,
    /// The log's clock when the first event came that it was not judged with, in microseconds.
    noted: i64,
    /// The last such event.
    by: i64,
}

/// How a window compares with those before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Judgment {
    /// Not all of those before are known.
    Unknown,
    Usual,
    Far {
        /// The median of those before.
        usual: f64,
        is_high: bool,
    },
}

impl Volume {
    pub(super) fn take(&mut self, context: &mut Context<'_>, mark: Mark) {
        let (rule, clock) = (context.rule, context.clock);
        let window = mark.time.div_euclid(rule.reach_micros());
        let (_, baseline) = Self::params(rule);
        match self.judged {
            None => self.first = Some(self.first.map_or(window, |first| first.min(window))),
            // Before the first window nothing was counted, and what lies before the last baseline
            // is forgotten.
            Some(judged) if self.first > Some(window) || window < judged - baseline => return,
            Some(_) => {}
        }
        let new = Tally { count: 0, first: mark, last: mark, noted: clock };
        let tally = self.windows.entry(window).or_insert(new);
        tally.count += 1;
        tally.first = tally.first.min(mark);
        tally.last = tally.last.max(mark);
        if self.judged.is_some_and(|judged| window <= judged) {
            match self.late.iter_mut().find(|late| late.window == window) {
                Some(late) => late.by = mark.id,
                None => self.late.push(Late { window, noted: clock, by: mark.id }),
            }
        } else if after_grace(over(rule, window), tally.noted) > over(rule, window) {
            tally.noted = clock;
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

    fn judgment(&self, rule: &Rule, window: i64) -> Judgment {
        let (factor, baseline) = Self::params(rule);
        // Part of the first window may be unknown; it is one of those whose median is taken.
        if self.first.is_none_or(|first| window - baseline < first) {
            return Judgment::Unknown;
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
        if is_high || is_low { Judgment::Far { usual, is_high } } else { Judgment::Usual }
    }

    /// The number of windows that are kept.
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    /// The next window to judge. `None` if there is nothing to compare with any more.
    fn next(&self, rule: &Rule) -> Option<i64> {
        let (_, baseline) = Self::params(rule);
        let next = self.judged.map_or(self.first?, |judged| judged + 1);
        let (kept, _) = self.windows.range(next - baseline..).next()?;
        Some(next.max(*kept))
    }

    /// When a window is judged.
    fn due(&self, rule: &Rule, window: i64) -> i64 {
        // That a window is empty is told by the events before it.
        let tally = self.windows.range(..=window).next_back();
        after_grace(over(rule, window), tally.map_or(i64::MIN, |(_, tally)| tally.noted))
    }

    pub(super) fn judge(&mut self, context: &mut Context<'_>) {
        let (rule, clock) = (context.rule, context.clock);
        let is_due = |late: &mut Late| after_grace(i64::MIN, late.noted) <= clock;
        let mut late: Vec<Late> = self.late.extract_if(.., is_due).collect();
        late.sort_unstable_by_key(|late| late.window);
        for Late { window, by, .. } in late {
            self.judge_again(context, window, by);
        }
        while let Some(window) = self.next(rule).filter(|next| self.due(rule, *next) <= clock) {
            self.judged = Some(window);
            self.found(context, window);
        }
        let Some(judged) = self.judged else { return };
        let (_, baseline) = Self::params(rule);
        let old = judged - 2 * baseline - 2;
        self.windows = self.windows.split_off(&old);
        self.alerts.retain(|episode| episode.end.div_euclid(rule.reach_micros()) >= old);
    }

    /// Adds a window to the alerts, if it is far from the usual.
    fn found(&mut self, context: &mut Context<'_>, window: i64) {
        let rule = context.rule;
        let Judgment::Far { usual, is_high } = self.judgment(rule, window) else { return };
        let (start, end) = (window * rule.reach_micros(), (window + 1) * rule.reach_micros());
        if self.alerts.iter().any(|episode| episode.start <= start && start < episode.end) {
            // It was found before a start.
            return;
        }
        let tally = self.windows.get(&window).copied();
        let evidence = tally.map(|tally| [tally.first, tally.last]);
        let is_near = |episode: &Episode| {
            let first = self.judgment(rule, episode.slot);
            let is_other = matches!(first, Judgment::Far { is_high: high, .. } if high != is_high);
            start - episode.end <= rule.cooldown_micros() && episode.start < start && !is_other
        };
        if let Some(place) = self.alerts.iter().rposition(is_near) {
            let episode = &mut self.alerts[place];
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

    /// Judges a window again, and makes the alert that it is part of anew. `by` is an event that the
    /// window was not judged with.
    fn judge_again(&mut self, context: &mut Context<'_>, window: i64, by: i64) {
        let (rule, size) = (context.rule, context.rule.reach_micros());
        let start = window * size;
        let holds = |episode: &Episode| episode.start <= start && start < episode.end;
        let Some(place) = self.alerts.iter().position(holds) else {
            return self.found(context, window);
        };
        let windows = self.alerts[place].slot..self.alerts[place].end.div_euclid(size);
        let judged: Vec<(i64, Judgment)> =
            windows.map(|window| (window, self.judgment(rule, window))).collect();
        if judged.iter().any(|(_, judgment)| *judgment == Judgment::Unknown) {
            return;
        }
        let is_far = |(_, judgment): &&(i64, Judgment)| *judgment != Judgment::Usual;
        let far: Vec<i64> = judged.iter().filter(is_far).map(|(window, _)| *window).collect();
        let is_same = |first: &&i64| **first == self.alerts[place].slot;
        let (Some(_), Some(last)) = (far.first().filter(is_same), far.last()) else {
            let episode = self.alerts.remove(place);
            context.tell(What::Withdrawn { by }, &episode);
            far.into_iter().for_each(|window| self.found(context, window));
            return;
        };
        let tallies: Vec<Tally> =
            far.iter().filter_map(|window| self.windows.get(window).copied()).collect();
        let mut episode = self.alerts[place].clone();
        episode.end = (last + 1) * size;
        episode.count = tallies.iter().map(|tally| tally.count).sum();
        episode.first = tallies.iter().map(|tally| tally.first).min().into_iter().collect();
        episode.last = tallies.iter().map(|tally| tally.last).max().into_iter().collect();
        if let Judgment::Far { usual, .. } = judged[0].1 {
            episode.measure = usual;
        }
        if episode != self.alerts[place] {
            let is_told = episode.is_told();
            context.tell(What::Extended { is_told }, &episode);
            self.alerts[place] = episode;
        }
    }

    pub(super) fn deadline(&self, rule: &Rule) -> Option<i64> {
        let next = self.next(rule).map(|next| self.due(rule, next));
        let late = self.late.iter().map(|late| after_grace(i64::MIN, late.noted));
        late.chain(next).min()
    }

    /// Takes an alert that is known from before, in place of one that was found again.
    pub(super) fn remember(&mut self, episode: Episode) {
        self.alerts.retain(|other| other.alert != 0);
        self.alerts.push(episode);
    }
}

/// The end of a window and its lateness.
fn over(rule: &Rule, window: i64) -> i64 {
    (window + 1) * rule.reach_micros() + rule.lateness_micros()
}
