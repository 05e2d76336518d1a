//! A session in its stored form. Nothing here does I/O.

use conn_log_core::Timestamp;

use super::gaps::Gap;
use super::marks::{Key, Mark};
use crate::derive::facts::{Step, TimePosition};
use crate::derive::varint;

/// An end of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    pub(super) at: Timestamp,
    /// `None` if the next start superseded the session, or it timed out.
    pub(super) event: Option<i64>,
    pub(super) is_timed_out: bool,
    pub(super) status: Option<i32>,
    pub(super) duration: Option<f64>,
}

/// A session. One with neither start nor end is *stray*: it keeps the data of a key's events before
/// the key's first session, and no list shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionState {
    pub(crate) device: i32,
    pub(crate) application: i32,
    pub(crate) session_id: Option<String>,
    pub(crate) start: Option<TimePosition>,
    /// Whether the start is a `resumed` event.
    pub(super) is_resumed: bool,
    pub(crate) end: Option<End>,
    pub(super) is_suspended: bool,
    /// For the key's last session: the time of the key's latest event. For others: the later of
    /// start and end.
    pub(super) last_at: Timestamp,
    /// Marks during the session that are neither its start nor its end. A late mark can make one of
    /// them a start.
    pub(super) more: Vec<Mark>,
    /// The gaps in the key's events that begin after the session did, and before the next one. The
    /// key's first session also has those before it.
    pub(super) gaps: Vec<Gap>,
    /// The first event of a stray session; 0 for others.
    pub(super) stray_event: i64,
}

/// The time of stray sessions in the order of sessions: before 1970, when no event can be.
pub(super) fn stray_at() -> Timestamp {
    Timestamp::from_micros(-1)
}

impl SessionState {
    pub(super) fn stray(key: Key<'_>, event: i64) -> Self {
        SessionState {
            device: key.device,
            application: key.application,
            session_id: key.session_id.map(str::to_owned),
            start: None,
            is_resumed: false,
            end: None,
            is_suspended: false,
            last_at: stray_at(),
            more: Vec::new(),
            gaps: Vec::new(),
            stray_event: event,
        }
    }

    pub(super) fn started(key: Key<'_>, mark: Mark) -> Self {
        let is_resumed = mark.step == Step::Resumed;
        SessionState { start: Some(mark.position), is_resumed, ..Self::stray(key, 0) }
    }

    pub(super) fn ended(key: Key<'_>, mark: Mark) -> Self {
        SessionState { end: Some(End::of(mark)), ..Self::stray(key, 0) }
    }

    /// Its position in the order of sessions: that of its start, or of its end if no start is
    /// known.
    pub(crate) fn position(&self) -> TimePosition {
        let end = self.end.map(|end| (end.at, end.event.unwrap_or(0)));
        self.start.or(end).unwrap_or((stray_at(), self.stray_event))
    }

    pub(super) fn is_stray(&self) -> bool {
        self.start.is_none() && self.end.is_none()
    }

    /// Whether no end is known.
    pub(super) fn is_unended(&self) -> bool {
        self.start.is_some() && self.end.is_none()
    }

    /// Whether it is open, if sessions without an event after `quiet_since` have timed out.
    pub(crate) fn is_open(&self, quiet_since: Option<Timestamp>) -> bool {
        self.is_unended() && quiet_since.is_none_or(|quiet_since| self.last_at > quiet_since)
    }

    /// Whether it counts its device as connected.
    pub(crate) fn is_connected(&self, quiet_since: Option<Timestamp>) -> bool {
        self.is_open(quiet_since) && !self.is_suspended
    }

    /// The later of start and end.
    pub(super) fn last_mark_at(&self) -> Timestamp {
        let start = self.start.map(|(at, _)| at);
        let end = self.end.map(|end| end.at);
        start.max(end).unwrap_or(stray_at())
    }

    /// The time of its latest event.
    pub(super) fn last_event_at(&self) -> Timestamp {
        if self.is_unended() { self.last_at } else { self.last_mark_at() }
    }

    /// The time of its end, if sessions without an event after `quiet_since` have timed out.
    pub(super) fn ended_at(&self, quiet_since: Option<Timestamp>) -> Option<Timestamp> {
        match self.end {
            Some(end) => Some(end.at),
            None => (!self.is_open(quiet_since)).then_some(self.last_at),
        }
    }

