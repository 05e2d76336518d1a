//! The queue of submissions for the writer: bounded by events and by bytes, in two lanes.
//!
//! Small submissions and big batches have a lane each, and a group takes from both lanes. So
//! neither kind makes the other wait for more than one commit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Pending;
use crate::engine::{Turn, Turns};
use crate::error::AppendError;

/// A submission with more events than this goes into the lane of batches.
const SMALL_EVENTS_MAX: usize = 16;

/// If the writer works on one group for this long, the database hangs: the writer's own attempts
/// end after half of this time.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Limit of waiting turns at the write connection: background work is only a few tasks.
const TURNS_MAX: usize = 64;

pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    events_max: usize,
    bytes_max: usize,
    group_events_max: usize,
}

#[derive(Default)]
struct State {
    small: VecDeque<Pending>,
    batches: VecDeque<Pending>,
    turns: VecDeque<Turn>,
    events: usize,
    bytes: usize,
    is_closed: bool,
    writer: Doing,
    /// The time of the groups before the present one.
    stored_for: Duration,
}

/// The writer's current activity.
#[derive(Default)]
enum Doing {
    /// A short task, or a turn without a group.
    #[default]
    Other,
    /// It waits to be woken. Waking a busy writer would cost a needless system call.
    Waiting,
    /// It stores a group, since this instant.
    Storing(Instant),
    /// It waits for a database that is not available. New submissions are refused at once.
    Away,
    /// Its thread has ended, as planned or not.
    Dead,
}

/// The writer's next work.
pub(crate) enum Work {
    /// Some submissions to commit, then perhaps a turn.
    Some { group: Vec<Pending>, turn: Option<Turn> },
    /// The queue is closed and empty.
    Closed,
}

impl Queue {
    pub(crate) fn new(events_max: usize, bytes_max: usize, group_events_max: usize) -> Self {
        Queue {
            state: Mutex::default(),
            wake: Condvar::new(),
            events_max,
            bytes_max,
            group_events_max,
        }
    }

    /// Adds a submission to the queue, or returns at once why it cannot.
    pub(crate) fn push(&self, pending: Pending) -> Result<(), AppendError> {
        let mut state = self.lock();
        if state.is_closed {
            return refuse(pending, AppendError::Closed);
        }
        if matches!(state.writer, Doing::Away | Doing::Dead) {
            return refuse(pending, AppendError::Unavailable);
        }
        if let Some(waiting) = state.give_up_if_stalled() {
            drop(state);
            waiting.into_iter().for_each(|waiting| waiting.fail(AppendError::Unavailable));
            return refuse(pending, AppendError::Unavailable);
        }
        let events = pending.weight();
        // A submission larger than the limit is accepted into an empty queue: it would never fit.
        let is_room = state.bytes == 0 || state.bytes + pending.bytes <= self.bytes_max;
        if state.events + events > self.events_max || !is_room {
            return refuse(pending, AppendError::Overloaded);
        }
        state.events += events;
        state.bytes += pending.bytes;
        if events > SMALL_EVENTS_MAX {
            state.batches.push_back(pending);
        } else {
            state.small.push_back(pending);
        }
        self.wake_writer(state);
        Ok(())
    }

    /// Waits until there is work, and takes a group of it.
    pub(crate) fn take(&self) -> Work {
        let mut state = self.lock();
        state.stored_for = state.storing();
        state.writer = Doing::Other;
        loop {
            if !state.small.is_empty() || !state.batches.is_empty() || !state.turns.is_empty() {
                let group = state.take_group(self.group_events_max);
                if !group.is_empty() {
                    state.writer = Doing::Storing(Instant::now());
                }
                return Work::Some { group, turn: state.turns.pop_front() };
            }
            if state.is_closed {
                return Work::Closed;
            }
            state.writer = Doing::Waiting;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.writer = Doing::Other;
        }
    }

    /// Removes all waiting work, so that the caller can refuse it.
    pub(crate) fn drain(&self) -> (Vec<Pending>, Vec<Turn>) {
        let mut state = self.lock();
        (state.drain(), std::mem::take(&mut state.turns).into())
    }

