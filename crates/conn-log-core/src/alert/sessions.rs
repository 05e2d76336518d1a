//! Sessions longer than a time, open or ended.
//!
//! A session begins and ends as the list of sessions says: a success of type `established` or
//! `resumed` begins one, `terminated` ends it, and without a session id the next start ends it, too,
//! unless it goes on with a suspended one. An end without an open session is that of the next start
//! within a minute.
//! It is judged when its time and the lateness have passed, and a moment has passed since the event
//! that made it. An end that arrives later, and lies
//! before that time, withdraws the alert.

use std::collections::BTreeMap;

use super::context::{Context, after_grace};
use super::episode::{Episode, Mark};
use super::finder::slot_of;
use super::output::What;
use super::rule::{Rule, SECOND};
use super::view::EventView;

/// Limit of turns of one session's key: the oldest are forgotten.
const TURNS_MAX: usize = 256;

/// The longest time by which an end may lie before the start of its session: clocks step.
const END_BEFORE_START_MAX: i64 = 60 * SECOND;

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
    /// In the order of time; at one instant an end comes first.
    turns: Vec<Turn>,
    alerts: Vec<(Mark, Episode)>,
}

/// An event that begins, suspends or ends a session.
#[derive(Clone, Copy, Debug)]
struct Turn {
    mark: Mark,
    step: Step,
    /// The log's clock when it was taken in, in microseconds.
    noted: i64,
}

impl Turn {
    fn order(&self) -> (i64, Step, u64) {
        (self.mark.time, self.step, self.mark.digest)
    }
}

/// A session.
#[derive(Clone, Copy, Debug)]
struct Session {
    start: Mark,
    end: Option<Mark>,
    /// The log's clock when an event made it what it is, in microseconds.
    noted: i64,
}

impl Session {
    /// When it is judged.
    fn due(&self, rule: &Rule) -> i64 {
        let wait = rule.reach_micros() + rule.lateness_micros();
        after_grace(self.start.time.saturating_add(wait), self.noted)
    }

    fn is_longer_than(&self, micros: i64) -> bool {
        self.end.is_none_or(|end| end.time - self.start.time > micros)
    }
}

/// What an event does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    End,
    Start,
    /// A start that goes on with a suspended session.
    Resume,
    Suspend,
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
        let turn = Turn { mark, step, noted: context.clock };
        let place = key.turns.partition_point(|other| other.order() < turn.order());
        if key.turns.get(place).is_some_and(|other| other.order() == turn.order()) {
            return;
        }
        key.turns.insert(place, turn);
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
        let waiting = self.keys.values().flat_map(|key| {
            let is_told = |session: &Session| key.alerts.iter().any(|(s, _)| *s == session.start);
            key.sessions().into_iter().filter(move |session| !is_told(session))
        });
        waiting.map(|session| session.due(rule)).filter(|at| *at > clock).min()
    }

    /// Takes an alert that is known from before, of the session's key.
    pub(super) fn remember(&mut self, key: String, has_id: bool, episode: Episode) {
        let Some(start) = episode.first.first().copied() else { return };
        let key = self.keys.entry(key).or_default();
        key.has_id = has_id;
        if !key.turns.iter().any(|turn| turn.mark == start) {
            let turn = Turn { mark: start, step: Step::Start, noted: episode.detected_at };
            let place = key.turns.partition_point(|other| other.mark.time <= start.time);
            key.turns.insert(place, turn);
        }
        key.alerts.retain(|(other, _)| *other != start);
        key.alerts.push((start, episode));
    }
}

impl Key {
    /// The sessions, in order.
    fn sessions(&self) -> Vec<Session> {
        let mut sessions: Vec<Session> = Vec::new();
        let (mut is_suspended, mut before) = (false, i64::MIN);
        // Ends while none was open, since the last start.
        let mut early: Vec<Mark> = Vec::new();
        for Turn { mark, step, noted } in self.turns.iter().copied() {
            let open = sessions.last_mut().filter(|session| session.end.is_none());
            // What begins here is told by the event before it, too.
            let told = noted.max(before);
            before = noted;
            match (open, step) {
                (Some(_), Step::Suspend) => {
                    is_suspended = true;
                    continue;
                }
                (Some(_), Step::Resume) if is_suspended => {}
                (Some(_), Step::Start | Step::Resume) if self.has_id => {}
                (Some(open), _) => {
                    (open.end, open.noted) = (Some(mark), open.noted.max(noted));
                    if step != Step::End {
                        sessions.push(Session { start: mark, end: None, noted: told });
                    }
                }
                (None, Step::Start | Step::Resume) => {
                    let since = mark.time.saturating_sub(END_BEFORE_START_MAX);
                    let end = early.drain(..).find(|end| end.time >= since);
                    sessions.push(Session { start: mark, end, noted: told });
                }
                (None, Step::End) => early.push(mark),
                (None, Step::Suspend) => {}
            }
            is_suspended = false;
        }
        sessions
    }

    /// Makes the alerts those of the sessions. `by` is the event that may contradict one.
    fn settle(&mut self, context: &mut Context<'_>, by: i64) {
        let rule = context.rule;
        let mut long = self.sessions();
        long.retain(|session| session.is_longer_than(rule.reach_micros()));
        self.alerts.retain(|(start, episode)| {
            let is_there = long.iter().any(|session| session.start == *start);
            if !is_there {
                context.tell(What::Withdrawn { by }, episode);
            }
            is_there
        });
        for session in long {
            let Session { start, end, .. } = session;
            let known = self.alerts.iter().position(|(other, _)| *other == start);
            if known.is_none() && session.due(rule) > context.clock {
                continue;
            }
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
                episode.end_with(end);
                context.tell(What::Ended, episode);
            }
        }
    }

    /// Forgets turns; returns whether a session is open, or has a turn since that time.
    fn forget(&mut self, old: i64) -> bool {
        let is_open = self.sessions().last().is_some_and(|session| session.end.is_none());
        let excess = self.turns.len().saturating_sub(TURNS_MAX);
        self.turns.drain(..excess);
        is_open || self.turns.iter().any(|turn| turn.mark.time.max(turn.noted) >= old)
    }
}

/// What an event does to its session.
pub(super) fn step_of(view: &EventView<'_>) -> Option<Step> {
    let step = match view.fields().connection_type.as_str() {
        "established" => Step::Start,
        "resumed" => Step::Resume,
        "suspended" => Step::Suspend,
        "terminated" => return Some(Step::End),
        _ => return None,
    };
    (view.fields().status == "success").then_some(step)
}

/// The key of an event's session, and whether it has a session id.
pub(super) fn session_key(view: &EventView<'_>) -> (String, bool) {
    let fields = view.fields();
    let session = fields.session_id.as_deref();
    let parts = [fields.device_id.as_str(), &fields.application_id, session.unwrap_or_default()];
    (parts.join("\0"), session.is_some())
}
