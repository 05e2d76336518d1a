//! When the rules of a log stand back: while events come faster than rules take them in, and the
//! writer is busy, the append gets the processors.
//!
//! Rules that keep up never stand back, whatever the load. Rules that are outrun would be late in
//! any case; they wait for the end of the burst, at most for a bounded time, and then take their share
//! until they have caught up with the log. What waits is the log itself: nothing is kept for it.
//!
//! **Invariant.** From the moment at which they fell behind, rules stand back no longer than the
//! limit, until they have caught up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::sequencer::Queue;

/// Rules that are less behind the log keep up: some tens of milliseconds at the highest rate.
const BEHIND_EVENTS: i64 = 10_000;

/// Shortest time over which rates are compared.
const WINDOW: Duration = Duration::from_millis(20);

/// A clock, and how long the writer has stored events by it.
pub(super) trait Meter: Send {
    /// The time since some instant.
    fn now(&self) -> Duration;

    /// How much of it the writer was storing groups.
    fn storing(&self) -> Duration;
}

/// The writer of a lane, as it is.
pub(super) struct WriterMeter {
    queue: Arc<Queue>,
    begun: Instant,
}

impl WriterMeter {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        WriterMeter { queue, begun: Instant::now() }
    }
}

impl Meter for WriterMeter {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn storing(&self) -> Duration {
        self.queue.storing()
    }
}

/// How things are at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) now: Duration,
    /// The writer's time, by [`Meter::storing`].
    pub(super) storing: Duration,
    /// The log's last id.
    pub(super) size: i64,
    /// The last id that the rules have taken in.
    pub(super) taken: i64,
}

impl Look {
    fn behind(&self) -> i64 {
        self.size - self.taken
    }
}

/// Whether the rules of a log stand back.
#[derive(Debug)]
pub(super) struct StandBack {
    wait_max: Duration,
    /// When they fell behind; `None` while they keep up.
    behind_since: Option<Duration>,
    is_back: bool,
    last: Look,
    /// Events a second that they took in when they were looked at last while they did not stand
    /// back.
    rate: i64,
    /// Up to this id they are behind because they stood back.
    stood_until: i64,
}

impl StandBack {
    /// `wait_max` is the longest time to stand back; with zero they never do.
    pub(super) fn new(wait_max: Duration) -> Self {
        StandBack {
            wait_max,
            behind_since: None,
            is_back: false,
            last: Look::default(),
            rate: 0,
            stood_until: 0,
        }
    }

    /// Whether they stand back.
    pub(super) fn is_back(&self) -> bool {
        self.is_back
    }

    /// Whether being behind at that id is no sign of rules that cost too much.
    pub(super) fn excuses(&self, taken: i64) -> bool {
        taken <= self.stood_until
    }

    /// Whether the rules may take in the next events.
    pub(super) fn may_go(&mut self, look: Look) -> bool {
        if look.behind() < BEHIND_EVENTS && !self.is_back {
            (self.behind_since, self.last) = (None, look);
            return true;
        }
        let since = *self.behind_since.get_or_insert(look.now);
        let window = look.now.saturating_sub(self.last.now);
        if window < WINDOW {
            return !self.is_back;
        }
        let last = std::mem::replace(&mut self.last, look);
        let is_busy = look.storing.saturating_sub(last.storing) >= window / 2;
        let (came, taken) = (look.size - last.size, look.taken - last.taken);
        let is_outrun = if self.is_back {
            // They may have been held up when their rate was measured.
            per_second(came, window) > self.rate / 2
        } else {
            self.rate = per_second(taken, window);
            came > taken
        };
        let was_back = self.is_back;
        self.is_back = is_busy
            && is_outrun
            && look.behind() >= BEHIND_EVENTS
            && look.now.saturating_sub(since) < self.wait_max;
        if was_back && !self.is_back {
            self.stood_until = look.size;
        }
        !self.is_back
    }
}

