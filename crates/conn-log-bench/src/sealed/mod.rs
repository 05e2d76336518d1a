//! A spike of sealed blocks: old events in compressed blocks of some hundred, in a table of SQLite.
//!
//! Each candidate takes the same events, one block at a time, and gives all back byte for byte. Nothing
//! of this is in what ships; docs/decisions/033 has the figures and the choice.

mod block;
mod candidates;
mod codec;
mod columns;
mod ndjson;
mod outcome;
mod parquet;
mod source;
mod sshd;
mod table;
#[cfg(test)]
mod tests;
mod trial;
mod zeek;

use std::path::PathBuf;

use self::candidates::{ALL, CHOSEN, Candidate};
use self::source::Source;
use self::trial::Trial;
use crate::events::Shape;

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
    /// The device whose events are removed
    #[arg(long, default_value = "dev_00100")]
    device: String,
    /// Only candidates whose names have this
    #[arg(long, default_value = "")]
    only: String,
    /// Only the candidate that the decision takes
    #[arg(long)]
    chosen: bool,
}

impl Sealed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let source = Source::new(self.shape.clone(), self.input.clone());
        let chosen = [CHOSEN];
        let all: &[Candidate] = if self.chosen { &chosen } else { ALL };
        let mut outcomes = Vec::new();
        for candidate in all.iter().filter(|one| one.name().contains(&self.only)) {
            outcomes.push(
                Trial {
                    candidate: *candidate,
                    source: &source,
                    folder: &self.folder,
                    device: &self.device,
                }
                .run()?,
            );
        }
        outcome::print(&outcomes);
        Ok(())
    }
}
