//! Background tasks that the server runs from time to time.

use std::time::Duration;

use actix_web::{rt, web};
use conn_log_core::Timestamp;
use conn_log_store::{Store, StoreError};

use crate::http::app::App;
use crate::running::metrics::Metrics;

/// How often each task runs. A run is cheap if there is nothing to do.
const EVERY: Duration = Duration::from_mins(1);

/// Maximum idempotency keys, or rejects, deleted by one transaction: on SQLite, events wait for it.
const EXPIRED_MAX: u32 = 2_000;

/// Number of time ranges whose partitions are created in advance.
const PARTITIONS_AHEAD: u32 = 2;

/// Starts the tasks. They end with the server's runtime.
pub(crate) fn start(app: web::Data<App>) {
    rt::spawn(async move {
        let mut clock = rt::time::interval(EVERY);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            app.auth_failures.forget_idle();
            run(&app, "make partitions", |store| store.partitions_ensure(PARTITIONS_AHEAD)).await;
            run(&app, "forget expired keys", forget_expired).await;
            let metrics = app.metrics.clone();
            run(&app, "remove old rejects", move |store| remove_old_rejects(store, &metrics)).await;
            run(&app, "forget old deliveries", forget_deliveries).await;
        }
    });
}

async fn run(
    app: &App,
    what: &str,
    task: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
) {
    let store = app.store.clone();
    match web::block(move || task(&store)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::warn!("could not {what}, and will try again: {error}"),
        Err(error) => log::error!("could not {what}: {error}"),
    }
}

fn forget_deliveries(store: &Store) -> Result<(), StoreError> {
    store.deliveries_expire(Timestamp::from(chrono::Utc::now()))
}

fn forget_expired(store: &Store) -> Result<(), StoreError> {
    store.idempotency_expire(EXPIRED_MAX).map(drop)
}

fn remove_old_rejects(store: &Store, metrics: &Metrics) -> Result<(), StoreError> {
    loop {
        let removed = store.rejects_expire(EXPIRED_MAX)?;
        metrics.rejects_expired(removed);
        if removed == 0 {
            return Ok(());
        }
    }
}
