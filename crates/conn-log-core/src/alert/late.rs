//! Events whose neighbors are no longer in memory: these are read again, so that the episodes are
//! those of the set of events.

use super::context::Context;
use super::group::State;
use super::history::{History, HistoryQuery, narrowed};
use super::hits::Windowed;
use super::observation::{Observation, admits};
use super::output::Output;
use super::rule::{Clock, Kind, Rule};
use super::subjects::{Subject, values};
use super::view::EventView;
use super::watcher::{WatchedRule, Watcher};
use crate::{EventFilter, Timestamp};

/// Limit of events that are read again around a late one.
const NEIGHBORS_MAX: usize = 20_000;

/// Whether an event at that time has neighbors before `floor`, if the episodes of the rule's kind
/// are a function of the set of events.
pub(super) fn is_late(rule: &Rule, time: i64, floor: i64) -> bool {
    rule.clock == Clock::Event
        && time.saturating_sub(rule.reach_micros()) < floor
        && matches!(
            rule.kind,
            Kind::FailureBurst { .. }
                | Kind::DistinctCount { .. }
                | Kind::Sequence { .. }
                | Kind::Flapping { .. }
                | Kind::ImpossibleTravel { .. }
                | Kind::Match(_)
        )
}

impl Watcher {
    /// Takes in an event whose neighbors are no longer in memory.
    pub(super) fn take_late<H: History>(
        &mut self,
        view: &EventView<'_>,
        new: Observation,
        subject: &Subject,
        history: &mut H,
        output: &mut Output,
    ) -> Result<(), H::Error> {
        self.late_reads += 1;
        let watched = &self.watched;
        let rule = &watched.rule;
        let mut around = Windowed::new(rule);
        for neighbor in neighbors(watched, view, &new, subject, history)? {
            around.recall(rule, neighbor);
        }
        let span = 2 * rule.reach_micros() + rule.cooldown_micros();
        let (from, until) = (new.time - span, new.time + span);
        let known = history.episodes(watched.number, &subject.key, from, until)?;
        let clock = view.created_at().micros();
        let floor = self.floor;
        let mut context = Context {
            event: view.id(),
            ..Context::at(watched, &subject.key, (clock, floor), output)
        };
        self.groups.change(subject.id, |group| {
            group.touched = clock;
            let State::Windowed(kept) = &mut group.state else { return };
            around.episodes = std::mem::take(&mut kept.episodes);
            for episode in known {
                if !around.episodes.iter().any(|other| other.alert == episode.alert) {
                    around.episodes.push(episode);
                }
            }
            around.take(&mut context, new);
            kept.episodes = around.episodes;
            // What is in memory anyway must say the same.
            if new.time >= floor {
                kept.insert(rule, new);
            }
            kept.window.copy_counts(&around.window);
        });
        Ok(())
    }
}

/// The observations of a group around a new one, in the order of their time.
fn neighbors<H: History>(
    watched: &WatchedRule,
    view: &EventView<'_>,
    new: &Observation,
    subject: &Subject,
    history: &mut H,
) -> Result<Vec<Observation>, H::Error> {
    let rule = &watched.rule;
    let query = HistoryQuery {
        filter: around(rule, new.time, &subject.key.values),
        after_id: watched.after_id,
        before_id: view.id(),
        limit: NEIGHBORS_MAX,
    };
    let mut neighbors: Vec<Observation> = Vec::new();
    for record in history.records(&query)? {
        let other = EventView::new(&record);
        if other.id() > watched.after_id
            && admits(rule, &other)
            && values(&rule.group_by, &other).as_ref() == Some(&subject.key.values)
        {
            neighbors.extend(Observation::of(rule, &other));
        }
    }
    neighbors.sort_unstable_by_key(Observation::key);
    Ok(neighbors)
}

/// The filter of a group's events around a time: those in reach of it, and those in reach of these.
fn around(rule: &Rule, time: i64, values: &[String]) -> EventFilter {
    let reach = rule.reach_micros();
    let mut filter = narrowed(rule, rule.group_by.iter().zip(values.iter().map(String::as_str)));
    let since = Timestamp::from_micros(time.saturating_sub(2 * reach));
    let until = Timestamp::from_micros(time.saturating_add(2 * reach + 1));
    filter.since = filter.since.max(Some(since));
    filter.until = Some(filter.until.map_or(until, |other| other.min(until)));
    filter
}
