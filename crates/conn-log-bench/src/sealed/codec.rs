//! What a block holds, and what every candidate does with it.

use std::fmt::Write as _;

use conn_log_core::Record;
use sha2::{Digest as _, Sha256};

/// An event of a block: its record, and the random bytes that its leaf will have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) record: Record,
    pub(super) nonce: Option<[u8; 16]>,
}

impl Item {
    /// The canonical JSON of the record, with the nonce as the last member. Where a nonce will stand is
    /// not decided yet; it changes no figure.
    pub(super) fn line(&self) -> String {
        let mut line = self.record.to_canonical_json();
        if let Some(nonce) = self.nonce {
            line.pop();
            // Writing to a String cannot fail.
            let _ = write!(line, r#","nonce":"{:032x}"}}"#, u128::from_be_bytes(nonce));
        }
        line
    }

    pub(super) fn leaf_hash(&self) -> [u8; 32] {
        if self.nonce.is_none() {
            return self.record.leaf_hash();
        }
        Sha256::new().chain_update([0]).chain_update(self.line()).finalize().into()
    }
}

/// The root of some leaves (RFC 6962, section 2.1).
pub(super) fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let hash = Sha256::new().chain_update([1]).chain_update(root(left));
            hash.chain_update(root(right)).finalize().into()
        }
    }
}

/// The events that a read asks a block for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'i> {
    All,
    /// Those of these ids that it has, in this order.
    Ids(&'i [i64]),
}

/// A way to write some events as a block of bytes.
pub(super) trait Codec {
    /// Events in the order of their ids. All have a nonce, or none has.
    fn seal(&mut self, items: &[Item]) -> anyhow::Result<Vec<u8>>;

    fn open(&mut self, bytes: &[u8], wanted: Wanted<'_>) -> anyhow::Result<Vec<Item>>;

    /// Takes the events of some ids, which ascend, out of a block. Gives them, and the block without them:
    /// no bytes if none is left.
    fn remove(&mut self, bytes: &[u8], ids: &[i64]) -> anyhow::Result<(Vec<Item>, Vec<u8>)> {
        let is_one = |item: &Item| ids.binary_search(&item.record.id).is_ok();
        let (gone, kept): (Vec<Item>, Vec<Item>) =
            self.open(bytes, Wanted::All)?.into_iter().partition(is_one);
        let left = if kept.is_empty() { Vec::new() } else { self.seal(&kept)? };
        Ok((gone, left))
    }
}

/// A dictionary trained on samples; none if they are too few for one.
pub(super) fn train<S: AsRef<[u8]>>(samples: &[S], bytes_max: usize) -> Vec<u8> {
    let bytes: usize = samples.iter().map(|sample| sample.as_ref().len()).sum();
    // zstd advises a hundred times as much. With less than this a dictionary is the samples themselves.
    let length = bytes_max.min(bytes / SAMPLES_TO_DICTIONARY);
    zstd::dict::from_samples(samples, length).unwrap_or_default()
}

/// zstd at a level, with a dictionary that may be empty.
pub(super) struct Zstd {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

/// Bytes of samples for each byte of a dictionary, at least.
const SAMPLES_TO_DICTIONARY: usize = 4;

/// No block has more bytes. A length beyond that is no length.
const BYTES_MAX: usize = 1 << 30;

impl Zstd {
    pub(super) fn new(level: i32, dictionary: &[u8]) -> anyhow::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::with_dictionary(level, dictionary)?;
        // The block's own head says what these would say.
        compressor.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(false))?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::DictIdFlag(false))?;
        let decompressor = zstd::bulk::Decompressor::with_dictionary(dictionary)?;
        Ok(Zstd { compressor, decompressor })
    }

    pub(super) fn seal(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.compressor.compress(bytes)?)
    }

    pub(super) fn open(&mut self, bytes: &[u8], length: usize) -> anyhow::Result<Vec<u8>> {
        anyhow::ensure!(length <= BYTES_MAX, "a block of {length} bytes");
        let opened = self.decompressor.decompress(bytes, length)?;
        anyhow::ensure!(opened.len() == length, "a block has other bytes than it says");
        Ok(opened)
    }
}
