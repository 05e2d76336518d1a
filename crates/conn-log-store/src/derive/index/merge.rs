//! Merges several runs into one: selects the runs, and streams their blocks as one sorted run.

use super::block::{BlockReader, BlockWriter};
use super::runs;
use super::tables::{NewRun, Run};
use super::{LEVEL_MAX, Sizes};
use crate::engine::AnyConnection;
use crate::error::StoreError;

/// Blocks read from a run at a time: 64 KiB.
const BLOCKS_AT_ONCE: i64 = 16;

/// Neighbouring runs that together reach the size of a run of the next level; `None` if there are
/// none. So a row of runs of one level is at most as long as a run of the next level holds.
pub(super) fn due(all: &[Run], sizes: Sizes) -> Option<&[Run]> {
    (0..LEVEL_MAX).find_map(|level| {
        all.chunk_by(|a, b| (a.level <= level) == (b.level <= level))
            .filter(|stretch| stretch.iter().all(|run| run.level <= level))
            .find_map(|stretch| {
                let mut events = 0;
                let count = stretch.iter().position(|run| {
                    events += run.events();
                    events >= sizes.of(level + 1)
                })? + 1;
                (count > 1).then_some(&stretch[..count])
            })
    })
}

/// A merge in progress.
pub(super) struct Merge {
    pub(super) new: NewRun,
    pub(super) inputs: Vec<i64>,
    cursors: Vec<Cursor>,
    writer: BlockWriter,
}

impl Merge {
    /// `runs` must be neighbours. `None` if there are none.
    pub(super) fn new(runs: &[Run]) -> Option<Self> {
        let (first, last) = (runs.first()?, runs.last()?);
        let new = NewRun {
            tenant_id: first.tenant_id,
            level: runs.iter().map(|run| run.level).max()? + 1,
            first_id: first.first_id,
            last_id: last.last_id,
            created_at_min: runs.iter().map(|run| run.created_at_min).min()?,
            created_at_max: runs.iter().map(|run| run.created_at_max).max()?,
            timestamp_min: runs.iter().map(|run| run.timestamp_min).min()?,
            timestamp_max: runs.iter().map(|run| run.timestamp_max).max()?,
        };
        Some(Merge {
            new,
            inputs: runs.iter().map(|run| run.number).collect(),
            cursors: runs.iter().map(Cursor::new).collect(),
            writer: BlockWriter::new(first.first_id),
        })
    }

    /// Merges until `count` blocks are full. Returns fewer at the end of the merge.
    pub(super) fn step(
        &mut self,
        connection: &mut AnyConnection,
        count: usize,
    ) -> Result<Vec<super::block::Block>, StoreError> {
        for cursor in &mut self.cursors {
            cursor.fill(connection)?;
        }
        while self.writer.full() < count {
            // The first run of those with the lowest key: its ids are lower than the others'.
            let next = self
                .cursors
                .iter_mut()
                .filter(|cursor| !cursor.is_done)
                .min_by(|a, b| a.key.cmp(&b.key));
            let Some(cursor) = next else {
                let base = self.new.first_id;
                let writer = std::mem::replace(&mut self.writer, BlockWriter::new(base));
                return Ok(writer.finish());
            };
            for id in cursor.ids.drain(..) {
                self.writer.push(&cursor.key, id);
            }
            cursor.fill(connection)?;
        }
        Ok(self.writer.take_full())
    }
}

/// Reads a run's entries one after the other.
struct Cursor {
    run: Run,
    /// Blocks that are read but not decoded yet, the next one last.
    blocks: Vec<Vec<u8>>,
    last_block: Vec<u8>,
    /// Entries of a block that are not returned yet, the next one last.
    entries: Vec<(Vec<u8>, Vec<i64>)>,
    key: Vec<u8>,
    ids: Vec<i64>,
    is_done: bool,
}

impl Cursor {
    fn new(run: &Run) -> Self {
        Cursor {
            run: *run,
            blocks: Vec::new(),
            last_block: Vec::new(),
            entries: Vec::new(),
            key: Vec::new(),
            ids: Vec::new(),
            is_done: false,
        }
    }

    /// Sets `key` and `ids` to those of the next entry.
    fn fill(&mut self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        while self.ids.is_empty() && !self.is_done {
            if let Some((key, ids)) = self.entries.pop() {
                (self.key, self.ids) = (key, ids);
            } else if let Some(block) = self.blocks.pop() {
                self.open(&block)?;
            } else {
                self.read(connection)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, block: &[u8]) -> Result<(), StoreError> {
        let mut reader = BlockReader::new(block, self.run.first_id);
        while let Some(entry) = reader.next()? {
            let mut ids = Vec::new();
            entry.for_each(|id| ids.push(id))?;
            self.entries.push((reader.key().to_vec(), ids));
        }
        self.entries.reverse();
        Ok(())
    }

    fn read(&mut self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let end = [0xff; 2];
        let blocks =
            runs::blocks_between(connection, &self.run, &self.last_block, &end, BLOCKS_AT_ONCE)?;
        match blocks.last() {
            Some((first_key, _)) => self.last_block.clone_from(first_key),
            None => self.is_done = true,
        }
        self.blocks = blocks.into_iter().rev().map(|(_, bytes)| bytes).collect();
        Ok(())
    }
}
