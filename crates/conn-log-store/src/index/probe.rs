//! Looking into one run: which of its events have a filter's keys, and its events by time.

use conn_log_core::Timestamp;

use super::block::{BlockReader, block_key};
use super::id_set::IdSet;
use super::tables::Run;
use super::terms::{self, Dimension, KeyRange};
use super::{Span, ranges, runs};
use crate::connection::AnyConnection;
use crate::error::StoreError;

/// A place in the order of time.
pub(super) type Place = (Timestamp, i64);

/// For each run the dimensions' numbers, those first that take the least work to look up.
pub(super) fn cheapest_first(
    connection: &mut AnyConnection,
    of: &[Run],
    dimensions: &[Dimension],
) -> Result<Vec<Vec<usize>>, StoreError> {
    let all: Vec<usize> = (0..dimensions.len()).collect();
    if all.len() < 2 {
        return Ok(vec![all; of.len()]);
    }
    let ranges: Vec<KeyRange> =
        dimensions.iter().flat_map(|dimension| dimension.ranges.iter().cloned()).collect();
    let counts = ranges::counts_of(connection, of, &ranges)?;
    let sorted = |counts: Vec<i64>| {
        let mut counts = counts.into_iter();
        let cost = |dimension: &Dimension| {
            counts.by_ref().take(dimension.ranges.len()).map(|blocks| 1 + blocks).sum()
        };
        let costs: Vec<i64> = dimensions.iter().map(cost).collect();
        let mut sorted = all.clone();
        sorted.sort_by_key(|dimension| costs[*dimension]);
        sorted
    };
    Ok(counts.into_iter().map(sorted).collect())
}

/// Each run's events of a dimension.
pub(super) fn find(
    connection: &mut AnyConnection,
    of: &[Run],
    dimension: &Dimension,
) -> Result<Vec<IdSet>, StoreError> {
    let span = |run: &Run| Span { first: run.first_id, last: run.last_id };
    let mut found: Vec<IdSet> = of.iter().map(span).map(IdSet::new).collect();
    ranges::blocks_of(connection, of, &dimension.ranges, |run, range, entries| {
        collect(entries, &of[run], &dimension.ranges[range], &mut found[run])
    })?;
    Ok(found)
}

/// Takes what is in the range out of a block.
fn collect(
    entries: &[u8],
    run: &Run,
    range: &KeyRange,
    found: &mut IdSet,
) -> Result<(), StoreError> {
    let mut reader = BlockReader::new(entries, run.first_id);
    while let Some(ids) = reader.next()? {
        if reader.key() >= range.to.as_slice() {
            break;
        }
        if reader.key() >= range.from.as_slice() {
            ids.for_each(|id| found.insert(id))?;
        }
    }
    Ok(())
}

/// A run's events in order of time, from a place on, block by block.
#[derive(Debug)]
pub(super) struct TimeCursor {
    run: Run,
    is_descending: bool,
    /// Of the next block: before it, or after it.
    next: Option<Vec<u8>>,
    is_begun: bool,
    range: KeyRange,
    /// Not given yet, the next one last.
    places: Vec<Place>,
}

impl TimeCursor {
    /// All of the run that is in that range of keys.
    pub(super) fn new(run: &Run, range: KeyRange, is_descending: bool) -> Self {
        let start = if is_descending { range.to.clone() } else { range.from.clone() };
        TimeCursor {
            run: *run,
            is_descending,
            next: Some(start),
            is_begun: false,
            range,
            places: Vec::new(),
        }
    }

    pub(super) fn next(
        &mut self,
        connection: &mut AnyConnection,
    ) -> Result<Option<Place>, StoreError> {
        while self.places.is_empty() {
            let Some(next) = self.next.take() else {
                return Ok(None);
            };
            self.read(connection, &next)?;
        }
        Ok(self.places.pop())
    }

    fn read(&mut self, connection: &mut AnyConnection, next: &[u8]) -> Result<(), StoreError> {
        let run = &self.run;
        let block = if self.is_descending {
            runs::block_before(connection, run, next)?
        } else if self.is_begun {
            runs::blocks_between(connection, run, next, &self.range.to, 1)?.pop()
        } else {
            runs::blocks_from(connection, run, next, &self.range.to, 1)?.pop()
        };
        self.is_begun = true;
        let Some((first_key, entries)) = block else {
            return Ok(());
        };
        self.open(&entries)?;
        // A block that begins before the range is the last one, read from the end.
        if !self.is_descending || first_key > self.range.from {
            self.next = Some(first_key);
        }
        Ok(())
    }

    fn open(&mut self, entries: &[u8]) -> Result<(), StoreError> {
        let mut reader = BlockReader::new(entries, self.run.first_id);
        while let Some(ids) = reader.next()? {
            let is_within = self.range.from.as_slice() <= reader.key()
                && reader.key() < self.range.to.as_slice();
            if is_within && let Some(time) = terms::time_of(reader.key()) {
                ids.for_each(|id| self.places.push((time, id)))?;
            }
        }
        if !self.is_descending {
            self.places.reverse();
        }
        Ok(())
    }
}

/// The keys of time that lie in the window and not before a place (not after it, descending). What
/// shares the place's instant is among them.
pub(super) fn time_range(window: &KeyRange, from: Option<Place>, is_descending: bool) -> KeyRange {
    let mut range = window.clone();
    if let Some((time, _)) = from {
        let mut key = Vec::new();
        terms::time(&mut key, time);
        if is_descending {
            // Behind every id of that instant.
            key = block_key(&key, i64::MAX);
            range.to = range.to.min(key);
        } else {
            range.from = range.from.max(key);
        }
    }
    range
}
