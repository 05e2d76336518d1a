//! Beaconing: connections too regular to be human, which few devices of the application share.
//!
//! At the end of each hour the connections of the last day are scored, and once more a moment after
//! the last event that came when its hour was scored already. Healthy devices are regular,
//! too: so prevalence decides, the share of the application's groups with the same period.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::context::Context;
use super::episode::{Episode, Mark};
use super::finder::slot_of;
use super::group::{Group, State};
use super::groups::Groups;
use super::hits::Windowed;
use super::observation::{Detail, Observation};
use super::output::{GroupKey, Output, What};
use super::rule::{Kind, Rule, SECOND};
use super::watcher::WatchedRule;
use super::window::Window;

/// The time that is looked at.
pub(super) const SPAN_SECONDS: u32 = 86_400;

const SPAN: i64 = SPAN_SECONDS as i64 * SECOND;

/// Beacons are scored once in this time.
pub(super) const EVERY: i64 = 3_600 * SECOND;

/// For late events the last full hour is scored again no more often than this.
pub(super) const AGAIN_EVERY: i64 = 60 * SECOND;

/// Below this interquartile range the skewness of intervals is noise of the clocks.
const QUARTILE_RANGE_MIN: i64 = 10 * SECOND;

/// Groups with fewer connections have no period yet, and do not count for the prevalence.
const CONNECTIONS_MIN: usize = 5;

/// Two periods are the same within this share.
const SAME_PERIOD: f64 = 0.1;

/// The regularity of a group's connections.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    application: u64,
    /// The median of the intervals, in microseconds.
    period: f64,
    score: f64,
    connections: usize,
}

/// Scores each group's connections of the day before `until`, and forgets older connections.
/// `clock` and `floor` are those of the context.
pub(super) fn score(
    groups: &mut Groups,
    watched: &WatchedRule,
    until: i64,
    (clock, floor): (i64, i64),
    output: &mut Output,
) {
    let rule = &watched.rule;
    let Kind::Beaconing { min_connections, score, max_prevalence } = rule.kind else { return };
    let mut pulses = Vec::new();
    groups.retain(|group| {
        let State::Windowed(windowed) = &mut group.state else { return true };
        windowed.forget_before(until - SPAN - rule.lateness_micros(), until - SPAN);
        !windowed.is_empty()
    });
    for (id, group) in groups.iter() {
        if let State::Windowed(windowed) = &group.state {
            let pulse = pulse(&windowed.window, until);
            pulses.extend(pulse.map(|pulse| (id, Arc::clone(&group.key), pulse)));
        }
    }
    pulses.sort_by(|(_, one, _), (_, other, _)| one.values.cmp(&other.values));
    for (id, pulse) in beacons(&pulses, min_connections, score, max_prevalence) {
        let Some(group) = groups.get_mut(id) else { continue };
        let Group { key, state: State::Windowed(Windowed { window, episodes, .. }), .. } = group
        else {
            continue;
        };
        let mut context = Context::at(watched, key, (clock, floor), output);
        note(&mut context, episodes, window, (until, &pulse));
    }
}

/// The last full hour that is scored by that time of the log's clock.
pub(super) fn last_hour(clock: i64, rule: &Rule) -> i64 {
    (clock - rule.lateness_micros()).div_euclid(EVERY) * EVERY
}

/// Whether an event of that time came when its hour was scored already, and belongs to the day that
/// is scored.
pub(super) fn is_late(time: i64, clock: i64, rule: &Rule) -> bool {
    let hour = last_hour(clock, rule);
    (hour - SPAN..hour).contains(&time)
}

