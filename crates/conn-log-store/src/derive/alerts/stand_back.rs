//! When the rules of a log stand back, so that the append gets the processors.
//!
//! They do so while three things come together: the writer is busy, the rules would be busy, too, and
//! their thread has to wait for a processor. So they never stand back on a machine with processors to
//! spare, or at a rate that leaves time. What waits is the log itself: nothing is kept for it.
//!
//! **Invariant.** From the moment at which they stood back first, rules stand back no longer than the
//! limit, until they have caught up with the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::sequencer::Queue;

/// Rules that are less behind the log have caught up: some tens of milliseconds at the highest rate.
pub(super) const BEHIND_EVENTS: i64 = 10_000;

/// Shortest time over which shares are compared.
const WINDOW: Duration = Duration::from_millis(40);

/// Whoever works for a half of the time is busy.
const BUSY: u32 = 2;

/// A thread that has to wait for a processor for an eighth of the time that it works has too few.
const SHORT: u32 = 8;

/// Clocks, each from some instant on.
pub(crate) trait Meter: Send {
    /// The time.
    fn now(&self) -> Duration;

    /// How long the writer has stored groups.
    fn stored(&self) -> Duration;

    /// How long the calling thread has waited for a processor.
    fn waited(&self) -> Duration;
}

/// The writer of a lane, and the thread that asks.
pub(super) struct ThreadMeter {
    queue: Arc<Queue>,
    begun: Instant,
}

impl ThreadMeter {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        ThreadMeter { queue, begun: Instant::now() }
    }
}

impl Meter for ThreadMeter {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn stored(&self) -> Duration {
        self.queue.storing()
    }