/// So many events in that time, for a second.
fn per_second(events: i64, time: Duration) -> i64 {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX).max(1);
    events.saturating_mul(1_000_000) / micros
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a tenth of a second each.
    const TICKS_MAX: u32 = 50;
    const TICK: Duration = Duration::from_millis(100);

    /// Rules, and a writer that is busy for a share of the time.
    struct Scene {
        stand_back: StandBack,
        look: Look,
    }

    impl Scene {
        fn new(ticks_max: u32) -> Self {
            let stand_back = StandBack::new(TICK * ticks_max);
            let mut scene = Scene { stand_back, look: Look::default() };
            assert!(scene.goes_on(0, 0, 0));
            scene
        }

        /// Lets a tick go by, in which so many events come and are taken in, and the writer is busy for
        /// so many hundredths of the time. Returns whether the rules go on.
        fn goes_on(&mut self, came: i64, taken: i64, busy: u32) -> bool {
            self.look.now += TICK;
            self.look.storing += TICK * busy / 100;
            self.look.size += came;
            self.look.taken += taken;
            self.stand_back.may_go(self.look)
        }

        /// The ticks until they go on, while so many events come and the writer is busy.
        fn ticks_back(&mut self, came: i64) -> u32 {
            let mut ticks = 1;
            while !self.goes_on(came, 0, 100) {
                ticks += 1;
                assert!(ticks < 10 * TICKS_MAX, "they never go on");
            }
            ticks
        }
    }

    #[test]
    fn rules_that_keep_up_never_stand_back() {
        let mut scene = Scene::new(TICKS_MAX);
        for _ in 0..100 {
            assert!(scene.goes_on(BEHIND_EVENTS - 1, BEHIND_EVENTS - 1, 100));
        }
        // Behind, but no longer than before.
        assert!(scene.goes_on(50_000, 0, 0));
        for _ in 0..100 {
            assert!(scene.goes_on(5_000, 5_000, 100));
        }
    }

    #[test]
    fn rules_that_are_outrun_stand_back_while_the_writer_is_busy() {
        let mut scene = Scene::new(TICKS_MAX);
        assert!(scene.goes_on(30_000, 8_000, 49), "the writer has time");
        assert!(!scene.goes_on(30_000, 8_000, 50));
        assert!(!scene.goes_on(30_000, 0, 90));
        assert!(scene.goes_on(30_000, 0, 40), "the writer has time again");
        assert!(scene.stand_back.excuses(scene.look.size));
        assert!(!scene.stand_back.excuses(scene.look.size + 1));
        assert!(!scene.goes_on(30_000, 8_000, 50));
        assert!(scene.goes_on(3_000, 0, 100), "they can take in more than comes");
    }

    #[test]
    fn beyond_the_limit_they_take_their_share_until_they_have_caught_up() {
        let mut scene = Scene::new(TICKS_MAX);
        for _ in 0..2 {
            assert!(!scene.goes_on(30_000, 8_000, 100), "they may wait");
            assert_eq!(scene.ticks_back(30_000), TICKS_MAX);
            for _ in 0..1_000 {
                assert!(scene.goes_on(30_000, 8_000, 100), "they have waited once");
            }
            let behind = scene.look.behind();
            assert!(scene.goes_on(0, behind, 0));
        }
    }

    #[test]
    fn pauses_of_the_writer_do_not_make_the_limit_longer() {
        let mut scene = Scene::new(TICKS_MAX);
        for _ in 0..TICKS_MAX / 2 {
            assert!(!scene.goes_on(30_000, 8_000, 100));
            assert!(scene.goes_on(30_000, 0, 0));
        }
        for _ in 0..100 {
            assert!(scene.goes_on(30_000, 8_000, 100));
        }
    }

    #[test]
    fn without_a_time_to_wait_they_never_stand_back() {
        let mut scene = Scene::new(0);
        for _ in 0..100 {
            assert!(scene.goes_on(30_000, 8_000, 100));
        }
    }
}
