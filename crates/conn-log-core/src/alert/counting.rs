//! Kinds that count within a window: failure bursts, different values, changes between on and off.

use std::collections::HashMap;

use super::window::{Detail, Finder};

/// An anchor with that many observations in reach.
pub(super) fn bursts(finder: &mut Finder<'_>, threshold: usize) {
    let new = finder.new;
    let nearest = new.saturating_sub(threshold - 1).max(finder.first_anchor());
    for anchor in (nearest..=new).rev() {
        let end = finder.end_of(anchor);
        let count = end - anchor;
        if count > threshold && anchor < new {
            // It is a hit without the new observation.
            finder.hit(anchor, [new]);
        } else if count >= threshold {
            finder.hit(anchor, anchor..end);
        }
    }
    // Between an earlier anchor and the new observation there are enough without it.
    finder.hits_before(nearest);
}

/// An anchor with that many different values in reach.
pub(super) fn distinct(finder: &mut Finder<'_>, at_least: usize) {
    let (all, new) = (finder.all, finder.new);
    if finder.in_reach() < at_least || !has_values(finder, at_least) {
        return;
    }
    let value = |place: usize| match all[place].detail {
        Detail::Value(value) => value,
        _ => 0,
    };
    // The values from the anchor to the end of its reach, the new one excepted.
    let mut counts: HashMap<u64, u32> = HashMap::new();
    let mut end = finder.end_of(new);
    for place in new + 1..end {
        *counts.entry(value(place)).or_default() += 1;
    }
    for anchor in (finder.first_anchor()..=new).rev() {
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
            finder.hit(anchor, [new]);
            if end == new + 1 {
                // Earlier anchors have all of these values, too.
                return finder.hits_before(anchor);
            }
        } else if after >= at_least {
            finder.hit(anchor, anchor..end);
        }
    }
}

/// Whether so many different values are within reach of the new observation on either side: without
/// them no anchor has as many. Most groups have a few values that repeat, and this tells it without
/// a table of counts.
fn has_values(finder: &Finder<'_>, at_least: usize) -> bool {
    if at_least > VALUES_LISTED_MAX {
        return true;
    }
    let mut values: Vec<Detail> = Vec::with_capacity(at_least);
    for place in finder.first_anchor()..finder.end_of(finder.new) {
        let detail = finder.all[place].detail;
        if !values.contains(&detail) {
            values.push(detail);
            if values.len() >= at_least {
                return true;
            }
        }
    }
    false
}

/// Values that are compared one by one. Beyond that a table is faster.
const VALUES_LISTED_MAX: usize = 16;

fn remove(counts: &mut HashMap<u64, u32>, value: u64) {
    if let Some(count) = counts.get_mut(&value) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&value);
        }
    }
}

/// An anchor with that many changes between neighbors in reach.
pub(super) fn changes(finder: &mut Finder<'_>, transitions: usize) {
    let (all, new) = (finder.all, finder.new);
    // Between so few observations there are fewer changes.
    if finder.in_reach() <= transitions {
        return;
    }
    let differ = |a: usize, b: usize| usize::from(all[a].detail != all[b].detail);
    let mut end = finder.end_of(new);
    let mut count: usize = (new + 1..end).map(|place| differ(place - 1, place)).sum();
    for anchor in (finder.first_anchor()..=new).rev() {
        if anchor < new {
            count += differ(anchor, anchor + 1);
        }
        let shorter = finder.end_of(anchor);
        count -=
            (shorter.max(anchor + 1)..end).map(|place| differ(place - 1, place)).sum::<usize>();
        end = shorter;
        // The changes that were there without the new observation.
        let before = if anchor == new {
            0
        } else if end > new + 1 {
            count + differ(new - 1, new + 1) - differ(new - 1, new) - differ(new, new + 1)
        } else {
            count - differ(new - 1, new)
        };
        if before >= transitions {
            finder.hit(anchor, [new]);
            if end == new + 1 {
                return finder.hits_before(anchor);
            }
        } else if count >= transitions {
            finder.hit(anchor, anchor..end);
        }
    }
}
