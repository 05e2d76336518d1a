//! The server as `conn-log serve` runs it, with parts left out: the difference is the cost of the
//! part.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicI64, Ordering};

use conn_log_api::{ApiOptions, App, Appender, Appending, Metrics};
use conn_log_core::{Record, Timestamp};
use conn_log_store::{Appended, DatabaseUrl, Outcome, Store, StoreOptions, Submission};

#[derive(clap::Args)]
pub(crate) struct Serve {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    database_url: DatabaseUrl,
    /// Leave the projections where they are
    #[arg(long)]
    no_projections: bool,
    /// Answer as if events were stored, and store none
    #[arg(long)]
    no_store: bool,
}

/// An appender that gives events ids and stores nothing.
struct NoStore(AtomicI64);

impl Appender for NoStore {
    fn append(&self, submission: Submission) -> Appending {
        let created_at = Timestamp::from(chrono::Utc::now());
        let appended = submission.events.into_iter().map(|event| {
            let id = self.0.fetch_add(1, Ordering::Relaxed);
            Appended::Stored(Record { id, created_at, event })
        });
        let outcome = Outcome::Appended(appended.collect());
        Box::pin(async { Ok(outcome) })
    }
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // Like the program, which logs a line for each request.
        env_logger::Builder::new().parse_filters("info").format_timestamp_millis().init();
        let listener = TcpListener::bind(self.listen)?;
        let metrics = Metrics::new()?;
        let store = Store::open(StoreOptions {
            projections: !self.no_projections,
            observer: Some(metrics.observer()),
            ..StoreOptions::new(self.database_url)
        })?;
        let options = ApiOptions::default();
        let app = if self.no_store {
            let no_store = Box::new(NoStore(AtomicI64::new(1)));
            App::with_appender(no_store, store.clone(), options, metrics)
        } else {
            App::new(store.clone(), options, metrics)
        };
        actix_web::rt::System::new().block_on(conn_log_api::serve(app, listener))?;
        store.close();
        Ok(())
    }
}
