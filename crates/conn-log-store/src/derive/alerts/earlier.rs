//! What the explanation of an alert says of the alerts before it: how many its group had within a
//! week.
//!
//! It is a function of the changes in their order: those of the evaluation that are not written yet
//! count as if they were. What late events move, such as the start of an alert, has no part in it.

use std::collections::{HashMap, HashSet};

use conn_log_core::Timestamp;
use conn_log_core::alert::{Change, Kind, OVERFLOW_GROUP, Rule, What};

use crate::control::alerts::table::Opening;
use crate::engine::Micros;
use crate::error::StoreError;

/// The days that are looked back at.
const DAYS: i64 = 7;

/// Limit of the alerts that are looked at: of a group with more, older ones have no part in it.
const LATEST_MAX: usize = 100;

const DAY_MICROS: i64 = 86_400_000_000;

/// The changes so far that the table of alerts does not have.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// New alerts, by rule and group.
    opened: HashMap<(i64, i64), Vec<Opening>>,
    /// Alerts that were withdrawn or merged.
    gone: HashSet<i64>,
}

impl Earlier {
    /// Notes the next change. For a new alert, returns the sentence on earlier ones. `stored` gives
    /// the latest alerts of the group that the table has, at most as many as it is asked for.
    pub(super) fn note(
        &mut self,
        rule: &Rule,
        change: &Change,
        stored: impl FnOnce(usize) -> Result<Vec<Opening>, StoreError>,
    ) -> Result<Option<String>, StoreError> {
        match change.what {
            What::MergedInto(_) | What::Withdrawn { .. } => {
                self.gone.insert(change.episode.alert);
                Ok(None)
            }
            What::Opened if change.group.json != OVERFLOW_GROUP => {
                Ok(Some(self.before(rule, change, stored(LATEST_MAX)?)))
            }
            _ => Ok(None),
        }
    }

    fn before(&mut self, rule: &Rule, change: &Change, stored: Vec<Opening>) -> String {
        let episode = &change.episode;
        let new = Opening {
            opened_by: episode.opened_by,
            alert_id: episode.alert,
            slot: episode.slot,
            started_at: Micros(Timestamp::from_micros(episode.start)),
            stands: true,
        };
        let opened = self.opened.entry((change.rule, change.group.hash)).or_default();
        let own = &opened[opened.len().saturating_sub(LATEST_MAX)..];
        let mut latest: Vec<Opening> = own.iter().copied().chain(stored).collect();
        latest.sort_unstable_by_key(|one| std::cmp::Reverse((one.opened_by, one.slot)));
        latest.truncate(LATEST_MAX);
        let day = day_of(rule, &new);
        let counts = |other: &&Opening| {
            other.stands
                && !self.gone.contains(&other.alert_id)
                && (day - DAYS..=day).contains(&day_of(rule, other))
        };
        let count = latest.iter().filter(counts).count();
        opened.push(new);
        // In order, so that the latest are the last ones.
        opened.sort_by_key(|one| (one.opened_by, one.slot));
        match count {
            0 => format!("before: no such alert in {DAYS} days"),
            1 => format!("before: 1 such alert in {DAYS} days"),
            LATEST_MAX => format!("before: {LATEST_MAX} such alerts or more in {DAYS} days"),
            count => format!("before: {count} such alerts in {DAYS} days"),
        }
    }
}

/// The day of an alert, which no late event moves.
fn day_of(rule: &Rule, opening: &Opening) -> i64 {
    match rule.kind() {
        // Its slots are windows.
        Kind::Volume { .. } => opening.started_at.0.micros().div_euclid(DAY_MICROS),
        _ => opening.slot,
    }
}