    /// Waits that long, or until the queue is closed; returns whether the queue is closed.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let (state, _) = self
            .wake
            .wait_timeout_while(self.lock(), pause, |state| !state.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_closed
    }

    /// Accepts no more work. Work that already waits is still done.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_all();
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.lock().writer = if is_away { Doing::Away } else { Doing::Other };
    }

    pub(crate) fn set_dead(&self) {
        self.lock().writer = Doing::Dead;
    }

    /// Whether the writer runs and can reach the database.
    pub(crate) fn is_available(&self) -> bool {
        let state = self.lock();
        !matches!(state.writer, Doing::Away | Doing::Dead) && !state.is_stalled()
    }

    /// The time that the writer has worked on groups so far, the present one included.
    pub(crate) fn storing(&self) -> Duration {
        self.lock().storing()
    }

    /// Number of waiting events, and of their bytes.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.events, state.bytes)
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let waits = matches!(state.writer, Doing::Waiting);
        if waits {
            // Submissions need to be given up only once.
            state.writer = Doing::Other;
        }
        drop(state);
        if waits {
            self.wake.notify_one();
        }
    }

    /// A panic while the lock was held leaves the state consistent: each change is made at once.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns for Queue {
    fn push(&self, turn: Turn) -> Result<(), Turn> {
        let mut state = self.lock();
        let is_dead = matches!(state.writer, Doing::Dead);
        if state.is_closed || is_dead || state.turns.len() >= TURNS_MAX {
            return Err(turn);
        }
        state.turns.push_back(turn);
        self.wake_writer(state);
        Ok(())
    }
}

impl State {
    fn storing(&self) -> Duration {
        let present = match self.writer {
            Doing::Storing(since) => since.elapsed(),
            _ => Duration::ZERO,
        };
        self.stored_for + present
    }

    fn is_stalled(&self) -> bool {
        matches!(self.writer, Doing::Storing(since) if since.elapsed() > STALLED_AFTER)
    }

    /// If the writer hangs: returns all waiting submissions.
    fn give_up_if_stalled(&mut self) -> Option<Vec<Pending>> {
        self.is_stalled().then(|| self.drain())
    }

    fn drain(&mut self) -> Vec<Pending> {
        let mut all: Vec<Pending> = std::mem::take(&mut self.small).into();
        all.extend(std::mem::take(&mut self.batches));
        self.events = 0;
        self.bytes = 0;
        all
    }

    /// Takes small submissions of up to `events_max` events; at least one batch if one waits, and
    /// more batches as long as the group is below `events_max`.
    fn take_group(&mut self, events_max: usize) -> Vec<Pending> {
        let mut group = Vec::new();
        let mut events = 0;
        while let Some(next) = self.small.front() {
            if !group.is_empty() && events + next.weight() > events_max {
                break;
            }
            events += next.weight();
            group.extend(self.small.pop_front());
        }
        let mut has_batch = false;
        while let Some(next) = self.batches.front() {
            if has_batch && events + next.weight() > events_max {
                break;
            }
            has_batch = true;
            events += next.weight();
            group.extend(self.batches.pop_front());
        }
        self.events -= events;
        self.bytes -= group.iter().map(|pending| pending.bytes).sum::<usize>();
        group
    }
}

