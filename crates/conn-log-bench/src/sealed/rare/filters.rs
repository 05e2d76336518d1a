//! Filters of terms, those of 16 blocks in one row.

use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable as _, Filter as _, FilterRef as _, Xor8};

use super::{Item, clocked, terms_of};

diesel::table! {
    filters (first_id) {
        first_id -> BigInt,
        last_id -> BigInt,
        body -> Binary,
    }
}

/// Blocks of a row.
const BLOCKS: usize = 16;

/// The first id of a row, and the first and last ids of what may have a term.
pub(super) type Found = (i64, Vec<(i64, i64)>);

/// What one filter stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    Block,
    /// All blocks of a row.
    Group,
}

pub(super) struct Filters {
    connection: SqliteConnection,
    grain: Grain,
    are_numbers_wanted: bool,
    /// The first and last id of each block, and its terms.
    blocks: Vec<((i64, i64), Vec<u64>)>,
    pub(super) bytes: usize,
    pub(super) making: Duration,
}

impl Filters {
    pub(super) fn create(
        path: &Path,
        grain: Grain,
        are_numbers_wanted: bool,
    ) -> anyhow::Result<Self> {
        let connection = create(
            path,
            "CREATE TABLE filters (first_id INTEGER NOT NULL PRIMARY KEY, last_id INTEGER NOT NULL,
                 body BLOB NOT NULL) STRICT",
        )?;
        let (bytes, making) = (0, Duration::ZERO);
        Ok(Filters { connection, grain, are_numbers_wanted, blocks: Vec::new(), bytes, making })
    }

    pub(super) fn add(&mut self, items: &[Item]) -> anyhow::Result<()> {
        let (mut terms, mut making) = (Vec::new(), self.making);
        clocked(&mut making, || {
            items.iter().try_for_each(|item| terms_of(item, self.are_numbers_wanted, &mut terms))
        })?;
        self.making = making;
        let id = |item: Option<&Item>| item.map_or(0, |item| item.record.id);
        self.blocks.push(((id(items.first()), id(items.last())), terms));
        if self.blocks.len() == BLOCKS { self.finish() } else { Ok(()) }
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        let blocks = std::mem::take(&mut self.blocks);
        let (Some((first, _)), Some((last, _))) = (blocks.first(), blocks.last()) else {
            return Ok(());
        };
        let (first, last) = (first.0, last.1);
        let mut making = self.making;
        let body = clocked(&mut making, || match self.grain {
            Grain::Block => Ok(of_blocks(&blocks)),
            Grain::Group => of_group(blocks),
        })?;
        self.making = making;
        self.bytes += body.len();
        let row = (filters::first_id.eq(first), filters::last_id.eq(last), filters::body.eq(body));
        diesel::insert_into(filters::table).values(row).execute(&mut self.connection)?;
        Ok(())
    }

    /// The newest row before an id: its first id, and the ids of blocks that may have a term.
    pub(super) fn before(&mut self, id: i64, term: u64) -> anyhow::Result<Option<Found>> {
        let older = filters::table.filter(filters::first_id.lt(id));
        let row: Option<(i64, i64, Vec<u8>)> =
            older.order(filters::first_id.desc()).first(&mut self.connection).optional()?;
        let Some((first, last, body)) = row else { return Ok(None) };
        let spans = match self.grain {
            Grain::Group => {
                let (descriptor, prints) = body.split_at(BinaryFuse8::DESCRIPTOR_LEN);
                let has = BinaryFuse8Ref::from_dma(descriptor, prints).contains(&term);
                has.then_some((first, last)).into_iter().collect()
            }
            Grain::Block => spans(&body, term)?,
        };
        Ok(Some((first, spans)))
    }
}

/// For each block its ids, and a filter: its seed, its length, and its fingerprints.
fn of_blocks(blocks: &[((i64, i64), Vec<u64>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for ((first, last), terms) in blocks {
        let mut terms = terms.clone();
        terms.sort_unstable();
        terms.dedup();
        let filter = Xor8::from(terms);
        for number in [first.cast_unsigned(), last.cast_unsigned(), filter.seed] {
            body.extend(number.to_le_bytes());
        }
        body.extend((filter.block_length as u64).to_le_bytes());
        body.extend(&filter.fingerprints);
    }
    body
}

fn of_group(blocks: Vec<((i64, i64), Vec<u64>)>) -> anyhow::Result<Vec<u8>> {
    let mut terms: Vec<u64> = blocks.into_iter().flat_map(|(_, terms)| terms).collect();
    terms.sort_unstable();
    terms.dedup();
    let filter = BinaryFuse8::try_from(terms).map_err(anyhow::Error::msg)?;
    let mut body = vec![0; BinaryFuse8::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut body);
    body.extend(filter.dma_fingerprints());
    Ok(body)
}

fn spans(mut body: &[u8], term: u64) -> anyhow::Result<Vec<(i64, i64)>> {
    let mut spans = Vec::new();
    while !body.is_empty() {
        let mut number = || {
            let (number, rest) =
                body.split_first_chunk().ok_or_else(|| anyhow::anyhow!("cut off"))?;
            body = rest;
            Ok::<u64, anyhow::Error>(u64::from_le_bytes(*number))
        };
        let (first, last, seed) = (number()?, number()?, number()?);
        let block_length = usize::try_from(number()?)?;
        let (prints, rest) =
            body.split_at_checked(3 * block_length).ok_or_else(|| anyhow::anyhow!("cut off"))?;
        body = rest;
        if (Xor8 { seed, block_length, fingerprints: prints.into() }).contains(&term) {
            spans.push((first.cast_signed(), last.cast_signed()));
        }
    }
    Ok(spans)
}

/// An empty database of one table.
pub(super) fn create(path: &Path, table: &str) -> anyhow::Result<SqliteConnection> {
    super::super::table::remove(path)?;
    let name = path.to_str().ok_or_else(|| anyhow::anyhow!("a path that is no text"))?;
    let mut connection = SqliteConnection::establish(name)?;
    connection.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")?;
    connection.batch_execute(table)?;
    Ok(connection)
}
