//! Which rule costs so much that it is slowed.
//!
//! Two costs count. Reads of the log for late events and new combinations are limited for each rule
//! and step, before they are made. The time that rules take is measured on some of the events; it
//! matters only while the rules of a log fall behind.

use std::collections::HashMap;
use std::time::Duration;

/// Reads of the log of one rule within a step.
pub(super) const READS_MAX: usize = 64;

/// Reads of the log of all rules within a step.
pub(super) const READS_OF_ALL_MAX: usize = 256;

/// Events that are read again within a step.
pub(super) const EVENTS_READ_MAX: usize = 20_000;

/// Longest time of these reads within a step.
pub(super) const READ_TIME_MAX: Duration = Duration::from_secs(1);

/// Rules that are further behind the log than this do not keep up.
const BEHIND_EVENTS: i64 = 10_000;

/// Costs are compared after so much work.
const COMPARED_AFTER: Duration = Duration::from_secs(1);

/// The time that rules took since they were compared.
#[derive(Debug, Default)]
pub(super) struct Costs {
    by_rule: HashMap<i64, Duration>,
    total: Duration,
}

impl Costs {
    /// Notes the time that some rules took.
    pub(super) fn add(&mut self, spent: impl IntoIterator<Item = (i64, Duration)>) {
        for (rule, time) in spent {
            *self.by_rule.entry(rule).or_default() += time;
            self.total += time;
        }
    }

    /// The rule that takes more time than all others together, if they are that far behind.
    pub(super) fn too_costly(&mut self, behind: i64) -> Option<i64> {
        if self.total < COMPARED_AFTER {
            return None;
        }
        let costs = std::mem::take(self);
        if behind < BEHIND_EVENTS || costs.by_rule.len() < 2 {
            return None;
        }
        let (rule, time) = costs.by_rule.into_iter().max_by_key(|(rule, time)| (*time, -rule))?;
        (time > costs.total / 2).then_some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn costs(of: &[(i64, Duration)]) -> Costs {
        let mut costs = Costs::default();
        costs.add(of.iter().copied());
        costs
    }

    #[test]
    fn the_rule_that_takes_more_than_all_others_is_too_costly() {
        let mut all = costs(&[(1, SECOND / 4), (2, SECOND), (3, SECOND / 4)]);
        assert_eq!(all.too_costly(BEHIND_EVENTS), Some(2));
        // It begins to count again.
        assert_eq!(all.too_costly(BEHIND_EVENTS), None);
    }

    #[test]
    fn none_is_too_costly_that_holds_up_nobody() {
        let of = [(1, SECOND / 4), (2, SECOND)];
        assert_eq!(costs(&of).too_costly(BEHIND_EVENTS - 1), None);
        assert_eq!(costs(&[(2, SECOND)]).too_costly(BEHIND_EVENTS), None);
        assert_eq!(costs(&[(1, SECOND), (2, SECOND)]).too_costly(BEHIND_EVENTS), None);
        assert_eq!(costs(&of.map(|(rule, time)| (rule, time / 2))).too_costly(BEHIND_EVENTS), None);
    }
}