    /// The marks that make up the session.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let step = if self.is_resumed { Step::Resumed } else { Step::Established };
        let start = self.start.map(|position| Mark::plain(position, step));
        let end = self.end.and_then(|end| {
            let (status, duration) = (end.status.unwrap_or(0), end.duration);
            Some(Mark { position: (end.at, end.event?), step: Step::Terminated, status, duration })
        });
        start.into_iter().chain(end).chain(self.more.iter().copied())
    }

    /// The class of its length; lists find the sessions of a time by it.
    pub(super) fn length(&self) -> i16 {
        if self.is_unended() {
            return LENGTH_OPEN;
        }
        let begin = self.position().0;
        let seconds = (self.last_mark_at().micros() - begin.micros()).max(0) / 1_000_000;
        let bits = i64::BITS - seconds.leading_zeros();
        i16::try_from(bits.div_ceil(2)).unwrap_or(LENGTH_OPEN)
    }
}

/// The class of sessions without an end. Other classes are below: sessions of class `c` are shorter
/// than `4^c` seconds.
pub(super) const LENGTH_OPEN: i16 = 32;

/// Conditions on a row in the form of the partial indexes: whether it has started and no end is known.
pub(super) const IS_OPEN: &str = "length = 32";
pub(super) const IS_ENDED: &str = "length < 32";

/// The highest class that timestamps allow: 4^19 seconds are 8,000 years.
pub(super) const LENGTH_MAX: i16 = 19;

/// The length that all sessions of that class are shorter than.
pub(super) fn length_end(class: i16) -> chrono::TimeDelta {
    chrono::TimeDelta::seconds(1 << (2 * class.clamp(0, LENGTH_MAX)))
}

impl End {
    pub(super) fn of(mark: Mark) -> Self {
        let (at, event) = mark.position;
        let (status, duration) = (Some(mark.status), mark.duration);
        End { at, event: Some(event), is_timed_out: false, status, duration }
    }

    pub(super) fn superseded(at: Timestamp) -> Self {
        End { at, event: None, is_timed_out: false, status: None, duration: None }
    }

    pub(super) fn timed_out(at: Timestamp) -> Self {
        End { is_timed_out: true, ..Self::superseded(at) }
    }
}

impl Mark {
    /// A mark with any status and duration.
    fn plain(position: TimePosition, step: Step) -> Self {
        Mark { position, step, status: 0, duration: None }
    }
}

/// The steps that `more` can hold, by their number.
const STEPS: [Step; 3] = [Step::Established, Step::Resumed, Step::Suspended];

/// The numbers of a gap, and of the time before a key's first event, in the place of a step.
const GAP: u64 = 3;
const BEGINNING: u64 = 4;

/// Encodes marks and gaps as bytes; `None` if there are none.
pub(super) fn encode(marks: &[Mark], gaps: &[Gap]) -> Option<Vec<u8>> {
    if marks.is_empty() && gaps.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for mark in marks {
        let number = STEPS.iter().position(|step| *step == mark.step).unwrap_or(0);
        varint::write(&mut bytes, number as u64);
        varint::write_signed(&mut bytes, mark.position.0.micros());
        varint::write_signed(&mut bytes, mark.position.1);
    }
    let mut before = 0;
    for gap in gaps {
        let to = gap.to.micros();
        // Relative to the gap before: an event between two gaps makes the distance 0.
        if let Some(from) = gap.from.map(Timestamp::micros) {
            varint::write(&mut bytes, GAP);
            varint::write_signed(&mut bytes, from - before);
            varint::write_signed(&mut bytes, to - from);
        } else {
            varint::write(&mut bytes, BEGINNING);
            varint::write_signed(&mut bytes, to - before);
        }
        before = to;
    }
    Some(bytes)
}

/// Decodes marks and gaps.
pub(super) fn decode(bytes: Option<&[u8]>) -> (Vec<Mark>, Vec<Gap>) {
    let mut bytes = bytes.unwrap_or_default();
    let (mut marks, mut gaps) = (Vec::new(), Vec::new());
    while decode_one(&mut bytes, &mut marks, &mut gaps).is_some() {}
    (marks, gaps)
}

/// Decodes one mark or gap. `None` at the end.
fn decode_one(bytes: &mut &[u8], marks: &mut Vec<Mark>, gaps: &mut Vec<Gap>) -> Option<()> {
    let number = varint::read(bytes)?;
    let first = varint::read_signed(bytes)?;
    let before = gaps.last().map_or(0, |gap: &Gap| gap.to.micros());
    match number {
        GAP => {
            let from = before + first;
            let to = Timestamp::from_micros(from + varint::read_signed(bytes)?);
            gaps.push(Gap { from: Some(Timestamp::from_micros(from)), to });
        }
        BEGINNING => {
            gaps.push(Gap { from: None, to: Timestamp::from_micros(before + first) });
        }
        step => {
            let step = *STEPS.get(usize::try_from(step).ok()?)?;
            let position = (Timestamp::from_micros(first), varint::read_signed(bytes)?);
            marks.push(Mark::plain(position, step));
        }
    }
    Some(())
}
