//! The hits that a new observation is part of.
//!
//! A hit has an *anchor*: the observation with which it begins. It is made of observations from the
//! anchor on, no later than the rule's reach. Another observation can only add to it. So the hits
//! of a set of observations do not depend on the order in which these arrive.
//!
//! **Invariant.** Before an observation is added, all members of all hits of the window are counted
//! in the episode of their anchor's day.

use std::ops::Range;

use super::observation::Observation;
use super::window::Window;

/// Microseconds of the days that episodes are cut at. At midnight UTC a new episode begins, however
/// long the trouble goes on: the cut is a place in time, so that it does not depend on what came
/// first.
const DAY: i64 = 86_400 * super::rule::SECOND;

/// The day of a hit that begins at that time.
pub(super) fn slot_of(time: i64) -> i64 {
    time.div_euclid(DAY)
}

/// The bit of an observation that says that it is counted in the episode of a day.
pub(super) fn bit(observation: &Observation, slot: i64) -> u32 {
    let days = slot_of(observation.time) - slot;
    u32::try_from(days).ok().and_then(|days| 1_u32.checked_shl(days)).unwrap_or(0)
}

/// The hits that a new observation is part of, of one day.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) slot: i64,
    /// The time of the first anchor.
    pub(super) start: i64,
    /// The time of the last member, counted or not.
    pub(super) end: i64,
    /// Members that are not counted in the day's episode yet, in order.
    pub(super) members: Vec<usize>,
    /// The places around the new observation that are counted, or among the members.
    covered: Range<usize>,
}

/// Collects hits.
pub(super) struct Finder<'a> {
    pub(super) window: &'a Window,
    /// The place of the new observation.
    pub(super) new: usize,
    /// The first anchor that reaches the new observation.
    pub(super) first_anchor: usize,
    /// The end of the reach of the new observation: the first place beyond it.
    pub(super) end: usize,
    /// Microseconds.
    reach: i64,
    found: Vec<Found>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(window: &'a Window, new: usize, reach: i64) -> Self {
        let time = window.at(new).time;
        Finder {
            window,
            new,
            first_anchor: window.from(time.saturating_sub(reach)),
            end: window.after(time.saturating_add(reach)),
            reach,
            found: Vec::new(),
        }
    }

    /// The end of the reach of an anchor: the first place beyond it.
    pub(super) fn end_of(&self, anchor: usize) -> usize {
        self.window.after(self.window.at(anchor).time.saturating_add(self.reach))
    }

    /// The observations within reach of the new one, before and after it.
    pub(super) fn in_reach(&self) -> usize {
        self.end - self.first_anchor
    }

    /// A hit with that anchor.
    pub(super) fn hit(&mut self, anchor: usize, members: impl IntoIterator<Item = usize>) {
        let start = self.window.at(anchor).time;
        let window = self.window;
        let found = self.found_at(start);
        for place in members {
            let member = window.at(place);
            found.end = found.end.max(member.time);
            if member.counted & bit(member, found.slot) == 0 {
                found.members.push(place);
            }
        }
    }

    /// A hit with that anchor and all observations until before `end`, the new one among them.
    pub(super) fn hit_until(&mut self, anchor: usize, end: usize) {
        let start = self.window.at(anchor).time;
        let covered = self.found_at(start).covered.clone();
        let [before, behind] = [anchor..covered.start.max(anchor), covered.end.min(end)..end];
        self.hit(anchor, [self.new, end - 1].into_iter().chain(before).chain(behind));
        self.cover(anchor, end);
    }

    /// A hit with that anchor and all observations until before `end` that is one without the new
    /// observation.
    pub(super) fn hit_already(&mut self, anchor: usize, end: usize) {
        self.hit(anchor, [self.new]);
        self.cover(anchor, end);
    }

    fn cover(&mut self, anchor: usize, end: usize) {
        let start = self.window.at(anchor).time;
        let covered = &mut self.found_at(start).covered;
        // Both hold the new observation.
        *covered = covered.start.min(anchor)..covered.end.max(end);
    }

    fn found_at(&mut self, start: i64) -> &mut Found {
        let slot = slot_of(start);
        let known = self.found.iter().position(|found| found.slot == slot);
        let place = known.unwrap_or_else(|| {
            let covered = self.new..self.new + 1;
            self.found.push(Found { slot, start, end: start, members: Vec::new(), covered });
            self.found.len() - 1
        });
        let found = &mut self.found[place];
        found.start = found.start.min(start);
        found
    }

    /// All anchors before `end` that reach the new observation are hits already: one of each day
    /// is enough, because hits of a day that share an observation are one episode.
    pub(super) fn hits_before(&mut self, end: usize) {
        let mut end = end;
        while end > self.first_anchor {
            self.hit(end - 1, [self.new]);
            let day = slot_of(self.window.at(end - 1).time) * DAY;
            end = self.window.from(day).min(end - 1);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Found> {
        for found in &mut self.found {
            found.members.sort_unstable();
            found.members.dedup();
        }
        self.found.sort_by_key(|found| found.slot);
        self.found
    }
}
