//! Episodes: hits of one group whose times lie within the cooldown. Each is an alert.

use super::finder::Found;
use super::window::Window;

/// Evidence: an event, and its place in time.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Mark {
    /// Microseconds on the rule's clock.
    pub time: i64,
    /// A number made of the event's content, which orders events of one instant.
    pub digest: u64,
    /// The event's id.
    pub id: i64,
}

/// Events kept from either end of an episode: an alert names 50 events at most.
const EVIDENCE_EACH: usize = 25;

/// An extension is told when the count has doubled, or after this time: an attack of a million
/// events is some dozens of messages.
const TOLD_AGAIN_AFTER: i64 = 3_600 * super::rule::SECOND;

/// A stretch of hits of one group.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Episode {
    /// The number of its alert.
    pub alert: i64,
    /// The day or the window that it belongs to: hits of two slots are never joined.
    pub slot: i64,
    /// The event that was taken in when it was found.
    pub opened_by: i64,
    /// Microseconds.
    pub start: i64,
    /// Microseconds; the start while it goes on, for kinds that end.
    pub end: i64,
    /// Whether it goes on until something ends it.
    pub goes_on: bool,
    /// The number of its events.
    pub count: u64,
    /// Its first events.
    pub first: Vec<Mark>,
    /// Its last events.
    pub last: Vec<Mark>,
    /// The log's clock when it was found, in microseconds.
    pub detected_at: i64,
    /// The count, and the end, when it was last told.
    pub told: (u64, i64),
    /// A figure for its explanation, such as a score or a mean; by kind.
    pub measure: f64,
}

impl Episode {
    /// Its evidence, at most 50 events, in order.
    pub fn evidence(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = self.first.iter().chain(&self.last).copied().collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// Adds an event.
    pub(super) fn add(&mut self, mark: Mark) {
        self.count += 1;
        self.keep(mark);
        self.start = self.start.min(mark.time);
        self.end = self.end.max(mark.time);
    }

    /// Ends what went on since its first event.
    pub(super) fn end_with(&mut self, mark: Mark) {
        self.goes_on = false;
        self.end = mark.time;
        self.last = vec![mark];
        self.count = self.evidence().len() as u64;
    }

    fn keep(&mut self, mark: Mark) {
        insert(&mut self.first, mark);
        self.first.truncate(EVIDENCE_EACH);
        insert(&mut self.last, mark);
        if self.last.len() > EVIDENCE_EACH {
            self.last.remove(0);
        }
    }

    /// Takes in another episode.
    fn join(&mut self, other: &Episode) {
        self.count += other.count;
        for mark in other.evidence() {
            self.keep(mark);
        }
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
    }

    /// Whether an extension is worth a message. Notes that it is told.
    pub(super) fn is_told(&mut self) -> bool {
        let (count, end) = self.told;
        let is_told = self.count >= 2 * count.max(1) || self.end - end >= TOLD_AGAIN_AFTER;
        if is_told {
            self.told = (self.count, self.end);
        }
        is_told
    }
}

fn insert(marks: &mut Vec<Mark>, mark: Mark) {
    if let Err(place) = marks.binary_search(&mark) {
        marks.insert(place, mark);
    }
}

/// What a hit did to the episodes of its group.
#[derive(Debug, PartialEq)]
pub(super) enum Applied {
    /// The episode at that place is new.
    Opened(usize),
    /// The episode at that place has grown, and has taken in these.
    Grown(usize, Vec<Episode>),
    /// All of it was counted before.
    Nothing,
}

/// Adds the members of a hit to the episodes of its group.
pub(super) fn apply(
    found: &Found,
    window: &Window,
    episodes: &mut Vec<Episode>,
    cooldown: i64,
    new: impl FnOnce() -> Episode,
) -> Applied {
    let marks: Vec<Mark> = found.members.iter().map(|place| window.at(*place).mark()).collect();
    if marks.is_empty() {
        return Applied::Nothing;
    }
    let is_near = |episode: &Episode| {
        episode.slot == found.slot
            && episode.start - cooldown <= found.end
            && found.start <= episode.end + cooldown
    };
    let near: Vec<usize> = (0..episodes.len()).filter(|place| is_near(&episodes[*place])).collect();
    let earliest =
        near.iter().copied().min_by_key(|place| (episodes[*place].start, episodes[*place].alert));
    let Some(kept) = earliest else {
        let mut episode = Episode { slot: found.slot, start: found.start, end: found.end, ..new() };
        marks.into_iter().for_each(|mark| episode.add(mark));
        episode.told = (episode.count, episode.end);
        episodes.push(episode);
        return Applied::Opened(episodes.len() - 1);
    };
    let kept_alert = episodes[kept].alert;
    let joined: Vec<Episode> =
        near.iter().filter(|place| **place != kept).map(|place| episodes[*place].clone()).collect();
    let survivor = &mut episodes[kept];
    marks.into_iter().for_each(|mark| survivor.add(mark));
    joined.iter().for_each(|other| survivor.join(other));
    episodes.retain(|episode| !joined.iter().any(|other| other.alert == episode.alert));
    let place = episodes.iter().position(|episode| episode.alert == kept_alert).unwrap_or(0);
    Applied::Grown(place, joined)
}
