//! The candidates, each with the number of events of its blocks.

use super::codec::{Codec, Item};
use super::columns::Columns;
use super::ndjson::Ndjson;
use super::parquet::Parquet;

/// Bytes of a trained dictionary.
const DICTIONARY: usize = 64 << 10;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Ndjson,
    Columns,
    Parquet,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    kind: Kind,
    level: i32,
    dictionary: usize,
    pub(super) block: usize,
}

const fn candidate(kind: Kind, level: i32, dictionary: usize, block: usize) -> Candidate {
    Candidate { kind, level, dictionary, block }
}

pub(super) const ALL: &[Candidate] = &[
    candidate(Kind::Ndjson, 3, DICTIONARY, 256),
    candidate(Kind::Ndjson, 9, DICTIONARY, 256),
    candidate(Kind::Ndjson, 9, DICTIONARY, 1_024),
    candidate(Kind::Columns, 3, 0, 256),
    candidate(Kind::Columns, 3, DICTIONARY, 256),
    candidate(Kind::Columns, 9, 0, 256),
    candidate(Kind::Columns, 3, 0, 1_024),
    candidate(Kind::Parquet, 3, 0, 1_024),
    candidate(Kind::Parquet, 3, 0, 16_384),
];

/// The one that the decision takes.
pub(super) const CHOSEN: Candidate = candidate(Kind::Columns, 3, 0, 256);

impl Candidate {
    pub(super) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Ndjson => "NDJSON",
            Kind::Columns => "columns",
            Kind::Parquet => "Parquet",
        };
        let dictionary = if self.dictionary > 0 { " and dictionary" } else { "" };
        format!("{kind}, zstd {}{dictionary}, {}", self.level, self.block)
    }

    /// Its codec. A dictionary is trained on these samples.
    pub(super) fn codec(&self, samples: &[Item]) -> anyhow::Result<Box<dyn Codec>> {
        let samples: Vec<&[Item]> = samples.chunks(self.block).collect();
        Ok(match self.kind {
            Kind::Ndjson => Box::new(Ndjson::new(self.level, self.dictionary, &samples)?),
            Kind::Columns => Box::new(Columns::new(self.level, self.dictionary, &samples)?),
            Kind::Parquet => Box::new(Parquet::new(self.level)),
        })
    }
}
