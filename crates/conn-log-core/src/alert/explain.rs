//! An explanation of an alert that a person understands.

use std::collections::BTreeSet;

use super::episode::Episode;
use super::overflow::OVERFLOW_GROUP;
use super::rule::{Kind, Rule, SECOND};
use super::travel;
use super::view::EventView;
use crate::{Record, Timestamp};

/// Explains an episode of a rule. `group` is the group's JSON; `evidence` has its events, as far as
/// they are still there.
pub fn explain(rule: &Rule, group: &str, episode: &Episode, evidence: &[Record]) -> String {
    if group == OVERFLOW_GROUP {
        return format!(
            "the rules have more groups or events than are kept in memory: {} groups were given up or \
             cut, the quietest and the busiest; narrow the filters or group by fields with fewer \
             values",
            episode.count
        );
    }
    let who = who(group);
    let count = episode.count;
    let span = duration(episode.end - episode.start);
    let within = within(count, episode.end - episode.start);
    let views: Vec<EventView<'_>> = evidence.iter().map(EventView::new).collect();
    match rule.kind() {
        Kind::Match(_) => format!("{} of {who}{within}", what(count, &views)),
        Kind::FailureBurst { threshold, window_seconds } => format!(
            "{} of {who}{}{within}; the rule looks for {threshold} within {}",
            what(count, &views),
            from(&views),
            duration(i64::from(*window_seconds) * SECOND)
        ),
        Kind::DistinctCount { of, at_least, window_seconds } => {
            let values: BTreeSet<String> =
                views.iter().filter_map(|view| Some(view.value(of)?.into_owned())).collect();
            let more = if count > views.len() as u64 { " or more" } else { "" };
            format!(
                "{}{more} different {of} in {} of {who}{within}; the rule looks for {at_least} \
                 within {}",
                values.len(),
                what(count, &views),
                duration(i64::from(*window_seconds) * SECOND)
            )
        }
        Kind::Sequence { first, then, .. } => {
            let firsts = views.iter().filter(|view| view.passes(first)).count();
            let thens: Vec<&EventView<'_>> = views.iter().filter(|v| v.passes(then)).collect();
            let last = thens.last().map(|view| {
                let fields = view.fields();
                format!("{} {} (event {})", fields.connection_type, fields.status, view.id())
            });
            format!(
                "{firsts} {} and then {} of {who}{}{within}",
                events(firsts as u64),
                last.as_deref().unwrap_or("the event after them"),
                from(&views)
            )
        }
        Kind::FirstSeen { of, .. } => {
            let text = |view: &EventView<'_>| {
                let values = of
                    .iter()
                    .map(|field| format!("{field} {}", view.value(field).unwrap_or_default()));
                values.collect::<Vec<_>>().join(", ")
            };
            let new: Vec<String> = views.iter().take(3).map(text).collect();
            let more = if count > 3 { format!(", and {} more", count - 3) } else { String::new() };
            format!("{who} with what was never seen before: {}{more}", new.join("; "))
        }
        Kind::Flapping { transitions, window_seconds } => format!(
            "{who} went on and off: {count} events{within}; the rule looks for {transitions} changes \
             within {}",
            duration(i64::from(*window_seconds) * SECOND)
        ),
        Kind::Silence { .. } => silence(&who, rule, episode),
        Kind::LongSession { longer_than_seconds } => {
            let limit = duration(i64::from(*longer_than_seconds) * SECOND);
            let since = Timestamp::from_micros(episode.start);
            if episode.goes_on {
                format!("a session of {who} is open since {since}, longer than {limit}")
            } else {
                format!("a session of {who} lasted {span}, longer than {limit}")
            }
        }
        Kind::ImpossibleTravel { max_kmh, .. } => {
            journey(&who, names_several(group), &views, *max_kmh)
        }
        Kind::Beaconing { .. } => {
            let mean = duration(
                (episode.end - episode.start) / i64::try_from(count.max(2) - 1).unwrap_or(1),
            );
            let connect = if names_several(group) { "connect" } else { "connects" };
            format!(
                "{who} {connect} by the clock: {count} connections{within}, one in about {mean}; \
                 score {:.2}",
                episode.measure
            )
        }
        Kind::Volume { .. } => format!(
            "{count} {} of {who} within {span}; {} in a window were usual before",
            events(count),
            episode.measure
        ),
    }
}

