//! When a failed attempt is repeated, and when a receiver counts as gone.

use std::time::Duration;

use conn_log_core::Timestamp;
use sha2::{Digest, Sha256};

use crate::clock::delta;

/// The waits between the attempts: the first is made at once.
const WAITS: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(10),
];

/// Longest wait that a receiver may ask for: more would be as good as a loss.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(12);

/// A receiver that has failed for this long is no longer called.
pub(super) const FAILING_MAX: Duration = Duration::from_hours(5 * 24);

/// Failures further apart than this do not belong together: longer than the longest wait between
/// two attempts. So one failure, and another a week later, do not count as a week of failures.
pub(super) const FAILING_GAP_MAX: Duration = Duration::from_hours(24);

/// An open alert is sent to Alertmanager again after this time, so that it does not end by itself.
pub(super) const REFRESH_EVERY: Duration = Duration::from_mins(5);

/// The same after a failed attempt.
pub(super) const REFRESH_RETRY: Duration = Duration::from_mins(1);

/// The time of the next attempt after `tries` that failed, the last at `now`. `None` after the last
/// one.
pub(super) fn next_attempt(
    message_id: &str,
    tries: i32,
    now: Timestamp,
    retry_after: Option<Duration>,
) -> Option<Timestamp> {
    let place = usize::try_from(tries).ok()?.checked_sub(1)?;
    let wait = WAITS.get(place)?.mul_f64(spread(message_id, tries));
    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    Some(now.plus(delta(wait.max(asked))))
}

/// A factor from 0.8 to 1.2, the same for the same attempt. It spreads the attempts of many
/// deliveries that failed at the same time.
fn spread(message_id: &str, tries: i32) -> f64 {
    let hash = Sha256::digest(format!("{message_id}/{tries}"));
    let share = f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX);
    0.8 + 0.4 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tries: i32, retry_after: Option<u64>) -> Option<i64> {
        let retry_after = retry_after.map(Duration::from_secs);
        let next = next_attempt("msg_1", tries, Timestamp::EPOCH, retry_after)?;
        Some(next.micros() / 1_000_000)
    }

    #[test]
    fn waits_are_those_of_the_contract_give_or_take_a_fifth() {
        let waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
        for (tries, wait) in (1..).zip(waits) {
            let next = seconds(tries, None).unwrap();
            assert!((wait * 4 / 5..=wait * 6 / 5).contains(&next), "{tries}: {next}");
        }
        assert_eq!(seconds(8, None), None);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_up_to_a_bound() {
        assert_eq!(seconds(1, Some(90)), Some(90));
        assert!(seconds(2, Some(90)).unwrap() >= 240);
        assert_eq!(seconds(1, Some(u64::MAX)), Some(12 * 3_600));
    }

    #[test]
    fn attempts_of_different_messages_are_spread() {
        let spreads: Vec<f64> = (0..100).map(|n| spread(&format!("msg_{n}"), 1)).collect();
        let (least, most) = (
            spreads.iter().copied().fold(9.0, f64::min),
            spreads.iter().copied().fold(0.0, f64::max),
        );
        assert!((0.8..0.85).contains(&least) && (1.15..=1.2).contains(&most), "{least} {most}");
    }
}
