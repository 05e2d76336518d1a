//! The evaluation of one rule: what an event or a deadline does to its groups.

use std::time::Duration;

use super::beaconing;
use super::context::{Context, after_grace};
use super::episode::Episode;
use super::first_seen::Seen;
use super::groups::Groups;
use super::history::History;
use super::observation::{Observation, admits};
use super::output::{GroupKey, Output};
use super::rule::{Kind, Rule};
use super::subjects::Subject;
use super::view::EventView;
use super::volume::Recent;

/// Groups are gone through for what can be forgotten once in this part of the time that they
/// remember.
const FORGETS_PER_MEMORY: i64 = 8;

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
    /// The place of its subjects.
    pub(super) grouping: usize,
    pub(super) groups: Groups,
    /// All observations of this time or later are in memory, in microseconds.
    pub(super) floor: i64,
    /// The next time that beacons are scored.
    scored_next: Option<i64>,
    /// When the last full hour is scored again, because of late events.
    scored_again: Option<i64>,
    /// When that was done last.
    scored_again_last: i64,
    /// For rules that look for what is new.
    pub(super) seen: Seen,
    /// The last events, for kinds that count them and forget them.
    recent: Recent,
    /// Events before the floor that were read again and are in memory.
    pub(super) recalled: usize,
    /// The measured part of the time that it took.
    pub(super) spent: Duration,
    /// Reads of the log for late events.
    pub(super) late_reads: u64,
    /// Reads that left events out, because there were too many.
    pub(super) late_reads_cut: u64,
}

impl Watcher {
    /// `grouping` is the place of its subjects.
    pub(super) fn new(watched: WatchedRule, grouping: usize) -> Self {
        Watcher {
            watched,
            grouping,
            groups: Groups::default(),
            floor: i64::MIN,
            scored_next: None,
            scored_again: None,
            scored_again_last: i64::MIN,
            seen: Seen::default(),
            recent: Recent::default(),
            recalled: 0,
            spent: Duration::ZERO,
            late_reads: 0,
            late_reads_cut: 0,
        }
    }

    /// What the rule keeps of an event. `None` if it does not look at it.
    pub(super) fn observe(&self, view: &EventView<'_>) -> Option<Observation> {
        let WatchedRule { rule, after_id, .. } = &self.watched;
        let is_admitted = view.id() > *after_id && admits(rule, view);
        is_admitted.then(|| Observation::of(rule, view)).flatten()
    }

    /// Takes an event in. Returns false if it was left out.
    pub(super) fn take<H: History>(
        &mut self,
        view: &EventView<'_>,
        new: Observation,
        subject: &Subject,
        history: &mut H,
        output: &mut Output,
    ) -> Result<bool, H::Error> {
        if !self.is_new(view, new.time, subject, history, output.is_muted)? {
            return Ok(false);
        }
        let clock = view.created_at().micros();
        self.groups.of(subject, &self.watched.rule, clock);
        if !output.is_muted && self.may_be_late(new.time) {
            self.read_again(view, new.time, subject, history)?;
        }
        if matches!(self.watched.rule.kind, Kind::Volume { .. })
            && !self.watched.rule.count_repeats
            && self.recent.has_seen(new.digest)
        {
            return Ok(true);
        }
        let Watcher { watched, groups, floor, .. } = self;
        let mut context = Context {
            event: view.id(),
            ..Context::at(watched, &subject.key, (clock, *floor), output)
        };
        let deadline = groups.change(subject.id, |group| {
            group.touched = clock;
            group.state.take(&mut context, view, new);
            group.state.deadline(&watched.rule, clock)
        });
        groups.queue(subject.id, deadline.flatten());
        if matches!(watched.rule.kind, Kind::Beaconing { .. }) {
            self.queue_score(new.time, clock);
        }
        Ok(true)
    }

    /// Notes when beacons are to be scored, after an event of that time.
    fn queue_score(&mut self, time: i64, clock: i64) {
        let rule = &self.watched.rule;
        self.scored_next.get_or_insert_with(|| {
            let next = (clock.div_euclid(beaconing::EVERY) + 1) * beaconing::EVERY;
            next + rule.lateness_micros()
        });
        if beaconing::is_late(time, clock, rule) {
            let earliest = self.scored_again_last.saturating_add(beaconing::AGAIN_EVERY);
            self.scored_again = Some(after_grace(earliest, clock));
        }
    }

