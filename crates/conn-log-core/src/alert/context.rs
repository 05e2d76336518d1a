//! What the evaluation of one rule and one group needs beside them.

use std::sync::Arc;

use super::episode::{Episode, Mark};
use super::output::{Change, GroupKey, Output, What};
use super::rule::{Rule, SECOND};
use super::watcher::WatchedRule;

/// What goes on is judged no earlier than this after the registration of the event that made it what
/// it is: the events of an import, or of one that is sent event by event, belong together.
const GRACE: i64 = 2 * SECOND;

/// The deadline of a time, in microseconds. `noted` is the `created_at` of the event that made what
/// is judged what it is.
pub(super) fn after_grace(deadline: i64, noted: i64) -> i64 {
    deadline.max(noted.saturating_add(GRACE))
}

/// The rule, the group, the moment, and where changes go.
pub(super) struct Context<'a> {
    pub(super) rule: &'a Rule,
    pub(super) number: i64,
    pub(super) group: &'a Arc<GroupKey>,
    /// The log's clock in microseconds.
    pub(super) clock: i64,
    /// All events of this time or later are in memory, in microseconds.
    pub(super) floor: i64,
    /// The event that is taken in; 0 at a deadline.
    pub(super) event: i64,
    pub(super) output: &'a mut Output,
}

impl<'a> Context<'a> {
    /// At a deadline. `clock` and `floor` are as above.
    pub(super) fn at(
        watched: &'a WatchedRule,
        group: &'a Arc<GroupKey>,
        (clock, floor): (i64, i64),
        output: &'a mut Output,
    ) -> Self {
        let WatchedRule { rule, number, .. } = watched;
        Context { rule, number: *number, group, clock, floor, event: 0, output }
    }

    pub(super) fn tell(&mut self, what: What, episode: &Episode) {
        // An alert without a number was found again while nothing was told.
        if !self.output.is_muted && episode.alert != 0 {
            self.output.changes.push(Change {
                rule: self.number,
                group: Arc::clone(self.group),
                what,
                episode: episode.clone(),
                at: self.clock,
            });
        }
    }

    /// A new episode without events.
    pub(super) fn episode(&mut self, slot: i64, start: i64, end: i64) -> Episode {
        Episode {
            alert: self.output.next_alert(),
            slot,
            opened_by: self.event,
            start,
            end,
            goes_on: false,
            count: 0,
            first: Vec::new(),
            last: Vec::new(),
            detected_at: self.clock,
            told: (0, end),
            measure: 0.0,
        }
    }

    /// An episode of one event, told at once.
    pub(super) fn open(&mut self, slot: i64, mark: Mark, opened_by: i64) -> Episode {
        let mut episode = self.episode(slot, mark.time, mark.time);
        episode.opened_by = opened_by;
        episode.add(mark);
        episode.told = (1, mark.time);
        episode
    }
}
