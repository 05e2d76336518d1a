//! The candidates, each with the number of events of its blocks, and of blocks in a row of the table.

use super::codec::{Codec, Item};
use super::columns::Columns;
use super::ndjson::Ndjson;
use super::parquet::Parquet;
use super::several::Several;

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
    /// Events of a row.
    pub(super) row: usize,
    /// Blocks of a row.
    parts: usize,
}

const fn candidate(kind: Kind, level: i32, dictionary: usize, row: usize) -> Candidate {
    Candidate { kind, level, dictionary, row, parts: 1 }
}

pub(super) const ALL: &[Candidate] = &[
    candidate(Kind::Ndjson, 3, DICTIONARY, 256),
    candidate(Kind::Ndjson, 9, DICTIONARY, 256),
    candidate(Kind::Ndjson, 9, DICTIONARY, 1_024),
    candidate(Kind::Columns, 3, 0, 256),
    candidate(Kind::Columns, 3, DICTIONARY, 256),
    candidate(Kind::Columns, 3, 0, 1_024),
    CHOSEN,
    candidate(Kind::Parquet, 3, 0, 1_024),
    candidate(Kind::Parquet, 3, 0, 16_384),
];

/// The one that the decision takes.
pub(super) const CHOSEN: Candidate =
    Candidate { parts: 4, ..candidate(Kind::Columns, 3, 0, 1_024) };

impl Candidate {
    pub(super) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Ndjson => "NDJSON",
            Kind::Columns => "columns",
            Kind::Parquet => "Parquet",
        };
        let dictionary = if self.dictionary > 0 { " and dictionary" } else { "" };
        let parts = if self.parts > 1 { format!("{} × ", self.parts) } else { String::new() };
        format!("{kind}, zstd {}{dictionary}, {parts}{}", self.level, self.row / self.parts)
    }

    /// Its codec. A dictionary is trained on these samples.
    pub(super) fn codec(&self, samples: &[Item]) -> anyhow::Result<Box<dyn Codec>> {
        let block = self.row / self.parts;
        let samples: Vec<&[Item]> = samples.chunks(block).collect();
        let codec: Box<dyn Codec> = match self.kind {
            Kind::Ndjson => Box::new(Ndjson::new(self.level, self.dictionary, &samples)?),
            Kind::Columns => Box::new(Columns::new(self.level, self.dictionary, &samples)?),
            Kind::Parquet => Box::new(Parquet::new(self.level)),
        };
        Ok(if self.parts > 1 { Box::new(Several { codec, block }) } else { codec })
    }
}