    /// Zero where the system does not tell: there rules never stand back. Linux does (proc(5)).
    fn waited(&self) -> Duration {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = text.split_ascii_whitespace().nth(1).and_then(|waited| waited.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

/// How things are at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    now: Duration,
    stored: Duration,
    waited: Duration,
    /// How long the rules have worked.
    worked: Duration,
    /// The log's last id, and the last one that the rules have taken in.
    size: i64,
    taken: i64,
}

/// Whether the rules of a log stand back.
#[derive(Debug)]
pub(super) struct StandBack {
    wait_max: Duration,
    /// When they stood back first; `None` if they have caught up since.
    since: Option<Duration>,
    is_back: bool,
    /// How long the rules have worked.
    worked: Duration,
    last: Look,
    /// Events a second that they take in when they do nothing else.
    rate: i64,
    /// Up to this id they are behind because they stood back.
    stood_until: i64,
}

impl StandBack {
    /// `wait_max` is the longest time to stand back; with zero they never do.
    pub(super) fn new(wait_max: Duration) -> Self {
        StandBack {
            wait_max,
            since: None,
            is_back: false,
            worked: Duration::ZERO,
            last: Look::default(),
            rate: 0,
            stood_until: 0,
        }
    }

    /// Notes that the rules have worked for that long.
    pub(super) fn note_work(&mut self, time: Duration) {
        self.worked += time;
    }

    /// Whether they stand back.
    pub(super) fn is_back(&self) -> bool {
        self.is_back
    }

    /// Whether being behind at that id is no sign of rules that cost too much.
    pub(super) fn excuses(&self, taken: i64) -> bool {
        taken <= self.stood_until
    }

    /// Whether the rules may take in the next events: those after `taken` of a log of that size.
    pub(super) fn may_go(
        &mut self,
        meter: &dyn Meter,
        now: Duration,
        (size, taken): (i64, i64),
    ) -> bool {
        if size - taken < BEHIND_EVENTS && !self.is_back {
            self.since = None;
        }
        let window = now.saturating_sub(self.last.now);
        if window < WINDOW {
            return !self.is_back;
        }
        let (stored, waited, worked) = (meter.stored(), meter.waited(), self.worked);
        let look = Look { now, stored, waited, worked, size, taken };
        let last = std::mem::replace(&mut self.last, look);
        let (came, taken) = (size - last.size, taken - last.taken);
        let is_short = if self.is_back {
            // What waits for them would keep them busy: as if they had worked all the time.
            per_second(came, window) >= self.rate / i64::from(BUSY)
        } else {
            let worked = worked.saturating_sub(last.worked);
            self.rate = per_second(taken, worked);
            worked >= window / BUSY && waited.saturating_sub(last.waited) >= worked / SHORT
        };
        let is_busy = stored.saturating_sub(last.stored) >= window / BUSY;
        let waits_for = now.saturating_sub(self.since.unwrap_or(now));
        let was_back = self.is_back;
        self.is_back = is_busy && is_short && waits_for < self.wait_max;
        if self.is_back {
            self.since.get_or_insert(now);
        } else if was_back {
            self.stood_until = size;
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

    const TICK: Duration = Duration::from_millis(100);
    const TICKS_MAX: u32 = 50;

    /// Clocks that a test sets.
    #[derive(Default)]
    struct Clocks {
        now: Duration,
        stored: Duration,
        waited: Duration,
    }

    impl Meter for Clocks {
        fn now(&self) -> Duration {
            self.now
        }

        fn stored(&self) -> Duration {
            self.stored
        }

        fn waited(&self) -> Duration {
            self.waited
        }
    }

    struct Scene {
        stand_back: StandBack,
        clocks: Clocks,
        size: i64,
        taken: i64,
    }

    /// What happens in a tick. Shares are hundredths of its time.
    #[derive(Clone, Copy)]
    struct Tick {
        came: i64,
        taken: i64,
        writer: u32,
        rules: u32,
        waited: u32,
    }

    /// All processors are in use, and rules do not keep up.
    const FULL: Tick = Tick { came: 30_000, taken: 8_000, writer: 80, rules: 100, waited: 30 };

    /// The same while the rules stand back.
    const BACK: Tick = Tick { taken: 0, rules: 0, waited: 0, ..FULL };

    impl Scene {
        fn new(ticks_max: u32) -> Self {
            let stand_back = StandBack::new(TICK * ticks_max);
            let mut scene = Scene { stand_back, clocks: Clocks::default(), size: 0, taken: 0 };
            assert!(scene.goes_on(Tick { came: 0, taken: 0, writer: 0, rules: 0, waited: 0 }));
            scene
        }

        /// Lets a tick go by. Returns whether the rules go on.
        fn goes_on(&mut self, tick: Tick) -> bool {
            self.clocks.now += TICK;
            self.clocks.stored += TICK * tick.writer / 100;
            self.clocks.waited += TICK * tick.waited / 100;
            self.stand_back.note_work(TICK * tick.rules / 100);
            self.size += tick.came;
            self.taken += tick.taken;
            self.stand_back.may_go(&self.clocks, self.clocks.now, (self.size, self.taken))
        }

        /// The ticks until they go on.
        fn ticks_back(&mut self) -> u32 {
            let mut ticks = 1;
            while !self.goes_on(BACK) {
                ticks += 1;
                assert!(ticks < 10 * TICKS_MAX, "they never go on");
            }
            ticks
        }
    }

    #[test]
    fn rules_stand_back_only_if_all_are_busy_and_processors_are_short() {
        for (tick, goes_on) in [
            (FULL, false),
            (Tick { writer: 50, rules: 50, waited: 7, ..FULL }, false),
            (Tick { writer: 49, ..FULL }, true),
            (Tick { rules: 49, ..FULL }, true),
            (Tick { waited: 12, ..FULL }, true),
        ] {
            assert_eq!(Scene::new(TICKS_MAX).goes_on(tick), goes_on);
        }
    }

    #[test]
    fn they_go_on_as_soon_as_there_is_time() {
        for (tick, goes_on) in [
            (BACK, false),
            (Tick { came: 4_000, ..BACK }, false),
            (Tick { writer: 49, ..BACK }, true),
            // The writer is busy with few events, which would not keep the rules busy.
            (Tick { came: 3_999, ..BACK }, true),
        ] {
            let mut scene = Scene::new(TICKS_MAX);
            assert!(!scene.goes_on(FULL));
            assert_eq!(scene.goes_on(tick), goes_on);
            assert_eq!(scene.stand_back.excuses(scene.size), goes_on);
            assert!(!scene.stand_back.excuses(scene.size + 1));
        }
    }

    #[test]
    fn beyond_the_limit_they_take_their_share_until_they_have_caught_up() {
        let mut scene = Scene::new(TICKS_MAX);
        for _ in 0..2 {
            assert!(!scene.goes_on(FULL), "they may wait");
            assert_eq!(scene.ticks_back(), TICKS_MAX);
            for _ in 0..1_000 {
                assert!(scene.goes_on(FULL), "they have waited once");
            }
            let behind = scene.size - scene.taken;
            assert!(scene.goes_on(Tick { came: 0, taken: behind, writer: 0, ..FULL }));
        }
    }

    #[test]
    fn pauses_of_the_writer_do_not_make_the_limit_longer() {
        let mut scene = Scene::new(TICKS_MAX);
        for _ in 0..TICKS_MAX / 2 {
            assert!(!scene.goes_on(FULL));
            assert!(scene.goes_on(Tick { writer: 0, ..BACK }));
        }
        for _ in 0..100 {
            assert!(scene.goes_on(FULL));
        }
    }

    #[test]
    fn without_a_time_to_wait_they_never_stand_back() {
        let mut scene = Scene::new(0);
        for _ in 0..100 {
            assert!(scene.goes_on(FULL));
        }
    }
}
