//! The only place of this crate that asks what time it is.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use conn_log_core::Timestamp;

/// A step ahead of the clock that is more than a correction.
const STEP_MAX: Duration = Duration::from_secs(10);

/// How long the clock has to stay ahead after such a step to be believed: time for a time service to take it back.
const BELIEVED_AFTER: Duration = Duration::from_mins(1);

/// Now, to the microsecond.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(chrono::Utc::now())
}

/// A duration as a difference of timestamps.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// The system's clock, without the steps ahead that are soon taken back.
///
/// Time does not run backwards within a log. One event that is stored while the clock is a day ahead gives its time to
/// all events of that day.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    /// What the clock said when it was last believed.
    wall: Timestamp,
    /// The same moment by the clock that nobody sets.
    at: Instant,
    /// When the step was first seen.
    stepped_at: Option<Instant>,
}

impl SteadyClock {
    /// Believes what the clock says now.
    pub(crate) fn new() -> Self {
        SteadyClock { wall: now(), at: Instant::now(), stepped_at: None }
    }

    /// Now, to the microsecond.
    pub(crate) fn now(&mut self) -> Timestamp {
        self.read(now(), Instant::now())
    }

    fn read(&mut self, wall: Timestamp, at: Instant) -> Timestamp {
        let expected = self.wall.plus(delta(at.saturating_duration_since(self.at)));
        if wall <= expected.plus(delta(STEP_MAX)) {
            self.stepped_at = None;
        } else if let Some(since) = self.stepped_at {
            if at.saturating_duration_since(since) < BELIEVED_AFTER {
                return expected;
            }
            log::warn!("the clock has stayed at {wall} after its step ahead: it is believed");
            self.stepped_at = None;
        } else {
            log::warn!(
                "the clock stepped ahead from {expected} to {wall}: it is not believed for a minute"
            );
            self.stepped_at = Some(at);
            return expected;
        }
        (self.wall, self.at) = (wall, at);
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    /// What a clock says at these seconds, of which the system's clock shows those.
    fn read(seconds: &[(u64, i64)]) -> Vec<i64> {
        let begun = Instant::now();
        let mut clock = SteadyClock { wall: Timestamp::EPOCH, at: begun, stepped_at: None };
        let mut read = |(passed, shown): &(u64, i64)| {
            let wall = Timestamp::from_micros(shown * 1_000_000);
            clock.read(wall, begun + Duration::from_secs(*passed)).micros() / 1_000_000
        };
        seconds.iter().map(&mut read).collect()
    }

    #[test]
    fn a_step_ahead_that_is_taken_back_within_a_minute_is_not_seen() {
        let seen = read(&[(1, 1), (2, HOUR), (61, HOUR + 59), (62, 62), (3_000, 3_000)]);
        assert_eq!(seen, [1, 2, 61, 62, 3_000]);
    }

    #[test]
    fn a_step_ahead_that_stays_is_believed_after_a_minute() {
        let seen = read(&[(1, HOUR), (60, HOUR + 59), (61, HOUR + 60), (62, HOUR + 61)]);
        assert_eq!(seen, [1, 60, HOUR + 60, HOUR + 61]);
    }

    #[test]
    fn each_step_has_a_minute_of_its_own() {
        let seen = read(&[(1, HOUR), (2, 2), (70, HOUR), (80, 80)]);
        assert_eq!(seen, [1, 2, 70, 80]);
    }

    #[test]
    fn corrections_and_steps_back_are_seen_at_once() {
        assert_eq!(read(&[(1, 9), (2, 12), (3, -HOUR), (4, 1 - HOUR)]), [9, 12, -HOUR, 1 - HOUR]);
    }
}
