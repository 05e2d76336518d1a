//! Waits until the index and the projections have caught up with the log, and prints how long that
//! took.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use conn_log_store::{DatabaseUrl, Store, StoreOptions, TenantId};

/// Index lag that counts as caught up: fewer events than one index run are read without the index.
const INDEX_BEHIND: i64 = 2_048;

#[derive(clap::Args)]
pub(crate) struct Settle {
    database_url: DatabaseUrl,
    #[arg(long, default_value_t = 1_800)]
    seconds_max: u64,
    /// Print how many events the projections are behind, and wait for nothing
    #[arg(long)]
    look: bool,
}

impl Settle {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let options = StoreOptions::new(self.database_url);
        let tenant = TenantId::DEFAULT;
        if self.look {
            let store =
                Store::open(StoreOptions { projections: false, indexing: false, ..options })?;
            println!("{}", store.projections_behind(tenant)?);
            return Ok(());
        }
        let store = Store::open(options)?;
        let begun = Instant::now();
        let behind = store.projections_behind(tenant)?;
        while store.projections_behind(tenant)? > 0 || store.index_lag(tenant)? >= INDEX_BEHIND {
            ensure!(begun.elapsed() < Duration::from_secs(self.seconds_max), "it takes too long");
            thread::sleep(Duration::from_millis(20));
        }
        ensure!(store.close(), "the store could not be closed");
        println!("behind={behind} seconds={:.2}", begun.elapsed().as_secs_f64());
        Ok(())
    }
}
