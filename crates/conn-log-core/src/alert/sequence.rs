//! Sequences: some of the first, then one of the second.

use super::finder::{Finder, slot_of};
use super::observation::{Detail, Observation};

/// An anchor of the first kind with an event of the second in reach, and at least `count` of the
/// first between.
pub(super) fn sequences(finder: &mut Finder<'_>, count: usize) {
    let (window, new) = (finder.window, finder.new);
    let span = finder.first_anchor..finder.end;
    if window.tally(span.clone()) < count || !window.iter(new..finder.end).any(is_then) {
        return;
    }
    let (mut firsts, mut thens): (Vec<usize>, Vec<usize>) = Default::default();
    for (place, observation) in span.clone().zip(window.iter(span)) {
        if is_first(observation) {
            firsts.push(place);
        }
        if is_then(observation) {
            thens.push(place);
        }
    }
    let is_new_first = is_first(window.at(new));
    // The last second event of the previous anchor, and its day: the members of an anchor with the
    // same are among those.
    let mut told: Option<(usize, i64)> = None;
    for (index, anchor) in firsts.iter().copied().enumerate().take_while(|(_, a)| *a <= new) {
        // First events from the anchor until before a place.
        let until =
            |place: usize| firsts.partition_point(|first| *first < place).saturating_sub(index);
        let end = finder.end_of(anchor);
        let in_reach = &thens[..thens.partition_point(|then| *then < end)];
        let is_hit = |then: &usize| until(*then) >= count;
        let Some(last) = in_reach.last().copied().filter(|last| *last >= new && is_hit(last))
        else {
            continue;
        };
        let key = (last, slot_of(window.at(anchor).time));
        if told.replace(key) == Some(key) {
            continue;
        }
        // Without the new observation it was a hit until that second event: the members before it
        // are counted.
        let known = in_reach.iter().rev().copied().find(|then| *then != new);
        let known = known.filter(|then| !is_new_first && is_hit(then)).unwrap_or(anchor);
        let firsts = &firsts[firsts.partition_point(|first| *first < known)..index + until(last)];
        let hits = &in_reach[in_reach.partition_point(|then| *then < known || !is_hit(then))..];
        let new = (is_then(window.at(new)) && is_hit(&new)).then_some(new);
        finder.hit(anchor, firsts.iter().chain(hits).copied().chain(new));
    }
}

fn is_first(observation: &Observation) -> bool {
    matches!(observation.detail, Detail::Role { is_first: true, .. })
}

fn is_then(observation: &Observation) -> bool {
    matches!(observation.detail, Detail::Role { is_then: true, .. })
}
