//! Silence: no event of a group for a time.
//!
//! Only gaps longer than that time are kept, and the last event. A late event splits a gap: the
//! alert of a gap that it makes too short is withdrawn. So the alerts are those of the set of
//! events, once all have arrived.
//!
//! A gap is judged when its time and the lateness have passed, and a moment has passed since the
//! event that made it: the next event of an import may split it.

use super::context::{Context, after_grace};
use super::episode::{Episode, Mark};
use super::finder::slot_of;
use super::output::What;
use super::rule::Rule;

/// The gaps of one group that are too long, in order. The last one has no end yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    /// The group's first event.
    first: Option<Mark>,
    gaps: Vec<Gap>,
}

#[derive(Clone, Debug)]
struct Gap {
    from: Mark,
    until: Option<Mark>,
    /// The log's clock when an event made it what it is, in microseconds.
    noted: i64,
    alert: Option<Box<Episode>>,
}

impl Gap {
    fn is_longer_than(&self, micros: i64) -> bool {
        self.until.is_none_or(|until| until.time - self.from.time > micros)
    }

    /// When it is judged.
    fn due(&self, rule: &Rule) -> i64 {
        let wait = rule.reach_micros() + rule.lateness_micros();
        after_grace(self.from.time.saturating_add(wait), self.noted)
    }
}

impl Silence {
    pub(super) fn take(&mut self, context: &mut Context<'_>, mark: Mark) {
        let after = context.rule.reach_micros();
        let holds = |gap: &Gap| {
            gap.from.time < mark.time && gap.until.is_none_or(|until| mark.time < until.time)
        };
        let Some(place) = self.gaps.iter().position(holds) else {
            return self.take_outside(context, mark);
        };
        let gap = self.gaps.remove(place);
        let noted = context.clock;
        let rest = Gap { from: mark, until: gap.until, noted, alert: None };
        if rest.is_longer_than(after) {
            self.gaps.insert(place, rest);
        }
        let mut before = Gap { until: Some(mark), noted, ..gap };
        if before.is_longer_than(after) {
            if let Some(episode) = &mut before.alert {
                end(context, episode, mark);
            }
            self.gaps.insert(place, before);
        } else if let Some(episode) = &before.alert {
            context.tell(What::Withdrawn { by: mark.id }, episode);
        }
    }

    /// Takes in an event that lies in no gap: the group's first, or one before it.
    fn take_outside(&mut self, context: &Context<'_>, mark: Mark) {
        let noted = context.clock;
        match self.first {
            None => {
                self.first = Some(mark);
                if self.gaps.is_empty() {
                    // Most groups never have more.
                    self.gaps.reserve_exact(1);
                    self.gaps.push(Gap { from: mark, until: None, noted, alert: None });
                }
            }
            // Before what is in memory there may be other events, so that it says nothing.
            Some(first) if context.floor <= mark.time && mark.time < first.time => {
                self.first = Some(mark);
                let gap = Gap { from: mark, until: Some(first), noted, alert: None };
                if gap.is_longer_than(context.rule.reach_micros()) {
                    self.gaps.insert(0, gap);
                }
            }
            Some(_) => {}
        }
    }

    /// Opens the alerts of the gaps whose time has come.
    pub(super) fn judge(&mut self, context: &mut Context<'_>) {
        for gap in &mut self.gaps {
            if gap.alert.is_none() && gap.due(context.rule) <= context.clock {
                let mut episode = context.open(slot_of(gap.from.time), gap.from, gap.from.id);
                episode.goes_on = true;
                context.tell(What::Opened, &episode);
                if let Some(until) = gap.until {
                    end(context, &mut episode, until);
                }
                gap.alert = Some(Box::new(episode));
            }
        }
    }

    /// Forgets silences that ended before that time and were judged.
    pub(super) fn forget_before(&mut self, time: i64) {
        let is_kept = |gap: &Gap| gap.until.is_none_or(|until| until.time >= time);
        self.gaps.retain(|gap| gap.alert.is_none() || is_kept(gap));
    }

    pub(super) fn len(&self) -> usize {
        self.gaps.len()
    }

    pub(super) fn has_alert(&self) -> bool {
        self.gaps.iter().any(|gap| gap.alert.is_some())
    }

    /// When it must be judged next.
    pub(super) fn deadline(&self, rule: &Rule) -> Option<i64> {
        let waiting = self.gaps.iter().filter(|gap| gap.alert.is_none());
        waiting.map(|gap| gap.due(rule)).min()
    }

    /// Takes an alert that is known from before.
    pub(super) fn remember(&mut self, episode: Episode) {
        let Some(from) = episode.first.first().copied() else { return };
        let until = episode.last.last().copied().filter(|_| !episode.goes_on);
        match self.gaps.iter_mut().find(|gap| gap.from.time == from.time) {
            Some(gap) => gap.alert = Some(Box::new(episode)),
            None => {
                // The group has been silent since.
                let place = self.gaps.partition_point(|gap| gap.from.time < from.time);
                let noted = episode.detected_at;
                let alert = Some(Box::new(episode));
                self.gaps.insert(place, Gap { from, until, noted, alert });
            }
        }
    }
}

/// Ends a silence, or ends it earlier.
fn end(context: &mut Context<'_>, episode: &mut Episode, mark: Mark) {
    episode.end_with(mark);
    context.tell(What::Ended, episode);
}
