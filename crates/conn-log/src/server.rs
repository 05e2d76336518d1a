//! `conn-log serve`: starts a server from its arguments and runs it to its end.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use conn_log_api::{ApiOptions, App, Metrics};
use conn_log_core::EventPolicy;
use conn_log_store::{DatabaseUrl, Rate, SessionTimeout, Store, StoreOptions};

use crate::arguments::Serve;
use crate::say;

pub(crate) fn serve(arguments: &Serve) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.events_max <= arguments.queue_events_max,
        "--queue-events-max {} is less than --events-max {}: the largest batch would never fit",
        arguments.queue_events_max,
        arguments.events_max
    );
    // Bind the socket first: a second server started by mistake fails before it touches the
    // database.
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr().context("cannot tell the address listened on")?;
    let metrics = Metrics::new().context("cannot make the metrics")?;
    let store = Store::open(store_options(arguments, arguments.database.url()?, &metrics))?;
    greet(&store, address)?;

    let app = App::new(store.clone(), api_options(arguments), metrics);
    actix_web::rt::System::new().block_on(async move {
        say(&format!("conn-log listens on http://{address}"));
        conn_log_api::serve(app, listener).await.context("the server failed")
    })?;
    anyhow::ensure!(store.close(), "stopped while the database hung");
    log::info!("stopped; everything accepted is stored");
    Ok(())
}

/// Maximum bytes of the events that wait for the writer, a part of the server's memory bounds
/// (docs/operations.md, "Memory").
const QUEUE_BYTES_MAX: usize = 112 << 20;

fn store_options(arguments: &Serve, url: DatabaseUrl, metrics: &Metrics) -> StoreOptions {
    let mut options = StoreOptions::new(url);
    options.queue_events_max = arguments.queue_events_max;
    options.queue_bytes_max = QUEUE_BYTES_MAX;
    options.idempotency_window = arguments.idempotency_window;
    options.event_id_window = arguments.event_id_window;
    if let Some(timeout) = arguments.session_timeout {
        options.session_timeout = SessionTimeout::After(timeout);
    }
    options.partition = arguments.partition.into();
    options.accept_lost_events = arguments.accept_lost_events;
    options.observer = Some(metrics.observer());
    options
}

fn api_options(arguments: &Serve) -> ApiOptions {
    let mut policy = EventPolicy::default();
    for name in &arguments.connection_type {
        policy = policy.with_connection_type(name);
    }
    for name in &arguments.status {
        policy = policy.with_status(name);
    }
    for name in &arguments.sensitive_key {
        policy = policy.with_sensitive_key(name);
    }
    let defaults = ApiOptions::default();
    let (sent, decoded) = (arguments.body_mib_max << 20, arguments.decoded_mib_max << 20);
    ApiOptions {
        policy,
        // The largest body has room while it is copied and its events are parsed.
        bodies_bytes_max: defaults.bodies_bytes_max.max(2 * (sent + decoded)),
        events_max: arguments.events_max,
        body_bytes_max: sent,
        decoded_bytes_max: decoded,
        body_pause_max: arguments.body_pause_max,
        head_time_max: arguments.head_time_max,
        answer_pause_max: arguments.answer_pause_max,
        keep_alive: arguments.keep_alive,
        default_rate: arguments.rate.map(|events_per_second| Rate {
            events_per_second,
            burst_events: arguments.burst.unwrap_or(events_per_second),
        }),
        auth_failures_per_minute: arguments.auth_failures_per_minute,
        trusted_proxies: arguments.trusted_proxy.clone(),
        cors_origins: arguments.cors_origin.clone(),
        webhook_allow: arguments.webhook_allow.clone(),
        ..defaults
    }
}

/// On a database without a token, makes a first token and prints its secret once.
fn greet(store: &Store, address: SocketAddr) -> anyhow::Result<()> {
    let Some((_, secret)) = store.first_token().context("cannot make the first token")? else {
        return Ok(());
    };
    let secret = secret.reveal();
    say(&format!(
        "This log is new. Here is its admin token, shown this once:

  {secret}

Register an event with it:

  curl -i http://{address}/api/v1/device_app_connection_log/ \\
    -H 'Authorization: Bearer {secret}' \\
    -H 'Content-Type: application/json' \\
    -d '{EXAMPLE}'

Read and try every request on http://{address}/docs
"
    ));
    Ok(())
}

const EXAMPLE: &str = r#"{"device_id": "dev_12345", "application_id": "app_67890", "connection_type": "established", "timestamp": "2024-01-15T10:30:00Z", "ip_address": "192.168.1.100", "status": "success"}"#;
