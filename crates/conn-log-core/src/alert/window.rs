//! The observations of one group, in the order of time.
//!
//! A busy group has hundreds of thousands, and many arrive a little late. So they are in chunks: an
//! insertion moves the observations of one chunk only, and a chunk knows how many of its
//! observations count.

use std::ops::Range;

use foldhash::HashSet;

use super::finder::bit;
use super::observation::{Detail, Observation};

/// Observations of a chunk at most: a few KiB are quick to move.
const CHUNK_MAX: usize = 256;

/// Observations in the order of time; at one instant in the order of their content.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// None is empty.
    chunks: Vec<Chunk>,
    /// The digests, where repeats have other times.
    digests: Option<Box<HashSet<u64>>>,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// The place of its first observation in the window.
    begin: usize,
    /// The time of its last observation.
    until: i64,
    /// Those that count. The first one is looked at as if none were before it.
    tally: usize,
    observations: Vec<Observation>,
}

impl Window {
    /// `is_by_arrival` if repeats of an observation have a time of their own.
    pub(super) fn new(is_by_arrival: bool) -> Self {
        Window { chunks: Vec::new(), digests: is_by_arrival.then(Box::default) }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |chunk| chunk.begin + chunk.observations.len())
    }

    /// The observation at a place, which is one of the window.
    pub(super) fn at(&self, place: usize) -> &Observation {
        let chunk = &self.chunks[self.chunk_of(place)];
        &chunk.observations[place - chunk.begin]
    }

    fn chunk_of(&self, place: usize) -> usize {
        match self.chunks.last() {
            Some(last) if last.begin <= place => self.chunks.len() - 1,
            _ => self.chunks.partition_point(|chunk| chunk.begin <= place).saturating_sub(1),
        }
    }

    /// The observations at these places, in order.
    pub(super) fn iter(
        &self,
        places: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = &Observation> {
        let first = if places.is_empty() { 0 } else { self.chunk_of(places.start) };
        let last = if places.is_empty() { 0 } else { self.chunk_of(places.end - 1) + 1 };
        self.chunks[first..last].iter().flat_map(move |chunk| {
            let clip = |place: usize| place.saturating_sub(chunk.begin);
            let end = clip(places.end).min(chunk.observations.len());
            &chunk.observations[clip(places.start).min(end)..end]
        })
    }

    /// The first place of that time or later.
    pub(super) fn from(&self, time: i64) -> usize {
        self.place_of(|other| other < time)
    }

    /// The first place later than that time.
    pub(super) fn after(&self, time: i64) -> usize {
        self.place_of(|other| other <= time)
    }

    /// The first place whose time is not `before`.
    fn place_of(&self, before: impl Fn(i64) -> bool) -> usize {
        // Most often that is beyond the last one.
        if self.chunks.last().is_none_or(|last| before(last.until)) {
            return self.len();
        }
        let chunk = &self.chunks[self.chunks.partition_point(|chunk| before(chunk.until))];
        chunk.begin + chunk.observations.partition_point(|other| before(other.time))
    }

    /// How many of the observations at these places count. The first one is looked at as if none
    /// were before it.
    pub(super) fn tally(&self, places: Range<usize>) -> usize {
        if places.is_empty() {
            return 0;
        }
        let (mut sum, mut before) = (0, None);
        for chunk in &self.chunks[self.chunk_of(places.start)..=self.chunk_of(places.end - 1)] {
            let end = chunk.begin + chunk.observations.len();
            if places.start <= chunk.begin && end <= places.end {
                sum += chunk.tally_after(before);
                before = chunk.observations.last().map(|other| other.detail);
            } else {
                let inside =
                    places.start.max(chunk.begin) - chunk.begin..places.end.min(end) - chunk.begin;
                for observation in &chunk.observations[inside] {
                    sum += usize::from(observation.detail.counts_after(before));
                    before = Some(observation.detail);
                }
            }
        }
        sum
    }

    /// The last place from which so many count until before `end`, which is at most the window's
    /// length. At least one is asked for.
    pub(super) fn last_with(&self, wanted: usize, end: usize) -> Option<usize> {
        let (mut sum, mut after) = (0, None);
        let chunks = &self.chunks[..self.chunks.partition_point(|chunk| chunk.begin < end)];
        for chunk in chunks.iter().rev() {
            let inside = &chunk.observations[..chunk.observations.len().min(end - chunk.begin)];
            let is_whole = inside.len() == chunk.observations.len();
            let whole = chunk.tally + inside.last().map_or(0, |last| seam(last.detail, after));
            if is_whole && sum + whole < wanted {
                sum += whole;
                after = inside.first().map(|first| first.detail);
                continue;
            }
            for (place, observation) in inside.iter().enumerate().rev() {
                let detail = observation.detail;
                sum += usize::from(detail.counts_after(None)) + seam(detail, after);
                if sum >= wanted {
                    return Some(chunk.begin + place);
                }
                after = Some(detail);
            }
        }
        None
    }

    /// Adds an observation, and returns its place. `None` for a repeat that does not count.
    pub(super) fn insert(&mut self, new: Observation, count_repeats: bool) -> Option<usize> {
        let (chunk, place) = self.room_of(&new);
        if !count_repeats {
            let is_same = |other: Option<&Observation>| {
                other.is_some_and(|other| (other.time, other.digest) == (new.time, new.digest))
            };
            let before = match place.checked_sub(1) {
                Some(before) => self.chunks[chunk].observations.get(before),
                None => self.chunks[..chunk].last().and_then(|chunk| chunk.observations.last()),
            };
            let at = self.chunks.get(chunk).and_then(|chunk| chunk.observations.get(place));
            if is_same(before)
                || is_same(at)
                || self.digests.as_mut().is_some_and(|digests| !digests.insert(new.digest))
            {
                return None;
            }
        }
        Some(self.insert_at(chunk, place, new))
    }

    /// The chunk that an observation belongs to, and its place there: beyond the last chunk if there
    /// is no room at its end.
    fn room_of(&self, new: &Observation) -> (usize, usize) {
        let Some(last) = self.chunks.last() else { return (0, 0) };
        let is_before = |other: &Observation| other.key() < new.key();
        if last.observations.last().is_some_and(is_before) {
            return (self.chunks.len() - 1, last.observations.len());
        }
        let mut chunk = self.chunks.partition_point(|chunk| chunk.until < new.time);
        // At one instant the content decides.
        while self.chunks[chunk].observations.last().is_some_and(is_before) {
            chunk += 1;
        }
        (chunk, self.chunks[chunk].observations.partition_point(is_before))
    }

    fn insert_at(&mut self, mut chunk: usize, mut place: usize, new: Observation) -> usize {
        let is_full =
            self.chunks.get(chunk).is_none_or(|chunk| chunk.observations.len() == CHUNK_MAX);
        if is_full && place == CHUNK_MAX || self.chunks.is_empty() {
            // Behind all others: chunks that are filled in order stay full.
            let begin = self.len();
            self.chunks.reserve_exact(usize::from(self.chunks.is_empty()));
            self.chunks.push(Chunk::new(begin, Vec::new()));
            (chunk, place) = (self.chunks.len() - 1, 0);
        } else if is_full {
            let halved = &mut self.chunks[chunk];
            let rest = halved.observations.split_off(CHUNK_MAX / 2);
            let begin = halved.begin + CHUNK_MAX / 2;
            halved.count_again();
            self.chunks.insert(chunk + 1, Chunk::new(begin, rest));
            if place > CHUNK_MAX / 2 {
                (chunk, place) = (chunk + 1, place - CHUNK_MAX / 2);
            }
        }
        self.chunks[chunk].insert(place, new);
        self.chunks[chunk + 1..].iter_mut().for_each(|later| later.begin += 1);
        self.chunks[chunk].begin + place
    }

    /// Whether that observation is among them.
    pub(super) fn has(&self, one: &Observation) -> bool {
        let (chunk, place) = self.room_of(one);
        let found = self.chunks.get(chunk).and_then(|chunk| chunk.observations.get(place));
        found.is_some_and(|found| found.key() == one.key())
    }

    /// Marks observations as counted in the episode of a day.
    pub(super) fn count(&mut self, slot: i64, members: &[usize]) {
        for member in members {
            let chunk = self.chunk_of(*member);
            let chunk = &mut self.chunks[chunk];
            let observation = &mut chunk.observations[member - chunk.begin];
            observation.counted |= bit(observation, slot);
        }
    }

    /// Counts what another window of the same group has counted.
    pub(super) fn copy_counts(&mut self, other: &Window) {
        for counted in other.iter(0..other.len()).filter(|other| other.counted != 0) {
            let (chunk, place) = self.room_of(counted);
            let own = self.chunks.get_mut(chunk).and_then(|c| c.observations.get_mut(place));
            if let Some(own) = own.filter(|own| own.key() == counted.key()) {
                own.counted |= counted.counted;
            }
        }
    }

    /// Forgets what is older than that time. Returns how many observations that were.
    pub(super) fn forget_before(&mut self, time: i64) -> usize {
        let forgotten = self.from(time);
        if forgotten == 0 {
            return 0;
        }
        let gone = self.chunks.partition_point(|chunk| chunk.until < time);
        let mut digests = self.digests.take();
        let mut forget = |observation: Observation| {
            if let Some(digests) = &mut digests {
                digests.remove(&observation.digest);
            }
        };
        self.chunks.drain(..gone).flat_map(|chunk| chunk.observations).for_each(&mut forget);
        if let Some(first) = self.chunks.first_mut() {
            let count = first.observations.partition_point(|other| other.time < time);
            first.observations.drain(..count).for_each(&mut forget);
            first.count_again();
        }
        self.digests = digests;
        let mut begin = 0;
        for chunk in &mut self.chunks {
            chunk.begin = begin;
            begin += chunk.observations.len();
        }
        forgotten
    }
}

