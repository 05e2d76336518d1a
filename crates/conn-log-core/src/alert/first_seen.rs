//! Combinations of values that were never seen before, or not for long: they are looked up in the
//! log, unless they are known to have been seen.

use foldhash::{HashMap, HashSet};

use super::output::GroupKey;
use super::rule::{Field, Kind, Rule, SECOND};
use super::view::{EventView, text_number};
use super::watcher::WatchedRule;

/// Combinations that are remembered as seen. Others are looked up in the log.
const SEEN_MAX: usize = 100_000;

/// The combinations that a rule knows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Those that were seen, with the latest time.
    latest: HashMap<u64, i64>,
    /// Those of the next events that the log does not have before them.
    absent: HashSet<u64>,
}

/// A combination that an event has.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) number: u64,
    /// The values of the rule's fields, those of the group first.
    pub(super) values: Vec<String>,
    /// One of this time or later is known, in microseconds.
    pub(super) since: i64,
    pub(super) is_learning: bool,
}

impl Sighting {
    /// `None` if the event lacks a field, or the rule is of another kind.
    pub(super) fn of(
        watched: &WatchedRule,
        view: &EventView<'_>,
        group: &GroupKey,
    ) -> Option<Self> {
        let rule = &watched.rule;
        let Kind::FirstSeen { of, learning_seconds, forget_after_days } = &rule.kind else {
            return None;
        };
        let mut values = group.values.clone();
        for field in of {
            values.push(view.value(field)?.into_owned());
        }
        let forget = i64::from(*forget_after_days) * 86_400 * SECOND;
        let learnt = watched.since + i64::from(*learning_seconds) * SECOND;
        Some(Sighting {
            number: text_number(&values.join("\0")),
            values,
            since: view.time(rule.clock).micros().saturating_sub(forget),
            is_learning: view.created_at().micros() < learnt,
        })
    }

    /// The fields of a combination, in the order of its values.
    pub(super) fn fields(rule: &Rule) -> impl Iterator<Item = &Field> {
        let of = match &rule.kind {
            Kind::FirstSeen { of, .. } => of.as_slice(),
            _ => &[],
        };
        rule.group_by.iter().chain(of)
    }

    /// Whether an event that passes the rule's filter has the combination, too.
    pub(super) fn is_seen_in(&self, rule: &Rule, view: &EventView<'_>) -> bool {
        let is_same = |(field, text): (&Field, &String)| {
            view.value(field).is_some_and(|value| value == *text)
        };
        rule.exclude.as_ref().is_none_or(|exclude| !view.passes(exclude))
            && Sighting::fields(rule).zip(&self.values).all(is_same)
    }
}

impl Seen {
    /// Forgets what was handed over for other events.
    pub(super) fn begin(&mut self) {
        self.absent.clear();
    }

    pub(super) fn has(&self, sighting: &Sighting) -> bool {
        self.latest.get(&sighting.number).is_some_and(|latest| *latest >= sighting.since)
    }

    /// Whether the log was found not to have a combination.
    pub(super) fn is_absent(&mut self, number: u64) -> bool {
        self.absent.remove(&number)
    }

    /// Notes when a combination was seen; `None` if the log does not have it.
    pub(super) fn note(&mut self, number: u64, time: Option<i64>) {
        let Some(time) = time else {
            self.absent.insert(number);
            return;
        };
        self.absent.remove(&number);
        if self.latest.len() >= SEEN_MAX {
            // What is forgotten here is looked up in the log.
            self.latest.clear();
        }
        let latest = self.latest.entry(number).or_insert(time);
        *latest = time.max(*latest);
    }
}
