//! Sequences: some of the first, then one of the second.

use super::window::{Detail, Finder, slot_of};

/// An anchor of the first kind with an event of the second in reach, and at least `count` of the
/// first between.
pub(super) fn sequences(finder: &mut Finder<'_>, count: usize) {
    let (all, new) = (finder.all, finder.new);
    if finder.in_reach() <= count {
        return;
    }
    let role = |place: usize| match all[place].detail {
        Detail::Role { is_first, is_then } => (is_first, is_then),
        _ => (false, false),
    };
    let span = finder.first_anchor()..finder.end_of(new);
    let thens: Vec<usize> = span.clone().filter(|place| role(*place).1).collect();
    if thens.last().is_none_or(|last| *last < new) {
        return;
    }
    let firsts: Vec<usize> = span.filter(|place| role(*place).0).collect();
    // The last second event of the previous anchor, and its day: the members of an anchor with the
    // same are among those.
    let mut told: Option<(usize, i64)> = None;
    for (index, anchor) in firsts.iter().copied().enumerate().take_while(|(_, a)| *a <= new) {
        let end = finder.end_of(anchor);
        // First events from the anchor until before a place.
        let until = |place: usize| firsts.partition_point(|first| *first < place) - index;
        let in_reach = &thens[..thens.partition_point(|then| *then < end)];
        let hits = in_reach.iter().copied().filter(|then| *then > anchor && until(*then) >= count);
        let hits: Vec<usize> = hits.collect();
        let Some(last) = hits.last().copied().filter(|last| *last >= new) else { continue };
        let key = (last, slot_of(all[anchor].time));
        if told.replace(key) == Some(key) {
            continue;
        }
        let members = firsts[index..index + until(last)].iter().chain(&hits).copied();
        finder.hit(anchor, members);
    }
}
