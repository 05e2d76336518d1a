//! One candidate over all events: sealed into a table, read, verified, exported, and partly removed.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use super::block;
use super::candidates::Candidate;
use super::codec::{Codec, Item, Wanted};
use super::outcome::{Outcome, Times};
use super::source::Source;
use super::table::{BLOCKS_AT_ONCE, BlockRow, Table};
use crate::events::Random;

/// Events that a dictionary is trained on: the first of the log.
const SAMPLE_EVENTS: usize = 16_384;

/// Each so many blocks are also sealed without nonces, to tell their size.
const PLAIN_EVERY: usize = 8;

/// Events of a page.
pub(super) const PAGE: usize = 100;

/// Repeats of a read of a file in memory, and of one that is read from the disk each time.
const SINGLES: usize = 2_000;
const PAGES: usize = 400;
const COLD: usize = 30;

/// The longest time for the repeats of one read.
const READ_TIME_MAX: Duration = Duration::from_secs(3);

pub(super) struct Trial<'t> {
    pub(super) candidate: Candidate,
    pub(super) source: &'t Source,
    pub(super) folder: &'t Path,
    pub(super) device: &'t str,
}

/// A filled table, and what reads it.
pub(super) struct Filled {
    table: Table,
    codec: Box<dyn Codec>,
    events: i64,
    of_device: Vec<i64>,
}

impl Trial<'_> {
    pub(super) fn run(&self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome { name: self.candidate.name(), ..Outcome::default() };
        let mut filled = self.fill(&mut outcome)?;
        filled.time_reads(&mut outcome)?;
        filled.time_scans(&mut outcome)?;
        filled.time_removals(&mut outcome)?;
        Ok(outcome)
    }

    pub(super) fn fill(&self, outcome: &mut Outcome) -> anyhow::Result<Filled> {
        let mut items = self.source.items(true);
        let samples: Vec<Item> = items.by_ref().take(SAMPLE_EVENTS).collect::<Result<_, _>>()?;
        let mut codec = self.candidate.codec(&samples)?;
        let mut plain_codec = self.candidate.codec(&without_nonces(&samples))?;
        let mut table = Table::create(&self.folder.join("blocks.sqlite"))?;
        let written = written_bytes()?;
        let mut items = samples.into_iter().map(Ok).chain(items);
        let (mut rows, mut of_device, mut blocks, mut plain) = (Vec::new(), Vec::new(), 0, (0, 0));
        loop {
            let some: Vec<Item> =
                items.by_ref().take(self.candidate.row).collect::<anyhow::Result<_>>()?;
            if some.is_empty() || rows.len() == BLOCKS_AT_ONCE {
                outcome.storing += timed(|| table.insert(&rows))?;
                rows.clear();
            }
            if some.is_empty() {
                break;
            }
            let is_of_device = |item: &&Item| item.record.event.fields().device_id == self.device;
            of_device.extend(some.iter().filter(is_of_device).map(|item| item.record.id));
            let begun = Instant::now();
            let body = codec.seal(&some)?;
            outcome.sealing += begun.elapsed();
            // The leaf hashes are in the rows that a seal takes.
            let leaves: Vec<[u8; 32]> = some.iter().map(Item::leaf_hash).collect();
            let begun = Instant::now();
            let row = block::row(&some, &leaves, body);
            let same = block::is_whole(&row, &block::open(&mut *codec, &row)?);
            outcome.checking += begun.elapsed();
            anyhow::ensure!(same, "block {blocks} does not give back its events");
            if blocks % PLAIN_EVERY == 0 {
                plain.0 += plain_codec.seal(&without_nonces(&some))?.len();
                plain.1 += some.len();
            }
            outcome.events += some.len();
            outcome.body_bytes += row.body.len();
            rows.push(row);
            blocks += 1;
        }
        outcome.storing += timed(|| table.checkpoint())?;
        outcome.written_bytes = written_bytes()? - written;
        outcome.disk_bytes = table.bytes()?;
        outcome.plain_bytes = plain;
        outcome.blocks = blocks;
        Ok(Filled { table, codec, events: i64::try_from(outcome.events)?, of_device })
    }
}

fn without_nonces(items: &[Item]) -> Vec<Item> {
    items.iter().map(|item| Item { nonce: None, ..item.clone() }).collect()
}

impl Filled {
    fn time_reads(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        let mut random = Random::new(7);
        let events = self.events;
        let mut id = || 1 + i64::try_from(random.below(events.unsigned_abs())).unwrap_or(0);
        for (cold, times) in [(false, SINGLES), (true, COLD)] {
            let single = self.time(cold, times, |filled| filled.read_one(id()))?;
            let page = self.time(cold, times.min(PAGES), |filled| filled.read_neighbours(id()))?;
            let scattered = self.time(cold, times.min(PAGES), |filled| {
                (0..PAGE).try_for_each(|_| filled.read_one(id()))
            })?;
            outcome.reads.push([single, page, scattered]);
        }
        Ok(())
    }

