//! One group of one rule: its state, which depends on the rule's kind.

use std::sync::Arc;

use super::context::Context;
use super::episode::Episode;
use super::hits::Windowed;
use super::late::Known;
use super::observation::Observation;
use super::output::GroupKey;
use super::rule::{Kind, Rule};
use super::sessions::{Sessions, session_key, step_of};
use super::silence::Silence;
use super::view::EventView;
use super::volume::Volume;

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Arc<GroupKey>,
    pub(super) state: State,
    /// The stretches of time before the floor that are in memory, too.
    pub(super) known: Known,
    /// The log's clock when it had its last event.
    pub(super) touched: i64,
    /// The time at which it stands in the queue of deadlines.
    pub(super) queued: Option<i64>,
}

/// What is kept of a group. To add a kind with a state of its own: a variant, and its arms below.
#[derive(Debug)]
pub(super) enum State {
    /// Of the kinds whose hits lie within a window, and of beacons.
    Windowed(Windowed),
    Silence(Silence),
    Sessions(Box<Sessions>),
    Volume(Box<Volume>),
}

impl State {
    pub(super) fn of(rule: &Rule) -> Self {
        match rule.kind {
            Kind::Silence { .. } => State::Silence(Silence::default()),
            Kind::LongSession { .. } => State::Sessions(Box::default()),
            Kind::Volume { .. } => State::Volume(Box::default()),
            _ => State::Windowed(Windowed::new(rule)),
        }
    }

    pub(super) fn take(
        &mut self,
        context: &mut Context<'_>,
        view: &EventView<'_>,
        new: Observation,
    ) {
        match self {
            State::Windowed(windowed) => windowed.take(context, new),
            State::Silence(silence) => silence.take(context, new.mark()),
            State::Sessions(sessions) => {
                if let Some(step) = step_of(view) {
                    sessions.take(context, session_key(view), new.mark(), step);
                }
            }
            State::Volume(volume) => volume.take(context, new.mark()),
        }
    }

    /// Judges what is due.
    pub(super) fn judge(&mut self, context: &mut Context<'_>) {
        match self {
            State::Windowed(_) => {}
            State::Silence(silence) => silence.judge(context),
            State::Sessions(sessions) => sessions.judge(context),
            State::Volume(volume) => volume.judge(context),
        }
    }

    /// The next time after `clock` at which it must be judged.
    pub(super) fn deadline(&self, rule: &Rule, clock: i64) -> Option<i64> {
        match self {
            State::Windowed(_) => None,
            State::Silence(silence) => silence.deadline(rule),
            State::Sessions(sessions) => sessions.deadline(rule, clock),
            State::Volume(volume) => volume.deadline(rule),
        }
    }

    /// Takes an alert that is known from before. `session` is the key of its first event.
    pub(super) fn remember(&mut self, episode: Episode, session: (String, bool)) {
        match self {
            State::Windowed(windowed) => {
                // A beacon was found again while nothing was told.
                windowed.episodes.retain(|other| other.alert != 0);
                windowed.episodes.push(episode);
            }
            State::Silence(silence) => silence.remember(episode),
            State::Sessions(sessions) => sessions.remember(session.0, session.1, episode),
            State::Volume(volume) => volume.remember(episode),
        }
    }

    /// Forgets what lies before a time. Returns whether anything is left, or `None` if it forgets
    /// by itself.
    pub(super) fn forget_before(&mut self, rule: &Rule, time: i64) -> Option<bool> {
        match self {
            State::Windowed(windowed) if !matches!(rule.kind, Kind::Beaconing { .. }) => {
                windowed.forget_before(time, time - rule.cooldown_micros());
                Some(!windowed.is_empty())
            }
            State::Silence(silence) => {
                silence.forget_before(time);
                Some(true)
            }
            _ => None,
        }
    }

    /// Its size in observations.
    pub(super) fn len(&self) -> usize {
        match self {
            State::Windowed(windowed) => windowed.window.len(),
            State::Silence(silence) => silence.len(),
            State::Sessions(sessions) => sessions.len(),
            State::Volume(volume) => volume.len(),
        }
    }

    /// Forgets the earlier half of many observations.
    pub(super) fn cut(&mut self) {
        if let State::Windowed(windowed) = self {
            windowed.cut();
        }
    }

    /// Whether the group may be given up: it has no alert, and is not half way to one. The latter does
    /// not matter if it `is_urgent`.
    pub(super) fn may_go(&self, rule: &Rule, is_urgent: bool) -> bool {
        match self {
            State::Windowed(windowed) => {
                windowed.episodes.is_empty()
                    && (is_urgent || windowed.progress(rule) < half_of_threshold(rule))
            }
            State::Silence(silence) => !silence.has_alert(),
            State::Sessions(_) => false,
            State::Volume(_) => true,
        }
    }
}

fn half_of_threshold(rule: &Rule) -> usize {
    let threshold = match rule.kind {
        Kind::FailureBurst { threshold, .. } => threshold,
        Kind::DistinctCount { at_least, .. } => at_least,
        Kind::Sequence { count, .. } => count,
        Kind::Flapping { transitions, .. } => transitions,
        Kind::Beaconing { min_connections, .. } => min_connections,
        _ => 4,
    };
    (threshold as usize).div_ceil(2).max(2)
}
