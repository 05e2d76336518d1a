//! Sessions longer than a time, open or ended.
//!
//! A session begins and ends as the list of sessions says: a success of type `established` or
//! `resumed` begins one, `terminated` ends it, and without a session id the next start ends it, too.
//! It is judged when its time and the lateness have passed. An end that arrives later, and lies
//! before that time, withdraws the alert.

use std::collections::BTreeMap;

use super::context::Context;
use super::episode::{Episode, Mark};
use super::finder::slot_of;
use super::output::What;
use super::rule::Rule;
use super::view::EventView;

/// Limit of marks of one session's key: the oldest are forgotten.
const MARKS_MAX: usize = 256;

/// The memory of a session with its key, in observations.
const OBSERVATIONS_PER_KEY: usize = 4;

/// The sessions of one group, by device, application and session id.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    keys: BTreeMap<String, Key>,
}

#[derive(Clone, Debug, Default)]
struct Key {
    has_id: bool,
    /// Starts and ends in the order of time; at one instant an end comes first.
    marks: Vec<(Mark, Step)>,
    alerts: Vec<(Mark, Episode)>,
}

/// The end or the start of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    End,
    Start,
}

impl Sessions {
    pub(super) fn take(
        &mut self,
        context: &mut Context<'_>,
        (key, has_id): (String, bool),
        mark: Mark,
        step: Step,
    ) {
        let key = self.keys.entry(key).or_default();
        key.has_id = has_id;
        let order = |(mark, step): &(Mark, Step)| (mark.time, *step, mark.digest);
        let place = key.marks.partition_point(|other| order(other) < order(&(mark, step)));
        let is_repeat =
            key.marks.get(place).is_some_and(|other| order(other) == order(&(mark, step)));
        if is_repeat {
            return;
        }
        key.marks.insert(place, (mark, step));
        key.settle(context, mark.id);
    }

    /// Its size: a session takes as much as some observations.
    pub(super) fn len(&self) -> usize {
        OBSERVATIONS_PER_KEY * self.keys.len()
    }

    pub(super) fn judge(&mut self, context: &mut Context<'_>) {
        for key in self.keys.values_mut() {
            key.settle(context, 0);
        }
        let rule = context.rule;
        let old = context.clock - 2 * rule.reach_micros() - rule.lateness_micros();
        self.keys.retain(|_, key| key.forget(old));
    }

    pub(super) fn deadline(&self, rule: &Rule, clock: i64) -> Option<i64> {
        let wait = rule.reach_micros() + rule.lateness_micros();
        let due = self.keys.values().flat_map(|key| {
            let is_waiting = |start: &Mark| !key.alerts.iter().any(|(known, _)| known == start);
            key.sessions().into_iter().map(|(start, _)| start).filter(is_waiting)
        });
        due.map(|start| start.time.saturating_add(wait)).filter(|at| *at > clock).min()
    }

    /// Takes an alert that is known from before, of the session's key.
    pub(super) fn remember(&mut self, key: String, has_id: bool, episode: Episode) {
        let Some(start) = episode.first.first().copied() else { return };
        let key = self.keys.entry(key).or_default();
        key.has_id = has_id;
        if !key.marks.iter().any(|(mark, _)| *mark == start) {
            let place = key.marks.partition_point(|(mark, _)| mark.time <= start.time);
            key.marks.insert(place, (start, Step::Start));
        }
        key.alerts.retain(|(other, _)| *other != start);
        key.alerts.push((start, episode));
    }
}

impl Key {
    /// The sessions: their starts, and their ends if they have ended.
    fn sessions(&self) -> Vec<(Mark, Option<Mark>)> {
        let mut sessions: Vec<(Mark, Option<Mark>)> = Vec::new();
        for (mark, step) in &self.marks {
            let open = sessions.last_mut().filter(|(_, end)| end.is_none());
            match (open, step) {
                (Some(_), Step::Start) if self.has_id => {}
                (Some((_, end)), Step::Start) => {
                    *end = Some(*mark);
                    sessions.push((*mark, None));
                }
                (Some((_, end)), Step::End) => *end = Some(*mark),
                (None, Step::Start) => sessions.push((*mark, None)),
                (None, Step::End) => {}
            }
        }
        sessions
    }

    /// Makes the alerts those of the sessions. `by` is the event that may contradict one.
    fn settle(&mut self, context: &mut Context<'_>, by: i64) {
        let rule = context.rule;
        let due = context.clock - rule.reach_micros() - rule.lateness_micros();
        let is_long = |(start, end): &(Mark, Option<Mark>)| {
            end.is_none_or(|end| end.time - start.time > rule.reach_micros())
        };
        let long: Vec<(Mark, Option<Mark>)> = self.sessions().into_iter().filter(is_long).collect();
        self.alerts.retain(|(start, episode)| {
            let is_there = long.iter().any(|(other, _)| other == start);
            if !is_there {
                context.tell(What::Withdrawn { by }, episode);
            }
            is_there
        });
        for (start, end) in long {
            if start.time > due {
                continue;
            }
            let known = self.alerts.iter().position(|(other, _)| *other == start);
            let known = known.unwrap_or_else(|| {
                let mut episode = context.open(slot_of(start.time), start, start.id);
                episode.goes_on = true;
                context.tell(What::Opened, &episode);
                self.alerts.push((start, episode));
                self.alerts.len() - 1
            });
            let episode = &mut self.alerts[known].1;
            if let Some(end) = end
                && (episode.goes_on || episode.end != end.time)
            {
                episode.goes_on = false;
                episode.end = end.time;
                episode.last = vec![end];
                context.tell(What::Ended, episode);
            }
        }
    }

    /// Forgets marks; returns whether a session is open, or has a mark since that time.
    fn forget(&mut self, old: i64) -> bool {
        let is_open = self.sessions().last().is_some_and(|(_, end)| end.is_none());
        let excess = self.marks.len().saturating_sub(MARKS_MAX);
        self.marks.drain(..excess);
        is_open || self.marks.last().is_some_and(|(mark, _)| mark.time >= old)
    }
}

/// What an event does to its session.
pub(super) fn step_of(view: &EventView<'_>) -> Option<Step> {
    match view.fields().connection_type.as_str() {
        "established" | "resumed" => (view.fields().status == "success").then_some(Step::Start),
        "terminated" => Some(Step::End),
        _ => None,
    }
}

/// The key of an event's session, and whether it has a session id.
pub(super) fn session_key(view: &EventView<'_>) -> (String, bool) {
    let fields = view.fields();
    let session = fields.session_id.as_deref();
    let parts = [fields.device_id.as_str(), &fields.application_id, session.unwrap_or_default()];
    (parts.join("\0"), session.is_some())
}