/// The group in words.
fn who(group: &str) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(group).unwrap_or_default();
    let member = |(name, value): (&String, &serde_json::Value)| {
        format!("{} {}", name.trim_end_matches("_id"), value.as_str().unwrap_or_default())
    };
    object.iter().map(member).collect::<Vec<_>>().join(" and ")
}

/// Whether a group is more than one thing.
fn names_several(group: &str) -> bool {
    serde_json::from_str::<serde_json::Map<_, _>>(group).is_ok_and(|object| object.len() > 1)
}

fn events(count: u64) -> &'static str {
    if count == 1 { "event" } else { "events" }
}

/// Such as `5 denied attempted events`.
fn what(count: u64, views: &[EventView<'_>]) -> String {
    let kinds: BTreeSet<(&str, &str)> = views
        .iter()
        .map(|view| (view.fields().status.as_str(), view.fields().connection_type.as_str()))
        .collect();
    let noun = events(count);
    match kinds.iter().next() {
        Some((status, kind)) if kinds.len() == 1 => format!("{count} {noun} ({kind}, {status})"),
        _ => format!("{count} {noun}"),
    }
}

/// Such as ` from 3 addresses`.
fn from(views: &[EventView<'_>]) -> String {
    let addresses: BTreeSet<_> = views.iter().filter_map(|view| view.fields().ip_address).collect();
    match addresses.iter().next() {
        None => String::new(),
        Some(address) if addresses.len() == 1 => format!(" from {address}"),
        Some(_) => format!(" from {} addresses", addresses.len()),
    }
}

/// Such as ` within 40 s`; nothing for one event.
fn within(count: u64, micros: i64) -> String {
    match micros {
        0 if count == 1 => String::new(),
        0 => " at the same instant".to_owned(),
        micros => format!(" within {}", duration(micros)),
    }
}

fn silence(who: &str, rule: &Rule, episode: &Episode) -> String {
    let since = Timestamp::from_micros(episode.start);
    if episode.goes_on {
        let after = duration(rule.reach_micros());
        format!("no event of {who} since {since}, for more than {after}")
    } else {
        let span = duration(episode.end - episode.start);
        format!("no event of {who} for {span}, from {since}")
    }
}

/// The fastest journey in the evidence.
fn journey(who: &str, are_several: bool, views: &[EventView<'_>], max_kmh: u32) -> String {
    let places: Vec<(i64, (f64, f64))> = views
        .iter()
        .filter_map(|view| Some((view.fields().timestamp.micros(), view.place()?)))
        .collect();
    let mut fastest: Option<(f64, f64, i64)> = None;
    for (index, (time, place)) in places.iter().enumerate() {
        for (other_time, other) in &places[index + 1..] {
            let km = travel::distance_km(*place, *other);
            let kmh = km / travel::hours(*time, *other_time).max(1.0 / 3_600.0);
            if fastest.is_none_or(|(best, ..)| kmh > best) {
                fastest = Some((kmh, km, time.abs_diff(*other_time).cast_signed()));
            }
        }
    }
    let was = if are_several { "were" } else { "was" };
    match fastest {
        Some((_, km, 0)) => format!(
            "{who} {was} in two places {km:.0} km apart at the same instant, and no one travels \
             faster than {max_kmh} km/h"
        ),
        Some((kmh, km, micros)) => format!(
            "{who} {was} in two places {km:.0} km apart within {}: {kmh:.0} km/h, and no one travels \
             faster than {max_kmh}",
            duration(micros)
        ),
        None => format!("{who} {was} in two places that no one can travel between in that time"),
    }
}

/// Such as `1 h 30 min`: the two largest units.
fn duration(micros: i64) -> String {
    let seconds = micros.max(0) / SECOND;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds % 86_400 / 3_600, "h"),
        (seconds % 3_600 / 60, "min"),
        (seconds % 60, "s"),
    ];
    let some = parts.iter().skip_while(|(count, _)| *count == 0).take(2);
    let texts: Vec<String> = some
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if texts.is_empty() { "1 s".to_owned() } else { texts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_their_two_largest_units() {
        for (seconds, text) in
            [(0, "1 s"), (61, "1 min 1 s"), (3_600, "1 h"), (90_061, "1 d 1 h"), (86_401, "1 d")]
        {
            assert_eq!(duration(seconds * SECOND), text);
        }
    }
}
