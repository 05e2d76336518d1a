//! A spike of sealed blocks: the canonical JSON of old events in blocks compressed by zstd. Times
//! the codec alone, in memory: a database adds the look-up of a block.
//!
//! Each event gets a member of 16 random bytes, as the nonce of its leaf will be. The dictionary is
//! made of the first events' lines.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conn_log_core::{EventDraft, EventPolicy, Record, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::events::{Random, Shape};
use crate::percentile;

#[derive(clap::Args)]
pub(crate) struct Sealed {
    #[command(flatten)]
    shape: Shape,
    /// Events in a block
    #[arg(long, default_value_t = 256)]
    block: usize,
    /// Level of zstd
    #[arg(long, default_value_t = 3)]
    level: i32,
    /// Bytes of the dictionary; 0 for none
    #[arg(long, default_value_t = 65_536)]
    dictionary: usize,
    /// Leave out the nonces
    #[arg(long)]
    plain: bool,
}

/// Reads of each kind.
const TIMES: usize = 2_000;

/// Events of a list.
const PAGE: usize = 100;

struct Codec {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

/// A compressed block and the length of its lines.
struct Block {
    bytes: Vec<u8>,
    lines_bytes: usize,
}

impl Codec {
    fn seal(&mut self, lines: &[&[u8]]) -> anyhow::Result<Block> {
        let lines = lines.concat();
        Ok(Block { bytes: self.compressor.compress(&lines)?, lines_bytes: lines.len() })
    }

    fn open(&mut self, block: &Block) -> anyhow::Result<Vec<u8>> {
        Ok(self.decompressor.decompress(&block.bytes, block.lines_bytes)?)
    }
}

impl Sealed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let lines = self.lines()?;
        let mut dictionary = lines.concat();
        dictionary.truncate(self.dictionary);
        let mut codec = Codec {
            compressor: zstd::bulk::Compressor::with_dictionary(self.level, &dictionary)?,
            decompressor: zstd::bulk::Decompressor::with_dictionary(&dictionary)?,
        };
        let begun = Instant::now();
        let mut blocks = Vec::new();
        for some in lines.chunks(self.block) {
            let some: Vec<&[u8]> = some.iter().map(Vec::as_slice).collect();
            blocks.push(codec.seal(&some)?);
        }
        let seal = begun.elapsed();
        let bytes: usize = blocks.iter().map(|block| block.bytes.len()).sum();
        let ndjson: usize = lines.iter().map(Vec::len).sum();
        println!(
            "bytes_per_event={:.1} ndjson_bytes_per_event={:.1} seal_us_per_event={:.2}",
            share(bytes, lines.len()),
            share(ndjson, lines.len()),
            micros_each(seal, lines.len()),
        );
        self.time_reads(&mut codec, &blocks, lines.len())?;
        Self::time_scans(&mut codec, &blocks, &lines)
    }

    fn lines(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let (policy, now) = (EventPolicy::default(), Timestamp::from(chrono::Utc::now()));
        let mut random = Random::new(3);
        let line = |(id, json): (i64, String)| {
            let event = policy.check(EventDraft::from_json(&json)?, now)?;
            let mut line = Record { id, created_at: now, event }.to_canonical_json();
            if !self.plain {
                line.pop();
                let mut half = || random.below(u64::MAX);
                // Writing to a String cannot fail.
                let _ = write!(line, r#","nonce":"{:016x}{:016x}"}}"#, half(), half());
            }
            line.push('\n');
            Ok(line.into_bytes())
        };
        (1..).zip(self.shape.events()).map(line).collect()
    }

    fn time_reads(&self, codec: &mut Codec, blocks: &[Block], count: usize) -> anyhow::Result<()> {
        let mut random = Random::new(7);
        let mut pick = || usize::try_from(random.below(count as u64)).unwrap_or(0);
        let (mut single, mut page, mut scattered) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let at = pick();
            single.push(timed(|| {
                let lines = codec.open(&blocks[at / self.block])?;
                lines.split(|byte| *byte == b'\n').nth(at % self.block).context("a line")?;
                Ok(())
            })?);
            page.push(timed(|| {
                let last = (at + PAGE - 1).min(count - 1);
                let mut lines = Vec::new();
                for block in &blocks[at / self.block..=last / self.block] {
                    lines.extend(codec.open(block)?);
                }
                black_box(
                    lines.split(|byte| *byte == b'\n').skip(at % self.block).take(PAGE).count(),
                );
                Ok(())
            })?);
        }
        // Events of a rare device: each is in another block.
        for _ in 0..TIMES / PAGE {
            scattered.push(timed(|| {
                for _ in 0..PAGE {
                    black_box(codec.open(&blocks[pick() / self.block])?);
                }
                Ok(())
            })?);
        }
        for (name, mut times) in [("one", single), ("page", page), ("scattered", scattered)] {
            times.sort_unstable();
            let [p50, p99] = [50, 99].map(|percent| percentile(&times, percent));
            print!("{name}_p50_us={p50} {name}_p99_us={p99} ");
        }
        println!();
        Ok(())
    }

    fn time_scans(codec: &mut Codec, blocks: &[Block], lines: &[Vec<u8>]) -> anyhow::Result<()> {
        let begun = Instant::now();
        for block in blocks {
            black_box(codec.open(block)?);
        }
        let export = begun.elapsed();
        let begun = Instant::now();
        for block in blocks {
            for line in codec.open(block)?.split(|byte| *byte == b'\n') {
                black_box(Sha256::new().chain_update([0]).chain_update(line).finalize());
            }
        }
        let verify = begun.elapsed();
        let begun = Instant::now();
        let device = br#""device_id":"dev_00100""#;
        let mut rewritten = 0;
        for block in blocks {
            let all = codec.open(block)?;
            let has = |line: &&[u8]| line.windows(device.len()).any(|some| some == device);
            let all: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
            let kept: Vec<&[u8]> = all.iter().copied().filter(|line| !has(line)).collect();
            if kept.len() < all.len() {
                rewritten += 1;
                black_box(codec.seal(&kept)?);
            }
        }
        println!(
            "open_us_per_event={:.2} verify_us_per_event={:.2} remove_device_us_per_event={:.2} \
             rewritten_blocks={rewritten} of={}",
            micros_each(export, lines.len()),
            micros_each(verify, lines.len()),
            micros_each(begun.elapsed(), lines.len()),
            blocks.len(),
        );
        Ok(())
    }
}

/// The time of some work, in microseconds.
fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let begun = Instant::now();
    work()?;
    Ok(u64::try_from(begun.elapsed().as_micros())?)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn share(bytes: usize, events: usize) -> f64 {
    bytes as f64 / events.max(1) as f64
}

fn micros_each(time: Duration, events: usize) -> f64 {
    time.as_secs_f64() * 1e6 / share(events, 1)
}
