//! Times how long the disk takes to make 4 KiB durable.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Fsync {
    /// A file to write, on the disk in question
    file: PathBuf,
    #[arg(long, default_value_t = 1_000)]
    times: u64,
}

impl Fsync {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut file = File::create(&self.file)?;
        let page = [0x5a; 4096];
        // The file is written once before, like a write-ahead log that is reused.
        for _ in 0..self.times {
            file.write_all(&page)?;
        }
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let mut micros = Vec::new();
        for _ in 0..self.times {
            let begun = Instant::now();
            file.write_all(&page)?;
            file.sync_data()?;
            micros.push(u64::try_from(begun.elapsed().as_micros())?);
        }
        micros.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| crate::percentile(&micros, percent));
        println!("p50_us={p50} p99_us={p99}");
        Ok(())
    }
}
