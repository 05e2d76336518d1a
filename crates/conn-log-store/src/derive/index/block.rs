//! The bytes of a block: sorted entries, each a key and the ids of the events that have it.
//!
//! A key is written without the prefix that it shares with the key before; ids are written as
//! differences. So the five keys of an event take about twenty bytes together. Nothing here knows a
//! table.
//!
//! An entry: length shared with the key before, length of the rest, the rest, count of ids, bytes
//! of the differences if there is more than one id, the first id less the first id of the entry
//! before (of the run, in the first entry) in zigzag, the differences. All numbers are LEB128.

use crate::derive::varint;
use crate::error::StoreError;

/// Target size of a block in bytes: with its row's own data it fills a SQLite page of 4,096 bytes.
const BLOCK_BYTES: usize = 3_900;

/// Limit of ids of an entry. A longer list continues in the next entry with the same key, so that
/// entries fill blocks well.
const ENTRY_IDS_MAX: usize = 500;

/// A block that is ready to be written.
#[derive(Debug)]
pub(super) struct Block {
    /// The key of its first entry and that entry's first id: unique in its run, in the run's order.
    pub(super) first_key: Vec<u8>,
    pub(super) entries: Vec<u8>,
}

/// A key's position in the order of blocks.
pub(super) fn block_key(key: &[u8], id: i64) -> Vec<u8> {
    let mut position = key.to_vec();
    position.extend(id.to_be_bytes());
    position
}

/// Makes blocks from sorted postings.
#[derive(Debug)]
pub(super) struct BlockWriter {
    base: i64,
    full: Vec<Block>,
    current: Option<Block>,
    last_key: Vec<u8>,
    last_first: i64,
    /// The key of the entry that may still grow.
    key: Vec<u8>,
    ids: Vec<i64>,
}

impl BlockWriter {
    /// A builder for a run whose first id is `base`.
    pub(super) fn new(base: i64) -> Self {
        BlockWriter {
            base,
            full: Vec::new(),
            current: None,
            last_key: Vec::new(),
            last_first: base,
            key: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Adds a posting. Keys must ascend, and ids within a key too.
    pub(super) fn push(&mut self, key: &[u8], id: i64) {
        if self.key != key || self.ids.len() >= ENTRY_IDS_MAX {
            self.end_entry();
            key.clone_into(&mut self.key);
        }
        self.ids.push(id);
    }

    /// Takes the blocks that are full.
    pub(super) fn take_full(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.full)
    }

    pub(super) fn full(&self) -> usize {
        self.full.len()
    }

    /// Returns the remaining blocks.
    pub(super) fn finish(mut self) -> Vec<Block> {
        self.end_entry();
        self.full.extend(self.current.take());
        self.full
    }

    fn end_entry(&mut self) {
        let Some(&first) = self.ids.first() else {
            return;
        };
        let mut differences = Vec::with_capacity(self.ids.len() * 2);
        for pair in self.ids.windows(2) {
            varint::write(&mut differences, (pair[1] - pair[0]).cast_unsigned());
        }
        let size = self.key.len() + differences.len() + 12;
        if self.current.as_ref().is_some_and(|block| block.entries.len() + size > BLOCK_BYTES) {
            self.full.extend(self.current.take());
        }
        let block = self.current.get_or_insert_with(|| {
            self.last_key.clear();
            self.last_first = self.base;
            Block {
                first_key: block_key(&self.key, first),
                entries: Vec::with_capacity(BLOCK_BYTES),
            }
        });
        let shared = self.key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count();
        let out = &mut block.entries;
        varint::write(out, shared as u64);
        varint::write(out, (self.key.len() - shared) as u64);
        out.extend(&self.key[shared..]);
        varint::write(out, self.ids.len() as u64);
        if self.ids.len() > 1 {
            varint::write(out, differences.len() as u64);
        }
        varint::write_signed(out, first - self.last_first);
        out.append(&mut differences);
        self.last_first = first;
        self.last_key.clone_from(&self.key);
        self.ids.clear();
    }
}

/// Reads a block from its start.
#[derive(Debug)]
pub(super) struct BlockReader<'a> {
    bytes: &'a [u8],
    last_first: i64,
    key: Vec<u8>,
}

/// The ids of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids<'a> {
    first: i64,
    differences: &'a [u8],
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(entries: &'a [u8], base: i64) -> Self {
        BlockReader { bytes: entries, last_first: base, key: Vec::new() }
    }

    /// Reads the next entry and returns its ids; its key is then in [`BlockReader::key`].
    pub(super) fn next(&mut self) -> Result<Option<Ids<'a>>, StoreError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        self.read().ok_or_else(damaged).map(Some)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    fn read(&mut self) -> Option<Ids<'a>> {
        let shared = self.length()?;
        let rest = self.length()?;
        self.key.truncate(shared);
        let rest = self.cut(rest)?;
        self.key.extend(rest);
        let differences = if self.length()? > 1 { self.length()? } else { 0 };
        self.last_first = self.last_first.wrapping_add(varint::read_signed(&mut self.bytes)?);
        Some(Ids { first: self.last_first, differences: self.cut(differences)? })
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(varint::read(&mut self.bytes)?).ok()
    }

    fn cut(&mut self, length: usize) -> Option<&'a [u8]> {
        let (cut, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(cut)
    }
}

impl Ids<'_> {
    pub(super) fn for_each(self, mut visit: impl FnMut(i64)) -> Result<(), StoreError> {
        let mut id = self.first;
        visit(id);
        let mut bytes = self.differences;
        while !bytes.is_empty() {
            let difference = varint::read(&mut bytes).ok_or_else(damaged)?;
            id = id.wrapping_add(difference.cast_signed());
            visit(id);
        }
        Ok(())
    }
}

fn damaged() -> StoreError {
    StoreError::internal("a block of the index is damaged; `conn-log rebuild index` makes it anew")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn written_values_are_read_back(
            base in 1_i64..1_000_000,
            postings in proptest::collection::btree_set(("[ab]{0,5}", 0_i64..100_000), 0..3_000),
        ) {
            let mut writer = BlockWriter::new(base);
            for (key, id) in &postings {
                writer.push(key.as_bytes(), base + id);
            }
            let blocks = writer.finish();
            prop_assert!(blocks.is_sorted_by(|a, b| a.first_key < b.first_key));
            let mut read = std::collections::BTreeSet::new();
            for block in &blocks {
                let mut reader = BlockReader::new(&block.entries, base);
                while let Some(ids) = reader.next().unwrap() {
                    let key = String::from_utf8(reader.key().to_vec()).unwrap();
                    ids.for_each(|id| { read.insert((key.clone(), id - base)); }).unwrap();
                }
            }
            prop_assert_eq!(read, postings);
        }

        #[test]
        fn damaged_bytes_are_an_error_at_worst(bytes: Vec<u8>) {
            let mut reader = BlockReader::new(&bytes, 1);
            while let Ok(Some(ids)) = reader.next() {
                ids.for_each(|_| ()).ok();
            }
        }
    }
}