/// The pulse of the connections within the day before `until`.
fn pulse(window: &Window, until: i64) -> Option<Pulse> {
    let all: Vec<&Observation> = within_day(window, until).collect();
    let application = match all.last()?.detail {
        Detail::Value(application) => application,
        _ => 0,
    };
    if all.len() < CONNECTIONS_MIN {
        return None;
    }
    let mut intervals: Vec<i64> = all.windows(2).map(|two| two[1].time - two[0].time).collect();
    intervals.sort_unstable();
    let [q1, median, q3] = [1, 2, 3].map(|quarter| intervals[(intervals.len() - 1) * quarter / 4]);
    if median <= 0 {
        return None;
    }
    let range = q3 - q1;
    let float = |micros: i64| {
        #[expect(clippy::cast_precision_loss, reason = "below a day")]
        let float = micros as f64;
        float
    };
    let skewness =
        if range < QUARTILE_RANGE_MIN { 0.0 } else { float(q1 + q3 - 2 * median) / float(range) };
    let mut deviations: Vec<i64> = intervals.iter().map(|i| (i - median).abs()).collect();
    deviations.sort_unstable();
    let deviation = deviations[(deviations.len() - 1) / 2];
    let dispersion = (float(median - deviation) / float(median)).max(0.0);
    let score = f64::midpoint(1.0 - skewness.abs(), dispersion);
    Some(Pulse { application, period: float(median), score, connections: all.len() })
}

/// The connections of the day before `until`.
fn within_day(window: &Window, until: i64) -> impl Iterator<Item = &Observation> {
    window.iter(window.from(until - SPAN)..window.from(until))
}

/// The groups that beacon: few of their application's groups have their period.
fn beacons(
    pulses: &[(u64, Arc<GroupKey>, Pulse)],
    min_connections: u32,
    score: f64,
    max_prevalence: f64,
) -> Vec<(u64, Pulse)> {
    let mut periods: HashMap<u64, Vec<f64>> = HashMap::new();
    for (.., pulse) in pulses {
        periods.entry(pulse.application).or_default().push(pulse.period);
    }
    for all in periods.values_mut() {
        all.sort_unstable_by(f64::total_cmp);
    }
    let mut found = Vec::new();
    for (id, _, pulse) in pulses {
        if pulse.score < score || pulse.connections < min_connections as usize {
            continue;
        }
        let all = periods.get(&pulse.application).map_or(&[][..], Vec::as_slice);
        let from = all.partition_point(|other| *other < pulse.period * (1.0 - SAME_PERIOD));
        let until = all.partition_point(|other| *other <= pulse.period * (1.0 + SAME_PERIOD));
        #[expect(clippy::cast_precision_loss, reason = "at most 100,000 groups")]
        let prevalence = (until - from) as f64 / all.len().max(1) as f64;
        // A single device of an application shares its period with itself only.
        if until - from <= 1 || prevalence <= max_prevalence {
            found.push((*id, *pulse));
        }
    }
    found
}

/// Notes a beacon, as scored until a time, in the episodes of its group.
fn note(
    context: &mut Context<'_>,
    episodes: &mut Vec<Episode>,
    window: &Window,
    (until, pulse): (i64, &Pulse),
) {
    let from = until - SPAN;
    let marks: Vec<Mark> = within_day(window, until).map(Observation::mark).collect();
    let (Some(first), Some(last)) = (marks.first().copied(), marks.last().copied()) else { return };
    if let Some(episode) = episodes.iter_mut().find(|episode| episode.end >= from) {
        let seen = episode.end;
        let new: Vec<Mark> = marks.into_iter().filter(|mark| mark.time > seen).collect();
        if !new.is_empty() {
            new.into_iter().for_each(|mark| episode.add(mark));
            let is_told = episode.is_told();
            context.tell(What::Extended { is_told }, episode);
        }
        return;
    }
    let mut episode = context.episode(slot_of(first.time), first.time, last.time);
    episode.opened_by = last.id;
    marks.into_iter().for_each(|mark| episode.add(mark));
    episode.told = (episode.count, episode.end);
    episode.measure = pulse.score;
    context.tell(What::Opened, &episode);
    episodes.push(episode);
}
