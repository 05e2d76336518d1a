//! A spike of sealed blocks: old events in compressed blocks of some hundred, in a table of SQLite.
//!
//! Each candidate takes the same events, one block at a time, and gives all back byte for byte. Nothing
//! of this is in what ships; docs/decisions/033 has the figures and the choice.

mod block;
mod candidates;
mod codec;
mod columns;
mod moving;
mod ndjson;
mod outcome;
mod parquet;
mod rare;
mod several;
mod source;
mod sshd;
mod table;
#[cfg(test)]
mod tests;
mod trial;
mod zeek;

use std::path::PathBuf;

use anyhow::Context as _;

use self::candidates::{ALL, CHOSEN, Candidate};
use self::source::Source;
use self::trial::Trial;
use crate::events::Shape;

/// A device that makes about one of a thousand events of the benchmark.
const DEVICE: &str = "dev_00100";

#[derive(clap::Args)]
pub(crate) struct Sealed {
    #[command(flatten)]
    shape: Shape,
    /// A file of events in place of the benchmark's: a line is an event as a client sends it, a
    /// connection by Zeek as JSON, or a line of sshd in a system's log
    #[arg(long)]
    input: Option<PathBuf>,
    /// Where to put the database
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// The device whose events are removed; of a file the device of its first event, if none is given
    #[arg(long)]
    device: Option<String>,
    /// Only candidates whose names have this
    #[arg(long, default_value = "")]
    only: String,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Every candidate
    All,
    /// The candidate that the decision takes
    Chosen,
    /// That candidate out of the rows of a log
    Move,
    /// A rare value of the metadata, by looking, by filters and by terms
    Rare,
}

impl Sealed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let source = Source::new(self.shape.clone(), self.input.clone());
        match self.part {
            Part::All => self.compare(&source, ALL),
            Part::Chosen => self.compare(&source, &[CHOSEN]),
            Part::Move => moving::run(&source, CHOSEN, &self.folder),
            Part::Rare => rare::run(&source.with_rare(rare::RARE_ONE_IN), &self.folder),
        }
    }

    fn compare(&self, source: &Source, all: &[Candidate]) -> anyhow::Result<()> {
        let device = match (&self.device, &self.input) {
            (Some(device), _) => device.clone(),
            (None, Some(_)) => first_device(source)?,
            (None, None) => DEVICE.to_owned(),
        };
        let (folder, device) = (self.folder.as_path(), device.as_str());
        let outcomes: Vec<_> = all
            .iter()
            .filter(|one| one.name().contains(&self.only))
            .map(|candidate| Trial { candidate: *candidate, source, folder, device }.run())
            .collect::<anyhow::Result<_>>()?;
        outcome::print(&outcomes);
        Ok(())
    }
}

fn first_device(source: &Source) -> anyhow::Result<String> {
    let first = source.items(false).next().context("the file has no events")??;
    Ok(first.record.event.fields().device_id.clone())
}
