//! Gaps: times longer than the session timeout in which no event of a key lies. Nothing here does
//! I/O.
//!
//! The gaps of a key are a function of the set of its events' times, in any order of arrival: an
//! event within a gap splits it, and the parts that are still longer than the timeout stay. Without
//! a session timeout there are none.

use chrono::TimeDelta;
use conn_log_core::Timestamp;

/// The time between two consecutive events of a key, if it is longer than the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The event before it; `None` for the time before the key's first event.
    pub(super) from: Option<Timestamp>,
    /// The event after it.
    pub(super) to: Timestamp,
}

impl Gap {
    fn is_longer(self, timeout: TimeDelta) -> bool {
        self.from.is_none_or(|from| from.plus(timeout) < self.to)
    }
}

/// Adds the times of new events to the gaps of a key, which are in the order of time. `last_at` is
/// the latest of the key's events so far; `None` if it has none.
pub(super) fn add(
    gaps: &mut Vec<Gap>,
    mut last_at: Option<Timestamp>,
    times: &[Timestamp],
    timeout: TimeDelta,
) {
    for at in times.iter().copied() {
        if last_at.is_none_or(|last_at| at > last_at) {
            let gap = Gap { from: last_at, to: at };
            gaps.extend(Some(gap).filter(|gap| gap.is_longer(timeout)));
            last_at = Some(at);
            continue;
        }
        let index = gaps.partition_point(|gap| gap.to <= at);
        let Some(gap) = gaps.get(index).copied().filter(|gap| gap.from.is_none_or(|f| f < at))
        else {
            continue;
        };
        let parts = [Gap { from: gap.from, to: at }, Gap { from: Some(at), to: gap.to }];
        gaps.splice(index..=index, parts.into_iter().filter(|part| part.is_longer(timeout)));
    }
}
