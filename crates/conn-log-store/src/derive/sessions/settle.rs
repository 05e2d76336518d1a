//! Sessions, as a function of the starts and ends that the log holds, whatever the order in which
//! they came. Nothing here does I/O.
//!
//! A start is an `established` event with status `success`, an end is a `terminated` event of any
//! status. Repeats of a mark (the same kind at the same instant) count once, as the first of them.
//!
//! - **By session id**: one session for each id. It starts with its earliest start and ends with
//!   its latest end, also where that lies before the start: the two are one session's, whatever the
//!   clocks said.
//! - **By device and application**, where the events have no session id: an end closes the session
//!   that is open, or stands for a session whose start is not known. A start while one is open ends
//!   that one at the same instant: its own end is not known. An end and a start at one instant: if
//!   a session is open the end is its own, else the start comes first.

use std::collections::BTreeMap;

use conn_log_core::Timestamp;

use crate::derive::facts::{Fact, Step, TimePosition};

/// An end of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) at: Timestamp,
    /// `None` where the next start ended it.
    pub(crate) event: Option<i64>,
    pub(crate) status: Option<i32>,
    pub(crate) duration: Option<f64>,
}

/// A session, as it is kept. At least one of start and end is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionState {
    pub(crate) device: i32,
    pub(crate) application: i32,
    pub(crate) session_id: Option<String>,
    pub(crate) start: Option<TimePosition>,
    pub(crate) end: Option<End>,
}

impl SessionState {
    /// Its position among the sessions: its start's, or its end's where there is none.
    pub(crate) fn position(&self) -> TimePosition {
        let end = self.end.map(|end| (end.at, end.event.unwrap_or(0)));
        self.start.or(end).unwrap_or_default()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.end.is_none()
    }
}

/// Whose marks are paired with each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Session(String),
    /// Device and application.
    Pair(i32, i32),
}

/// A start or an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) position: TimePosition,
    pub(crate) device: i32,
    pub(crate) application: i32,
    /// Status and duration of an end; `None` for a start.
    pub(crate) end: Option<(i32, Option<f64>)>,
}

/// The starts and ends among those facts, by what pairs them.
pub(crate) fn marks_of(facts: &[Fact]) -> BTreeMap<Key, Vec<Mark>> {
    let mut marks: BTreeMap<Key, Vec<Mark>> = BTreeMap::new();
    for fact in facts {
        let end = match fact.step {
            Some(Step::Established) if fact.is_success => None,
            Some(Step::Terminated) => Some((fact.status, fact.duration)),
            _ => continue,
        };
        let (device, application) = (fact.device, fact.application);
        let key = match &fact.session_id {
            Some(session_id) => Key::Session(session_id.clone()),
            None => Key::Pair(device, application),
        };
        let mark = Mark { position: fact.position(), device, application, end };
        marks.entry(key).or_default().push(mark);
    }
    marks
}

/// The session of an id, once these marks are known too.
pub(crate) fn settle_session(
    session_id: &str,
    before: Option<&SessionState>,
    marks: &[Mark],
) -> Option<SessionState> {
    let mut session = before.cloned();
    for mark in marks {
        let session = session.get_or_insert_with(|| SessionState {
            device: mark.device,
            application: mark.application,
            session_id: Some(session_id.to_owned()),
            start: None,
            end: None,
        });
        let is_owner = match mark.end {
            None => {
                let is_first = session.start.is_none_or(|start| mark.position < start);
                if is_first {
                    session.start = Some(mark.position);
                }
                is_first
            }
            Some((status, duration)) => {
                let (at, event) = mark.position;
                let is_last = session.end.is_none_or(|end| {
                    at > end.at || at == end.at && end.event.is_none_or(|known| event < known)
                });
                if is_last {
                    session.end =
                        Some(End { at, event: Some(event), status: Some(status), duration });
                }
                is_last && session.start.is_none()
            }
        };
        if is_owner {
            session.device = mark.device;
            session.application = mark.application;
        }
    }
    session
}

/// What happened at one instant: the first start and the first end.
#[derive(Clone, Copy, Debug, Default)]
struct Instant {
    start: Option<i64>,
    end: Option<End>,
}

impl Instant {
    fn take(&mut self, (at, event): TimePosition, end: Option<(Option<i32>, Option<f64>)>) {
        match end {
            None => self.start = Some(self.start.map_or(event, |known| known.min(event))),
            Some((status, duration)) => {
                let is_first = self.end.is_none_or(|end| end.event.is_none_or(|e| event < e));
                if is_first {
                    self.end = Some(End { at, event: Some(event), status, duration });
                }
            }
        }
    }
}

/// How many of a pair's sessions, in order of time, marks up to `until` can change. The last of
/// them begins after `until`, with a start or an end that is alone at its instant: whatever came
/// before, a start alone leaves a session open and an end alone does not. `None` if there is no
/// such one among them.
pub(crate) fn stretch(sessions: &[SessionState], until: Timestamp) -> Option<usize> {
    let ends_at = |session: &SessionState| Some(session.end?).filter(|end| end.event.is_some());
    let is_alone = |index: usize| {
        let session = &sessions[index];
        let Some((at, _)) = session.start else {
            return true;
        };
        let before = index.checked_sub(1).and_then(|before| ends_at(&sessions[before]));
        let ends = [before, ends_at(session)];
        !ends.iter().flatten().any(|end| end.at == at)
    };
    let after = sessions.partition_point(|session| session.position().0 <= until);
    (after..sessions.len()).find(|index| is_alone(*index)).map(|index| index + 1)
}

/// The sessions of a device and application in order of time, once these marks are known too.
/// `before` are those that the marks can change ([`stretch`]), in order of time; the first of them
/// begins before every mark.
pub(crate) fn settle_pair(
    (device, application): (i32, i32),
    before: &[SessionState],
    marks: &[Mark],
) -> Vec<SessionState> {
    let mut instants: BTreeMap<Timestamp, Instant> = BTreeMap::new();
    for session in before {
        if let Some(start) = session.start {
            instants.entry(start.0).or_default().take(start, None);
        }
        if let Some(End { at, event: Some(event), status, duration }) = session.end {
            instants.entry(at).or_default().take((at, event), Some((status, duration)));
        }
    }
    for mark in marks {
        let end = mark.end.map(|(status, duration)| (Some(status), duration));
        instants.entry(mark.position.0).or_default().take(mark.position, end);
    }
    let mut sessions: Vec<SessionState> = Vec::with_capacity(before.len() + marks.len());
    let session = |start, end| SessionState { device, application, session_id: None, start, end };
    // The last of `sessions`, while it is open.
    let mut is_open = false;
    for (at, Instant { start, end }) in instants {
        let start = start.map(|event| (at, event));
        match (is_open, start, end) {
            (true | false, None, None) => {}
            (false, Some(_), None) => sessions.push(session(start, None)),
            (false, _, Some(_)) => sessions.push(session(start, end)),
            (true, start, end) => {
                let superseded = End { at, event: None, status: None, duration: None };
                if let Some(open) = sessions.last_mut() {
                    open.end = Some(end.unwrap_or(superseded));
                }
                if start.is_some() {
                    sessions.push(session(start, None));
                }
            }
        }
        is_open = sessions.last().is_some_and(|session| session.end.is_none());
    }
    // The start that ended the last one is that of a session beyond the stretch.
    let superseded = before.last().and_then(|last| last.end).filter(|end| end.event.is_none());
    if let Some(last) = sessions.last_mut().filter(|last| last.end.is_none()) {
        last.end = superseded;
    }
    sessions
}
