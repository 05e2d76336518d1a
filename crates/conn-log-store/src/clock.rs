//! The only module of this crate that reads the clock.

use std::time::{Duration, Instant, SystemTime};

use chrono::TimeDelta;
use conn_log_core::Timestamp;

/// A larger step ahead of the clock is not a normal correction.
const STEP_MAX: Duration = Duration::from_secs(10);

/// The time that the clock must stay ahead after such a step before it is trusted: a time service
/// can take the step back meanwhile.
const BELIEVED_AFTER: Duration = Duration::from_mins(1);

/// The current time, to the microsecond.
pub(crate) fn now() -> Timestamp {
    of_system(SystemTime::now())
}

/// A time of the system's clock, also one before 1970: a machine without a battery for its clock
/// may start with such a time.
fn of_system(time: SystemTime) -> Timestamp {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    })
}

/// A duration as a difference of timestamps.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// The system's clock without steps ahead that are soon taken back.
///
/// Time does not run backwards within a log: an event that is stored while the clock is a day ahead
/// gives its time to all events of that day.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    /// The clock's time when it was last trusted.
    wall: Timestamp,
    /// The same moment on the monotonic clock.
    at: Instant,
    /// The first time that the step was seen.
    stepped_at: Option<Instant>,
}

impl SteadyClock {
    /// Trusts the clock's present time.
    pub(crate) fn new() -> Self {
        SteadyClock { wall: now(), at: Instant::now(), stepped_at: None }
    }

    /// The current time, to the microsecond.
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

    #[test]
    fn a_clock_before_1970_has_a_time_too() {
        let year = Duration::from_hours(365 * 24);
        let before = of_system(SystemTime::UNIX_EPOCH - year);
        assert_eq!(before.micros(), -365 * 24 * HOUR * 1_000_000);
        assert_eq!(of_system(SystemTime::UNIX_EPOCH + year).micros(), -before.micros());
    }

    /// The times that a clock gives, for pairs of monotonic seconds and the system clock's seconds.
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