fn refuse(pending: Pending, error: AppendError) -> Result<(), AppendError> {
    pending.fail(error);
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sequencer::{Claim, Outcome, Submission};
    use crate::tenant_id::TenantId;
    use tokio::sync::oneshot::Receiver;

    type Answer = Receiver<Result<Outcome, AppendError>>;

    /// A request without an event to store, but with an answer to remember.
    fn only_a_key(answer_bytes: usize) -> (Pending, Answer) {
        let answer = Box::new(|_: &[crate::log::sequencer::Appended]| Vec::new());
        let claim = Claim { key: "key".to_owned(), fingerprint: [0; 32], answer, answer_bytes };
        Pending::new(Submission {
            tenant: TenantId::DEFAULT,
            events: Vec::new(),
            atomic: false,
            claim: Some(claim),
            rejects: None,
        })
    }

    #[test]
    fn a_span_without_events_counts_too() {
        let by_count = Queue::new(2, usize::MAX, 10);
        let by_bytes = Queue::new(usize::MAX, 1_000, 10);
        for queue in [by_count, by_bytes] {
            assert_eq!(queue.push(only_a_key(400).0), Ok(()));
            assert_eq!(queue.push(only_a_key(400).0), Ok(()));
            assert_eq!(queue.push(only_a_key(400).0), Err(AppendError::Overloaded));
            assert!(matches!(queue.take(), Work::Some { group, .. } if group.len() == 2));
            assert_eq!(queue.depth(), (0, 0));
        }
    }

    fn batch_of(count: usize) -> (Pending, Answer) {
        let parts = conn_log_core::EventFields {
            device_id: "d".to_owned(),
            application_id: "a".to_owned(),
            connection_type: "established".to_owned(),
            status: "success".to_owned(),
            timestamp: conn_log_core::Timestamp::EPOCH,
            ip_address: None,
            user_agent: None,
            duration: None,
            session_id: None,
            event_id: None,
            metadata: "{}".to_owned(),
        };
        Pending::new(Submission {
            tenant: TenantId::DEFAULT,
            events: vec![conn_log_core::Event::from_store(parts); count],
            atomic: false,
            claim: None,
            rejects: None,
        })
    }

    #[test]
    fn a_group_has_every_single_event_that_waits_and_one_batch_before_more() {
        let queue = Queue::new(100_000, usize::MAX, 4_000);
        let mut answers = Vec::new();
        for count in [3_000, 1, 3_000, 1, 3_000, 1] {
            let (pending, answer) = batch_of(count);
            queue.push(pending).unwrap();
            answers.push(answer);
        }
        let sizes = |work: Work| match work {
            Work::Some { group, .. } => group.iter().map(|p| p.events.len()).collect::<Vec<_>>(),
            Work::Closed => panic!("it is open"),
        };
        assert_eq!(sizes(queue.take()), [1, 1, 1, 3_000], "no single event waits for the others");
        let (late, _answer) = batch_of(1);
        queue.push(late).unwrap();
        assert_eq!(sizes(queue.take()), [1, 3_000]);
        assert_eq!(sizes(queue.take()), [3_000]);
    }

    #[test]
    fn a_lone_event_is_taken_at_once_by_a_writer_that_waits() {
        let queue = std::sync::Arc::new(Queue::new(10, usize::MAX, 10));
        let (sender, taken) = std::sync::mpsc::channel();
        let writer = std::sync::Arc::clone(&queue);
        std::thread::spawn(move || sender.send(matches!(writer.take(), Work::Some { .. })));
        while !matches!(queue.lock().writer, Doing::Waiting) {
            std::thread::yield_now();
        }
        // The writer has no time-out: without this wake-up it would wait for ever.
        queue.push(only_a_key(0).0).unwrap();
        assert_eq!(taken.recv_timeout(Duration::from_mins(1)), Ok(true));
    }

    #[test]
    fn a_writer_that_hangs_is_unavailable_and_its_waiters_get_an_error() {
        let queue = Queue::new(10, usize::MAX, 10);
        queue.push(only_a_key(0).0).unwrap();
        let _taken = queue.take();
        let (waiting, mut answer) = only_a_key(0);
        queue.push(waiting).unwrap();
        assert!(queue.is_available());

        let long_ago = Instant::now().checked_sub(STALLED_AFTER * 2).unwrap();
        queue.lock().writer = Doing::Storing(long_ago);
        assert!(!queue.is_available());
        assert_eq!(queue.push(only_a_key(0).0), Err(AppendError::Unavailable));
        assert_eq!(answer.try_recv(), Ok(Err(AppendError::Unavailable)));
        assert_eq!(queue.depth(), (0, 0));
    }
}