impl Chunk {
    fn new(begin: usize, observations: Vec<Observation>) -> Self {
        let mut chunk = Chunk { begin, until: i64::MIN, tally: 0, observations };
        chunk.count_again();
        chunk
    }

    fn insert(&mut self, place: usize, new: Observation) {
        let detail = |other: &Observation| other.detail;
        let before = place.checked_sub(1).and_then(|place| self.observations.get(place));
        let before = before.map(detail);
        self.tally += usize::from(new.detail.counts_after(before));
        if let Some(next) = self.observations.get(place).map(detail) {
            self.tally += usize::from(next.counts_after(Some(new.detail)));
            self.tally -= usize::from(next.counts_after(before));
        } else {
            self.until = new.time;
        }
        self.observations.insert(place, new);
    }

    /// Those that count, if that observation is before the first one.
    fn tally_after(&self, before: Option<Detail>) -> usize {
        let first = self.observations.first().map(|first| first.detail);
        self.tally + before.map_or(0, |before| seam(before, first))
    }

    fn count_again(&mut self) {
        let mut before = None;
        self.tally = 0;
        for observation in &self.observations {
            self.tally += usize::from(observation.detail.counts_after(before));
            before = Some(observation.detail);
        }
        self.until = self.observations.last().map_or(i64::MIN, |last| last.time);
    }
}

/// How many more count if `before` is looked at as before `after`: one or none.
fn seam(before: Detail, after: Option<Detail>) -> usize {
    let counts = |after: Detail, before| usize::from(after.counts_after(before));
    after.map_or(0, |after| counts(after, Some(before)) - counts(after, None))
}
