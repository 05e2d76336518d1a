//! The observations of one group, in the order of time, and what kinds of hits ask of them.
//!
//! A hit has an *anchor*: the observation with which it begins. It is made of observations from the
//! anchor on, no later than the rule's reach. Another observation can only add to it. So the hits
//! of a set of observations do not depend on the order in which these arrive.

use std::collections::HashSet;

use super::episode::Mark;

/// What a rule keeps of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Observation {
    /// Microseconds on the rule's clock.
    pub(super) time: i64,
    /// Equal for repeats.
    pub(super) digest: u64,
    pub(super) id: i64,
    pub(super) detail: Detail,
    /// Bit `n` says that it is counted in the episode of the day that begins `n` days before its
    /// own day.
    pub(super) counted: u32,
}

/// The part of an observation that its rule's kind needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Detail {
    Nothing,
    /// A number made of a value.
    Value(u64),
    /// Its parts in a sequence.
    Role {
        is_first: bool,
        is_then: bool,
    },
    /// On or off.
    Switch(bool),
    /// Latitude and longitude in degrees.
    Place(f64, f64),
}

impl Observation {
    pub(super) fn mark(&self) -> Mark {
        Mark { time: self.time, digest: self.digest, id: self.id }
    }
}

/// Microseconds of the days that episodes are cut at. At midnight UTC a new episode begins, however
/// long the trouble goes on: the cut is a place in time, so that it does not depend on what came
/// first.
const DAY: i64 = 86_400 * super::rule::SECOND;

/// The day of a hit that begins at that time.
pub(super) fn slot_of(time: i64) -> i64 {
    time.div_euclid(DAY)
}

/// Observations in the order of time; at one instant in the order of their content.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    observations: Vec<Observation>,
    /// The digests, where repeats have other times.
    digests: Option<HashSet<u64>>,
}

impl Window {
    /// `is_by_arrival` if repeats of an observation have a time of their own.
    pub(super) fn new(is_by_arrival: bool) -> Self {
        Window { observations: Vec::new(), digests: is_by_arrival.then(HashSet::new) }
    }

    pub(super) fn as_slice(&self) -> &[Observation] {
        &self.observations
    }

    pub(super) fn len(&self) -> usize {
        self.observations.len()
    }

    /// Adds an observation, and returns its place. `None` for a repeat that does not count.
    pub(super) fn insert(&mut self, new: Observation, count_repeats: bool) -> Option<usize> {
        let key = |other: &Observation| (other.time, other.digest, other.id);
        let place = self.observations.partition_point(|other| key(other) < key(&new));
        if !count_repeats {
            let is_same =
                |other: &Observation| (other.time, other.digest) == (new.time, new.digest);
            let before = place.checked_sub(1).map(|place| &self.observations[place]);
            let is_repeat = before.is_some_and(is_same)
                || self.observations.get(place).is_some_and(is_same)
                || self.digests.as_mut().is_some_and(|digests| !digests.insert(new.digest));
            if is_repeat {
                return None;
            }
        }
        self.observations.insert(place, new);
        Some(place)
    }

    /// Marks observations as counted in the episode of a day.
    pub(super) fn count(&mut self, slot: i64, members: &[usize]) {
        for member in members {
            let observation = &mut self.observations[*member];
            observation.counted |= bit(observation, slot);
        }
    }

    /// The observations within a stretch of time, both ends included.
    pub(super) fn within(&self, (from, until): (i64, i64)) -> &[Observation] {
        let begin = self.observations.partition_point(|other| other.time < from);
        let end = self.observations.partition_point(|other| other.time <= until);
        &self.observations[begin..end]
    }

    /// Takes in observations of the same group, in order. Those that it has are counted where either
    /// says so.
    pub(super) fn merge(&mut self, others: &[Observation], count_repeats: bool) {
        let is_same = |one: &Observation, other: &Observation| {
            (one.time, one.digest) == (other.time, other.digest)
                && (one.id == other.id || !count_repeats)
        };
        let mut all = std::mem::take(&mut self.observations);
        all.extend_from_slice(others);
        all.sort_by_key(|one| (one.time, one.digest, one.id));
        for next in all {
            match self.observations.last_mut().filter(|last| is_same(last, &next)) {
                Some(last) => last.counted |= next.counted,
                None => self.observations.push(next),
            }
        }
    }

    /// Forgets what is older than that time.
    pub(super) fn forget_before(&mut self, time: i64) {
        let count = self.observations.partition_point(|other| other.time < time);
        for forgotten in self.observations.drain(..count) {
            if let Some(digests) = &mut self.digests {
                digests.remove(&forgotten.digest);
            }
        }
    }
}

fn bit(observation: &Observation, slot: i64) -> u32 {
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
}

/// Collects hits.
pub(super) struct Finder<'a> {
    pub(super) all: &'a [Observation],
    /// The place of the new observation.
    pub(super) new: usize,
    /// Microseconds.
    pub(super) reach: i64,
    found: Vec<Found>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(window: &'a Window, new: usize, reach: i64) -> Self {
        Finder { all: window.as_slice(), new, reach, found: Vec::new() }
    }

    /// A hit with that anchor.
    pub(super) fn hit(&mut self, anchor: usize, members: impl IntoIterator<Item = usize>) {
        let start = self.all[anchor].time;
        let slot = slot_of(start);
        let all = self.all;
        let known = self.found.iter().position(|found| found.slot == slot);
        let known = known.unwrap_or_else(|| {
            self.found.push(Found { slot, start, end: start, members: Vec::new() });
            self.found.len() - 1
        });
        let found = &mut self.found[known];
        found.start = found.start.min(start);
        for place in members {
            found.end = found.end.max(all[place].time);
            if all[place].counted & bit(&all[place], slot) == 0 {
                found.members.push(place);
            }
        }
    }

    /// The end of the reach of an anchor: the first place beyond it.
    pub(super) fn end_of(&self, anchor: usize) -> usize {
        let until = self.all[anchor].time.saturating_add(self.reach);
        // Most often the new observation is the last one, and within reach.
        match self.all.last() {
            Some(last) if last.time <= until => self.all.len(),
            _ => self.all.partition_point(|other| other.time <= until),
        }
    }

    /// The first anchor that reaches the new observation.
    pub(super) fn first_anchor(&self) -> usize {
        let from = self.all[self.new].time.saturating_sub(self.reach);
        self.all[..self.new].partition_point(|other| other.time < from)
    }

    /// The observations within reach of the new one, before and after it.
    pub(super) fn in_reach(&self) -> usize {
        self.end_of(self.new) - self.first_anchor()
    }

    /// All anchors before `end` that reach the new observation are hits already: one of each day
    /// is enough, because hits of a day that share an observation are one episode.
    pub(super) fn hits_before(&mut self, end: usize) {
        let first = self.first_anchor();
        let mut end = end;
        while end > first {
            self.hit(end - 1, [self.new]);
            let day = slot_of(self.all[end - 1].time) * DAY;
            end = self.all[..end].partition_point(|other| other.time < day);
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
