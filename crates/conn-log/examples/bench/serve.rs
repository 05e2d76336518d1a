//! The product's server as `conn-log serve` has it, with parts left out: what a part costs is the
//! difference.

use std::net::{SocketAddr, TcpListener};

use conn_log_api::{ApiOptions, App, Metrics};
use conn_log_store::{DatabaseUrl, Store, StoreOptions};

#[derive(clap::Args)]
pub(crate) struct Serve {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    database_url: DatabaseUrl,
    /// Leave the projections where they are
    #[arg(long)]
    no_projections: bool,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.listen)?;
        let metrics = Metrics::new()?;
        let store = Store::open(StoreOptions {
            projections: !self.no_projections,
            observer: Some(metrics.observer()),
            ..StoreOptions::new(self.database_url)
        })?;
        let app = App::new(store.clone(), ApiOptions::default(), metrics);
        actix_web::rt::System::new().block_on(conn_log_api::serve(app, listener))?;
        store.close();
        Ok(())
    }
}