    /// When beacons are scored next.
    fn scored_first(&self) -> Option<i64> {
        self.scored_next.into_iter().chain(self.scored_again).min()
    }

    /// No deadline is earlier.
    pub(super) fn due_earliest(&self) -> Option<i64> {
        self.groups.queued_first().into_iter().chain(self.scored_first()).min()
    }

    /// The next deadline.
    pub(super) fn next_deadline(&mut self) -> Option<i64> {
        let of_groups = self.groups.next_deadline(&self.watched.rule);
        of_groups.into_iter().chain(self.scored_first()).min()
    }

    /// Judges what is due at that deadline, which is the next one.
    pub(super) fn judge(&mut self, at: i64, output: &mut Output) {
        let Watcher { watched, groups, floor, .. } = self;
        for id in groups.due(at, &watched.rule) {
            let deadline = groups.change(id, |group| {
                let mut context = Context::at(watched, &group.key, (at, *floor), output);
                group.state.judge(&mut context);
                group.state.deadline(&watched.rule, at)
            });
            // A deadline that stays would be judged for ever.
            groups.queue(id, deadline.flatten().filter(|next| *next > at));
        }
        if self.scored_again.is_some_and(|due| due <= at) {
            (self.scored_again, self.scored_again_last) = (None, at);
            let until = beaconing::last_hour(at, &watched.rule);
            beaconing::score(groups, watched, until, (at, *floor), output);
        }
        if let Some(due) = self.scored_next.filter(|due| *due <= at) {
            let until = due - watched.rule.lateness_micros();
            beaconing::score(groups, watched, until, (due, *floor), output);
            self.scored_next = (groups.len() > 0).then_some(due + beaconing::EVERY);
        }
    }

    /// Scores beacons at a time that no hour ends at.
    pub(super) fn score_until(&mut self, until: i64, clock: i64, output: &mut Output) {
        let Watcher { watched, groups, floor, .. } = self;
        beaconing::score(groups, watched, until, (clock, *floor), output);
    }

    /// Takes an alert that is known from before, when the evaluation goes on after a start.
    pub(super) fn remember(
        &mut self,
        subject: &Subject,
        episode: Episode,
        session: (String, bool),
    ) {
        self.groups.of(subject, &self.watched.rule, episode.detected_at);
        self.groups.change(subject.id, |group| group.state.remember(episode, session));
    }

    /// Everything since that time is in memory; what lies before must be read again.
    pub(super) fn knows_since(&mut self, micros: i64) {
        // Of the first events it is not known which of them an alert has counted.
        self.floor = self.floor.max(micros.saturating_add(self.watched.rule.reach_micros()));
    }

    /// Forgets observations that only late events need. `clock` is the log's.
    pub(super) fn forget(&mut self, clock: i64) {
        let rule = &self.watched.rule;
        let memory = rule.lateness_micros() + rule.reach_micros();
        let time = clock - memory;
        if time < self.floor.saturating_add((memory / FORGETS_PER_MEMORY).max(super::rule::SECOND))
        {
            return;
        }
        let mut forgets = false;
        self.groups.retain(|group| {
            let is_needed = group.state.forget_before(rule, time);
            group.known.forget_before(time);
            forgets |= is_needed.is_some();
            is_needed.unwrap_or(true)
        });
        self.recalled = 0;
        if forgets {
            self.floor = self.floor.max(time);
        }
    }

    /// The groups that may be given up, each with the time of its last event and its number.
    pub(super) fn unprotected(
        &self,
        is_urgent: bool,
    ) -> impl Iterator<Item = (i64, &GroupKey, u64)> {
        let rule = &self.watched.rule;
        let groups =
            self.groups.iter().filter(move |(_, group)| group.state.may_go(rule, is_urgent));
        groups.map(|(id, group)| (group.touched, &*group.key, id))
    }
}