    /// Repeats a read; if `cold`, of a file that is not in memory.
    fn time(
        &mut self,
        cold: bool,
        repeats: usize,
        mut read: impl FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Times> {
        let (mut times, begun) = (Times::default(), Instant::now());
        for _ in 0..repeats {
            if cold {
                self.table.cool()?;
            }
            times.add(timed(|| read(self))?);
            if begun.elapsed() > READ_TIME_MAX {
                break;
            }
        }
        Ok(times)
    }

    fn read_one(&mut self, id: i64) -> anyhow::Result<()> {
        let row = self.table.find(id)?.ok_or_else(|| anyhow::anyhow!("no block has {id}"))?;
        let items = self.codec.open(&row.body, Wanted::Ids(&[id]))?;
        anyhow::ensure!(items.len() == 1, "no event {id}");
        black_box(items[0].record.to_json());
        Ok(())
    }

    fn read_neighbours(&mut self, first: i64) -> anyhow::Result<()> {
        let last = self.events.min(first + i64::try_from(PAGE)? - 1);
        let ids: Vec<i64> = (first..=last).collect();
        let mut read = 0;
        for row in self.table.within(first, last)? {
            for item in self.codec.open(&row.body, Wanted::Ids(&ids))? {
                black_box(item.record.to_json());
                read += 1;
            }
        }
        anyhow::ensure!(read == ids.len(), "{read} events of {}", ids.len());
        Ok(())
    }

    /// Goes through all blocks, some dozens at a time.
    fn each_block(
        &mut self,
        mut take: impl FnMut(&BlockRow, &[Item]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut next = 1;
        while next <= self.events {
            let rows = self.table.within(next, next + 4_096)?;
            for row in rows.iter().filter(|row| row.last_id >= next) {
                take(row, &block::open(&mut *self.codec, row)?)?;
            }
            next = rows.last().map_or(i64::MAX, |row| row.last_id + 1);
        }
        Ok(begun.elapsed())
    }

    fn time_scans(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        outcome.opening = self.each_block(|_, items| {
            black_box(items);
            Ok(())
        })?;
        outcome.exporting = self.each_block(|_, items| {
            items.iter().for_each(|item| _ = black_box(item.record.to_json()));
            Ok(())
        })?;
        outcome.verifying = self.each_block(|row, items| {
            anyhow::ensure!(block::is_whole(row, items), "block {} is not whole", row.first_id);
            Ok(())
        })?;
        Ok(())
    }

    fn time_removals(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        let of_device = std::mem::take(&mut self.of_device);
        outcome.of_device = of_device.len();
        let begun = Instant::now();
        outcome.of_device_blocks = self.remove(&of_device)?;
        outcome.removing_device = begun.elapsed();

        // The events of a day, if the log is of 30.
        let first = self.events * 2 / 5 + 1;
        let day: Vec<i64> = (first..first + self.events / 30).collect();
        let begun = Instant::now();
        self.remove(&day)?;
        outcome.removing_day = begun.elapsed();
        outcome.verifying_removed = self.each_block(|row, items| {
            anyhow::ensure!(block::is_whole(row, items), "block {} is not whole", row.first_id);
            Ok(())
        })?;

        let begun = Instant::now();
        outcome.dropped_blocks = self.table.drop_up_to(self.events / 3)?;
        outcome.dropping = begun.elapsed();
        Ok(())
    }

    /// Removes the bodies of events, whose ids ascend. Gives the number of blocks that were written anew.
    fn remove(&mut self, ids: &[i64]) -> anyhow::Result<usize> {
        let (mut rows, mut changed, mut left) = (Vec::new(), 0, ids);
        while let Some(first) = left.first() {
            let row = self.table.find(*first)?.ok_or_else(|| anyhow::anyhow!("no block"))?;
            let of_it = left.partition_point(|id| *id <= row.last_id);
            let (these, rest) = left.split_at(of_it);
            rows.push(block::without(&mut *self.codec, &row, these)?);
            if rows.len() == BLOCKS_AT_ONCE || rest.is_empty() {
                self.table.replace(&rows)?;
                changed += rows.len();
                rows.clear();
            }
            left = rest;
        }
        Ok(changed)
    }
}

/// The time of some work.
pub(super) fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// Bytes that this process has sent to the disk, as Linux counts them.
pub(super) fn written_bytes() -> anyhow::Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.unwrap_or("0").parse()?)
}
