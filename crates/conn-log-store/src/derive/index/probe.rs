//! Look-ups in one run: the events with a filter's keys, and the events in order of time.

use super::block::{BlockReader, block_key};
use super::id_set::IdSet;
use super::tables::Run;
use super::terms::{self, Dimension, KeyRange};
use super::{ranges, runs};
use crate::derive::facts::TimePosition;
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::scan::Deadline;
use crate::log::span::Span;

/// Blocks of a cursor read at a time: 128 KiB.
const BLOCKS_AT_ONCE: i64 = 32;

/// A dimension of a filter, by its number, and the number of blocks of a run to read for it; if
/// there is only one dimension, the blocks are not counted and the number is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) dimension: usize,
    pub(super) blocks: i64,
}

/// The dimensions for each run, the one with the least work first.
pub(super) fn cheapest_first(
    connection: &mut AnyConnection,
    of: &[Run],
    dimensions: &[Dimension],
    deadline: Deadline,
) -> Result<Vec<Vec<Choice>>, StoreError> {
    if dimensions.len() < 2 {
        let only = dimensions.iter().map(|_| Choice { dimension: 0, blocks: 0 });
        return Ok(vec![only.collect(); of.len()]);
    }
    let ranges: Vec<KeyRange> =
        dimensions.iter().flat_map(|dimension| dimension.ranges.iter().cloned()).collect();
    let counts = ranges::counts_of(connection, of, &ranges, deadline)?;
    let sorted = |counts: Vec<i64>| {
        let mut counts = counts.into_iter();
        let choice = |(number, dimension): (usize, &Dimension)| {
            let counts = counts.by_ref().take(dimension.ranges.len());
            // The entries are in one block more than begin in the range.
            Choice { dimension: number, blocks: counts.map(|blocks| 1 + blocks).sum() }
        };
        let mut sorted: Vec<Choice> = dimensions.iter().enumerate().map(choice).collect();
        sorted.sort_by_key(|choice| choice.blocks);
        sorted
    };
    Ok(counts.into_iter().map(sorted).collect())
}

/// Finds the events of a dimension in each run.
pub(super) fn find(
    connection: &mut AnyConnection,
    of: &[Run],
    dimension: &Dimension,
    deadline: Deadline,
) -> Result<Vec<IdSet>, StoreError> {
    let span = |run: &Run| Span { first: run.first_id, last: run.last_id };
    let mut found: Vec<IdSet> = of.iter().map(span).map(IdSet::new).collect();
    ranges::blocks_of(connection, of, &dimension.ranges, deadline, |run, range, entries| {
        collect(entries, &of[run], &dimension.ranges[range], &mut found[run])
    })?;
    Ok(found)
}

/// Collects the ids of a block that are in the range.
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

/// Reads a run's events in order of time, from a position on, block by block.
#[derive(Debug)]
pub(super) struct TimeCursor {
    run: Run,
    is_descending: bool,
    range: KeyRange,
    /// The first key of the last block that was read; `None` before the first read.
    last: Option<Vec<u8>>,
    /// Blocks that are read but not decoded yet, the next one last.
    blocks: Vec<Vec<u8>>,
    /// The number of blocks to read next, which grows with each read. Zero once all are read.
    at_once: i64,
    /// Positions that are not returned yet, the next one last.
    positions: Vec<TimePosition>,
}

impl TimeCursor {
    /// A cursor over all of the run's entries in that range of keys.
    pub(super) fn new(run: &Run, range: KeyRange, is_descending: bool) -> Self {
        TimeCursor {
            run: *run,
            is_descending,
            range,
            last: None,
            blocks: Vec::new(),
            at_once: 1,
            positions: Vec::new(),
        }
    }

    pub(super) fn next(
        &mut self,
        connection: &mut AnyConnection,
        deadline: Deadline,
    ) -> Result<Option<TimePosition>, StoreError> {
        while self.positions.is_empty() {
            if let Some(block) = self.blocks.pop() {
                self.open(&block)?;
            } else if self.at_once > 0 {
                deadline.check()?;
                self.read(connection)?;
            } else {
                return Ok(None);
            }
        }
        Ok(self.positions.pop())
    }

    fn read(&mut self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let (run, limit) = (&self.run, self.at_once);
        let KeyRange { from, to } = &self.range;
        let mut blocks = match &self.last {
            last if self.is_descending => {
                runs::blocks_before(connection, run, last.as_ref().unwrap_or(to), limit)?
            }
            None => runs::blocks_from(connection, run, from, to, limit)?,
            Some(last) => runs::blocks_between(connection, run, last, to, limit)?,
        };
        let mut is_end = i64::try_from(blocks.len()).is_ok_and(|count| count < limit);
        if self.is_descending {
            // A block that begins before the range is the last one of a read from the end.
            let within = blocks.iter().take_while(|(first_key, _)| first_key > from).count();
            is_end |= within < blocks.len();
            blocks.truncate(within + 1);
        }
        self.at_once = if is_end { 0 } else { (limit * 2).min(BLOCKS_AT_ONCE) };
        self.last = blocks.last().map(|(first_key, _)| first_key.clone());
        self.blocks = blocks.into_iter().rev().map(|(_, entries)| entries).collect();
        Ok(())
    }

    fn open(&mut self, entries: &[u8]) -> Result<(), StoreError> {
        let mut reader = BlockReader::new(entries, self.run.first_id);
        while let Some(ids) = reader.next()? {
            let is_within = self.range.from.as_slice() <= reader.key()
                && reader.key() < self.range.to.as_slice();
            if is_within && let Some(time) = terms::time_of(reader.key()) {
                ids.for_each(|id| self.positions.push((time, id)))?;
            }
        }
        if !self.is_descending {
            self.positions.reverse();
        }
        Ok(())
    }
}

/// The keys of time in the window and not before a position (not after it, in descending order).
/// Keys with the position's instant are included.
pub(super) fn time_range(
    window: &KeyRange,
    from: Option<TimePosition>,
    is_descending: bool,
) -> KeyRange {
    let mut range = window.clone();
    if let Some((time, _)) = from {
        let mut key = Vec::new();
        terms::time(&mut key, time);
        if is_descending {
            // After every id of that instant.
            key = block_key(&key, i64::MAX);
            range.to = range.to.min(key);
        } else {
            range.from = range.from.max(key);
        }
    }
    range
}
