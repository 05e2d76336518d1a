//! Computes sessions from a key's marks, in any order of arrival. Nothing here does I/O.
//!
//! Marks are processed in the order of (timestamp, id); a repeat, which is a mark of the same type
//! at the same instant, counts once. At one instant an end of an open session is processed first.
//!
//! | mark | none is open | one is open |
//! | --- | --- | --- |
//! | established | opens one, or ends it at once by the end before it | with a session id the same, else ends it and opens the next |
//! | resumed | as established | goes on with a suspended one; else as established |
//! | suspended | nothing | suspends it |
//! | terminated | an end whose start is unknown, or comes within 60 s | ends it |
//! | (a gap) | nothing | ends it at its last event |

use chrono::TimeDelta;
use conn_log_core::Timestamp;

use super::gaps::{self, Gap};
use super::marks::{Key, Mark, News};
use super::state::{End, SessionState};
use crate::derive::facts::Step;

/// The longest time by which an end may lie before the start of its session: clocks step.
pub(super) const END_BEFORE_START_MAX: TimeDelta = TimeDelta::seconds(60);

/// Sessions of one key, in construction.
struct Fold<'a> {
    key: Key<'a>,
    sessions: Vec<SessionState>,
    /// Sessions whose start may still come: an end while none was open, and no start since.
    early: Vec<usize>,
    /// The gaps that have not been met yet, in the order of time.
    gaps: std::slice::Iter<'a, Gap>,
}

/// Computes the sessions of a key in the order of their starts, with the new marks. `before` are
/// the sessions that the marks can change. `is_all` if they include the last session of the key.
/// With a `timeout`, an open session ends at a gap that is longer.
pub(super) fn settle(
    key: Key<'_>,
    before: &[SessionState],
    news: &News,
    is_all: bool,
    timeout: Option<TimeDelta>,
) -> Vec<SessionState> {
    let gaps = timeout.map(|timeout| gaps_of(before, news, is_all, timeout)).unwrap_or_default();
    let mut marks: Vec<Mark> = before.iter().flat_map(SessionState::marks).collect();
    marks.extend(&news.marks);
    marks.sort_unstable_by_key(|mark| (mark.position.0, mark.step, mark.position.1));
    marks.dedup_by_key(|mark| (mark.position.0, mark.step));
    marks.sort_unstable_by_key(|mark| mark.position);

    let mut fold = Fold {
        key,
        sessions: Vec::with_capacity(before.len() + 1),
        early: Vec::new(),
        gaps: gaps.iter(),
    };
    for instant in marks.chunk_by_mut(|one, next| one.position.0 == next.position.0) {
        fold.pass_gaps(instant[0].position.0);
        fold.take_instant(instant);
    }
    fold.pass_gaps(Timestamp::MAX);
    let mut sessions = fold.sessions;
    if sessions.is_empty() {
        let known = before.iter().map(|session| session.stray_event);
        let first = known.chain([news.first_event]).min();
        sessions.push(SessionState::stray(key, first.unwrap_or(0)));
    }
    for session in &mut sessions {
        session.last_at = session.last_mark_at();
    }
    let last_at = before.iter().map(|session| session.last_at).max().max(Some(news.last_at));
    if let Some(last) = sessions.iter_mut().max_by_key(|session| session.position())
        && is_all
    {
        last.last_at = last.last_at.max(last_at.unwrap_or(last.last_at));
    }
    give_gaps(&mut sessions, gaps);
    sessions
}

/// The gaps of the sessions, with the new events.
fn gaps_of(before: &[SessionState], news: &News, is_all: bool, timeout: TimeDelta) -> Vec<Gap> {
    let mut known: Vec<Gap> = before.iter().flat_map(|session| session.gaps.clone()).collect();
    known.sort_unstable_by_key(|gap| gap.to);
    // If there are later sessions, no gap after them is looked for.
    let last_at = before.iter().map(|session| session.last_at).max();
    let last_at = last_at.map(|last_at| if is_all { last_at } else { Timestamp::MAX });
    gaps::add(&mut known, last_at, &news.times, timeout);
    known
}

