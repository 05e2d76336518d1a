//! Kinds that count within a window: failure bursts, different values, changes between on and off.
//!
//! Most events are part of no hit. Whether one can be is told without a walk through the window: by
//! places, by the tally of its chunks, or by the latest time of each value. In a busy group under
//! attack nearly every anchor is a hit already, so that only the few anchors are looked at that a new
//! observation can make one.

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use super::finder::Finder;
use super::observation::{Detail, Observation};

/// An anchor with that many observations in reach.
pub(super) fn bursts(finder: &mut Finder<'_>, threshold: usize) {
    if finder.in_reach() < threshold {
        return;
    }
    let new = finder.new;
    // Between an earlier anchor and the new observation there are enough without it.
    let nearest = (new + 1).saturating_sub(threshold).max(finder.first_anchor);
    if nearest > finder.first_anchor {
        finder.hit_already(nearest - 1, finder.end_of(nearest - 1));
    }
    // No reach ends later than that of the new observation.
    let furthest = new.min(finder.end - threshold);
    for anchor in (nearest..=furthest).rev() {
        let end = finder.end_of(anchor);
        let count = end - anchor;
        if count > threshold && anchor < new {
            finder.hit_already(anchor, end);
        } else if count >= threshold {
            finder.hit_until(anchor, end);
        }
    }
    finder.hits_before(nearest);
}

/// The values of a window, each with its latest time.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(HashMap<u64, i64>);

impl Latest {
    pub(super) fn note(&mut self, new: &Observation) {
        if let Detail::Value(value) = new.detail {
            let latest = self.0.entry(value).or_insert(new.time);
            *latest = new.time.max(*latest);
        }
    }

    pub(super) fn forget_before(&mut self, time: i64) {
        self.0.retain(|_, latest| *latest >= time);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are so many at that time or later.
    pub(super) fn has(&self, count: usize, since: i64) -> bool {
        let later = self.0.values().filter(|latest| **latest >= since);
        self.0.len() >= count && later.take(count).count() == count
    }
}

/// An anchor with that many different values in reach.
pub(super) fn distinct(finder: &mut Finder<'_>, at_least: usize) {
    let (window, new) = (finder.window, finder.new);
    let value = |place: usize| window.at(place).detail;
    let known = anchor_before(finder, at_least);
    if let Some(known) = known {
        finder.hit_already(known, finder.end_of(known));
    }
    let lowest = known.map_or(finder.first_anchor, |known| known + 1);
    // The values from the anchor to the end of its reach, the new one excepted.
    let mut counts: HashMap<Detail, u32> = HashMap::new();
    let mut end = finder.end;
    for observation in window.iter(new + 1..end) {
        *counts.entry(observation.detail).or_default() += 1;
    }
    for anchor in (lowest..=new).rev() {
        if anchor < new {
            *counts.entry(value(anchor)).or_default() += 1;
        }
        let shorter = finder.end_of(anchor);
        for place in shorter..end {
            remove(&mut counts, value(place));
        }
        end = shorter;
        let before = counts.len();
        let after = before + usize::from(!counts.contains_key(&value(new)));
        if anchor < new && before >= at_least {
            finder.hit_already(anchor, end);
            if end == new + 1 {
                // Earlier anchors have all of these values, too.
                return finder.hits_before(anchor);
            }
        } else if after >= at_least {
            finder.hit_until(anchor, end);
        }
    }
    finder.hits_before(lowest);
}

/// The last anchor with that many different values before the new observation: it and those before
/// it are hits already.
fn anchor_before(finder: &Finder<'_>, at_least: usize) -> Option<usize> {
    let before = finder.first_anchor..finder.new;
    let mut values = HashSet::new();
    let mut places = before.clone().rev().zip(finder.window.iter(before).rev());
    let enough = places.find(|(_, other)| values.insert(other.detail) && values.len() >= at_least);
    enough.map(|(place, _)| place)
}

fn remove(counts: &mut HashMap<Detail, u32>, value: Detail) {
    if let Some(count) = counts.get_mut(&value) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&value);
        }
    }
}

/// An anchor with that many changes between neighbors in reach.
pub(super) fn changes(finder: &mut Finder<'_>, transitions: usize) {
    let (window, new) = (finder.window, finder.new);
    if window.tally(finder.first_anchor..finder.end) < transitions {
        return;
    }
    // Between it and the new observation there are enough without it.
    let known = window.last_with(transitions, new).filter(|known| finder.first_anchor <= *known);
    if let Some(known) = known {
        finder.hit_already(known, finder.end_of(known));
    }
    let lowest = known.map_or(finder.first_anchor, |known| known + 1);
    // No reach ends later than that of the new observation.
    let Some(furthest) = window.last_with(transitions, finder.end) else { return };
    let furthest = furthest.min(new);
    let detail = |place: usize| window.at(place).detail;
    let differ = |a: usize, b: usize| usize::from(detail(a) != detail(b));
    // The changes that the new observation makes, if it is the last one in reach or if it is not.
    let (mut at_end, mut inside) = (0, 0);
    if let Some(before) = new.checked_sub(1) {
        at_end = differ(before, new);
        if new + 1 < window.len() {
            inside = at_end + differ(new, new + 1) - differ(before, new + 1);
        }
    }
    let mut next: Option<Detail> = None;
    let mut end = finder.end;
    let mut count = 0;
    let anchors = lowest..furthest + 1;
    for (anchor, observation) in anchors.clone().rev().zip(window.iter(anchors).rev()) {
        let shorter = finder.end_of(anchor);
        match next.replace(observation.detail) {
            Some(next) => {
                count += usize::from(next != observation.detail);
                count -= window.tally(shorter.max(anchor + 1) - 1..end);
            }
            None => count = window.tally(anchor..shorter),
        }
        end = shorter;
        // The changes that were there without the new observation.
        let before = match anchor {
            anchor if anchor == new => 0,
            _ if end > new + 1 => count - inside,
            _ => count - at_end,
        };
        if before >= transitions {
            finder.hit_already(anchor, end);
            if end == new + 1 {
                return finder.hits_before(anchor);
            }
        } else if count >= transitions {
            finder.hit_until(anchor, end);
        }
    }
    finder.hits_before(lowest);
}
