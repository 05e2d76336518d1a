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
    fn seal(&mut self, items: &[Item]) -> anyhow::Result<Vec<u8>> {
        let part = |some: &[Item]| {
            Ok((some.last().map_or(0, |item| item.record.id), self.codec.seal(some)?))
        };
        let parts: Vec<_> = items.chunks(self.block).map(part).collect::<anyhow::Result<_>>()?;
        Ok(join(&parts))
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

    /// A part that has none of these ids stays as it is.
    fn remove(&mut self, bytes: &[u8], ids: &[i64]) -> anyhow::Result<(Vec<Item>, Vec<u8>)> {
        let (mut gone, mut left, mut before) = (Vec::new(), Vec::new(), i64::MIN);
        for (last, part) in parts(bytes)? {
            let these = |id: &i64| *id > before && *id <= last;
            let ids: Vec<i64> = ids.iter().copied().filter(these).collect();
            before = last;
            if ids.is_empty() {
                left.push((last, part.to_owned()));
                continue;
            }
            let (some, part) = self.codec.remove(part, &ids)?;
            gone.extend(some);
            left.extend((!part.is_empty()).then_some((last, part)));
        }
        Ok((gone, if left.is_empty() { Vec::new() } else { join(&left) }))
    }
}

/// The number of parts, the last id and the length of each, then the parts.
fn join(parts: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = parts.len().encode_var_vec();
    for (last, part) in parts {
        bytes.extend(last.cast_unsigned().encode_var_vec());
        bytes.extend(part.len().encode_var_vec());
    }
    parts.iter().for_each(|(_, part)| bytes.extend(part));
    bytes
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