/// Gives each gap to the latest session that began before it, or else to the first session.
fn give_gaps(sessions: &mut [SessionState], gaps: Vec<Gap>) {
    if gaps.is_empty() {
        return;
    }
    let mut order: Vec<usize> = (0..sessions.len()).collect();
    order.sort_unstable_by_key(|index| sessions[*index].position());
    for gap in gaps {
        let begins = |index: &usize| gap.from >= Some(sessions[*index].position().0);
        let begun = order.partition_point(begins);
        sessions[order[begun.saturating_sub(1)]].gaps.push(gap);
    }
}

impl Fold<'_> {
    /// Processes the marks of one instant, in the order of their ids.
    fn take_instant(&mut self, marks: &mut [Mark]) {
        if self.is_open()
            && let Some(end) = marks.iter().position(|mark| mark.step == Step::Terminated)
        {
            marks[..=end].rotate_right(1);
        }
        for mark in marks {
            match mark.step {
                Step::Established | Step::Resumed => self.start(*mark),
                Step::Suspended => self.suspend(*mark),
                Step::Terminated => self.end(*mark),
            }
        }
    }

    fn is_open(&self) -> bool {
        self.sessions.last().is_some_and(SessionState::is_unended)
    }

    fn open(&mut self) -> Option<&mut SessionState> {
        self.sessions.last_mut().filter(|session| session.is_unended())
    }

    /// Ends the open session at the first gap up to that time: it showed no sign of life for longer
    /// than the timeout.
    fn pass_gaps(&mut self, until: Timestamp) {
        while let Some(gap) = self.gaps.as_slice().first().filter(|gap| gap.to <= until) {
            self.gaps.next();
            if let Some(from) = gap.from
                && let Some(open) = self.open()
            {
                open.end = Some(End::timed_out(from));
                open.is_suspended = false;
            }
        }
    }

    fn start(&mut self, mark: Mark) {
        let has_id = self.key.session_id.is_some();
        if let Some(open) = self.open() {
            if has_id || open.is_suspended && mark.step == Step::Resumed {
                open.is_suspended = false;
                open.more.push(mark);
                return;
            }
            open.end = Some(End::superseded(mark.position.0));
            open.is_suspended = false;
        }
        let since = mark.position.0.plus(-END_BEFORE_START_MAX);
        let is_near = |session: &SessionState| session.last_mark_at() >= since;
        let early = std::mem::take(&mut self.early);
        match early.into_iter().find(|index| is_near(&self.sessions[*index])) {
            Some(index) => {
                let session = &mut self.sessions[index];
                session.start = Some(mark.position);
                session.is_resumed = mark.step == Step::Resumed;
            }
            None => self.sessions.push(SessionState::started(self.key, mark)),
        }
    }

    fn suspend(&mut self, mark: Mark) {
        if let Some(open) = self.open() {
            open.is_suspended = true;
        }
        // It is kept anyway: a late start may come before it.
        if self.sessions.is_empty() {
            self.sessions.push(SessionState::stray(self.key, mark.position.1));
        }
        if let Some(last) = self.sessions.last_mut() {
            last.more.push(mark);
        }
    }

    fn end(&mut self, mark: Mark) {
        match self.open() {
            Some(open) => {
                open.end = Some(End::of(mark));
                open.is_suspended = false;
            }
            None => {
                self.early.push(self.sessions.len());
                self.sessions.push(SessionState::ended(self.key, mark));
            }
        }
    }
}

/// Whether the sessions beyond `before` are unchanged: true if a session that begins after all new
/// marks, and is not the last of `before`, is unchanged. Returns its position; the sessions from
/// there on are unchanged.
pub(super) fn meets(
    before: &[SessionState],
    after: &[SessionState],
    until: Timestamp,
) -> Option<Timestamp> {
    let (_, before) = before.split_last()?;
    let is_met = |session: &&SessionState| {
        session.start.is_some_and(|(at, _)| at > until) && after.contains(session)
    };
    before.iter().find(is_met).map(|session| session.position().0)
}
