//! Several blocks of one codec as one: fewer and longer rows, of which a read opens only what it needs.
//!
//! A value that is longer than a page of SQLite takes whole pages, so that short blocks waste more of them.

use anyhow::Context as _;
use integer_encoding::VarInt as _;

use super::codec::{Codec, Item, Wanted};

pub(super) struct Several {
    pub(super) codec: Box<dyn Codec>,
    /// Events of a block within.
    pub(super) block: usize,
}

/// A block within: its last id, and its bytes.
type Part<'p> = (i64, &'p [u8]);

impl Codec for Several {
    /// The number of parts, the last id and the length of each, then the parts.
    fn seal(&mut self, items: &[Item]) -> anyhow::Result<Vec<u8>> {
        let (mut head, mut parts) = (items.len().div_ceil(self.block).encode_var_vec(), Vec::new());
        for some in items.chunks(self.block) {
            let part = self.codec.seal(some)?;
            let last = some.last().map_or(0, |item| item.record.id);
            head.extend(last.cast_unsigned().encode_var_vec());
            head.extend(part.len().encode_var_vec());
            parts.extend(part);
        }
        head.extend(parts);
        Ok(head)
    }

    fn open(&mut self, bytes: &[u8], wanted: Wanted<'_>) -> anyhow::Result<Vec<Item>> {
        let mut items = Vec::new();
        let parts = parts(bytes)?;
        let Wanted::Ids(ids) = wanted else {
            for (_, part) in parts {
                items.extend(self.codec.open(part, wanted)?);
            }
            return Ok(items);
        };
        // Ids of one part that follow each other are read together.
        let part_of = |id: &i64| parts.partition_point(|(last, _)| last < id);
        for ids in ids.chunk_by(|one, other| part_of(one) == part_of(other)) {
            if let Some((_, part)) = ids.first().and_then(|id| parts.get(part_of(id))) {
                items.extend(self.codec.open(part, Wanted::Ids(ids))?);
            }
        }
        Ok(items)
    }
}

fn parts(mut bytes: &[u8]) -> anyhow::Result<Vec<Part<'_>>> {
    let mut number = || {
        let (number, length) = u64::decode_var(bytes).context("a number is cut off")?;
        bytes = &bytes[length..];
        anyhow::Ok(number)
    };
    let count = number()?;
    let mut heads = Vec::new();
    for _ in 0..count {
        heads.push((number()?.cast_signed(), usize::try_from(number()?)?));
    }
    let part = |(id, length): (i64, usize)| {
        let (part, rest) = bytes.split_at_checked(length).context("a part is cut off")?;
        bytes = rest;
        Ok((id, part))
    };
    heads.into_iter().map(part).collect()
}
