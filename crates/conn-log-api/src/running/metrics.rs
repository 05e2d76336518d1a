//! The server's metrics, and `/metrics`, from which Prometheus reads them.
//!
//! Labels have few values, all defined in this program: a client cannot add one.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::{
    AlertingState, DeliveryLag, GroupCommitted, Lag, Observer, Stats, StoreError,
};
use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, Registry, TextEncoder,
};

use tokio::time::timeout;

use crate::http::app::App;
use crate::http::problem::Problem;
use crate::webhooks::metrics::DeliveryMetrics;

/// Histogram buckets in seconds, from a fast fsync to the longest wait of a client.
const SECONDS: [f64; 13] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Histogram buckets for the events of a group commit.
const EVENTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_000.0, 4_000.0, 10_000.0, 100_000.0];

/// The reason why events were not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rejection {
    /// The events name another device or application than the token is bound to.
    NotBound,
    /// The shape of the events is invalid.
    InvalidBody,
    /// A value in the events is invalid.
    InvalidEvent,
    /// The `event_id` belongs to an event of other content.
    EventIdConflict,
    /// Another event of the atomic batch is refused.
    NotAttempted,
    /// The idempotency key belongs to another body.
    KeyReused,
    /// The token's rate is used up.
    Rate,
    /// The queue is full.
    Overloaded,
    /// The store cannot be reached, or the server stops.
    Unavailable,
    /// The server failed.
    Internal,
}

impl Rejection {
    const ALL: [Rejection; 10] = [
        Rejection::NotBound,
        Rejection::InvalidBody,
        Rejection::InvalidEvent,
        Rejection::EventIdConflict,
        Rejection::NotAttempted,
        Rejection::KeyReused,
        Rejection::Rate,
        Rejection::Overloaded,
        Rejection::Unavailable,
        Rejection::Internal,
    ];

    fn label(self) -> &'static str {
        match self {
            Rejection::NotBound => "not_bound",
            Rejection::InvalidBody => "invalid_body",
            Rejection::InvalidEvent => "invalid_event",
            Rejection::EventIdConflict => "event_id_conflict",
            Rejection::NotAttempted => "not_attempted",
            Rejection::KeyReused => "key_reused",
            Rejection::Rate => "rate",
            Rejection::Overloaded => "overloaded",
            Rejection::Unavailable => "unavailable",
            Rejection::Internal => "internal",
        }
    }
}

/// All metrics. Cheap to clone: every clone counts in the same metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    deliveries: DeliveryMetrics,
    received: IntCounter,
    stored: IntCounter,
    duplicates: IntCounter,
    rejected: IntCounterVec,
    rejects_kept: IntCounter,
    rejects_evicted: IntCounterVec,
    request_seconds: HistogramVec,
    commit_seconds: Histogram,
    group_events: Histogram,
    ahead_of_clock: Gauge,
    queue_events: IntGauge,
    queue_bytes: IntGauge,
    readers: IntGauge,
    readers_idle: IntGauge,
    available: IntGauge,
    has_fsync: IntGauge,
    projections_behind: IntGauge,
    index_behind: IntGauge,
    rules_behind: IntGauge,
    rules_slowed: IntGauge,
    rules_slowed_behind: IntGauge,
    rule_groups: IntGauge,
    rule_groups_given_up: IntGauge,
    rule_late_reads: IntGauge,
    alerts_opened: IntCounterVec,
    alert_seconds: Histogram,
}

/// Why a reject was removed: the tenant had too many, or it was too old.
const COUNT: &str = "count";
const AGE: &str = "age";

/// Time limit for measuring the lag, so that a slow database does not block the other metrics.
const LAG_TIME_MAX: Duration = Duration::from_secs(1);

impl Metrics {
    /// Creates the metrics, all at zero.
    ///
    /// # Errors
    /// If two metrics have the same name, which is not the case.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("conn_log".to_owned()), None)?;
        let metrics = Metrics {
            deliveries: DeliveryMetrics::new(&registry)?,
            received: IntCounter::new(
                "events_received_total",
                "Events taken out of request bodies",
            )?,
            stored: IntCounter::new("events_stored_total", "Events stored, each after its fsync")?,
            duplicates: IntCounter::new(
                "events_duplicate_total",
                "Events not stored again: repeats by event_id or idempotency key",
            )?,
            rejected: IntCounterVec::new(
                Opts::new("events_rejected_total", "Events refused, by reason"),
                &["reason"],
            )?,
            rejects_kept: IntCounter::new(
                "rejects_kept_total",
                "Refused events kept with their problem, for senders that cannot be taught",
            )?,
            rejects_evicted: IntCounterVec::new(
                Opts::new(
                    "rejects_evicted_total",
                    "Rejects removed by the server: the oldest of too many, or too old",
                ),
                &["reason"],
            )?,
            request_seconds: HistogramVec::new(
                HistogramOpts::new("http_request_seconds", "Time to answer a request")
                    .buckets(SECONDS.to_vec()),
                &["method", "route", "status"],
            )?,
            commit_seconds: Histogram::with_opts(
                HistogramOpts::new("commit_seconds", "Time of a group's COMMIT: the fsync")
                    .buckets(SECONDS.to_vec()),
            )?,
            group_events: Histogram::with_opts(
                HistogramOpts::new("group_events", "Events stored by one commit")
                    .buckets(EVENTS.to_vec()),
            )?,
            ahead_of_clock: Gauge::new(
                "created_at_ahead_seconds",
                "How far created_at of the last commit was ahead of the clock, which was put back",
            )?,
            queue_events: IntGauge::new("queue_events", "Events waiting for the writer")?,
            queue_bytes: IntGauge::new("queue_bytes", "Bytes of the events waiting")?,
            readers: IntGauge::new("pool_connections", "Open connections that read")?,
            readers_idle: IntGauge::new("pool_connections_idle", "Those not in use")?,
            available: IntGauge::new("store_available", "1 while the writer reaches the database")?,
            has_fsync: IntGauge::new("database_fsync", "1 while the database syncs its files")?,
            projections_behind: IntGauge::new(
                "projections_behind_events",
                "Events that devices, sessions or statistics have not taken in; reads count them",
            )?,
            index_behind: IntGauge::new(
                "index_behind_events",
                "Events that the index does not know yet; reads look through them",
            )?,
            rules_behind: IntGauge::new(
                "rules_behind_events",
                "Events that the rules of the slowest log have not taken in, on this server",
            )?,
            rules_slowed: IntGauge::new(
                "rules_slowed",
                "Rules that go on behind the others because they cost too much, on this server",
            )?,
            rules_slowed_behind: IntGauge::new(
                "rules_slowed_behind_events",
                "Events that the slowest of these rules has not taken in",
            )?,
            rule_groups: IntGauge::new("rule_groups", "Groups of all rules, on this server")?,
            rule_groups_given_up: IntGauge::new(
                "rule_groups_given_up",
                "Groups given up or cut because there was too much, since the rules were loaded",
            )?,
            rule_late_reads: IntGauge::new(
                "rule_late_reads",
                "Reads of the log for late events, since the rules were loaded",
            )?,
            alerts_opened: IntCounterVec::new(
                Opts::new("alerts_opened_total", "Alerts raised by this server"),
                &["kind", "severity"],
            )?,
            alert_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "alert_seconds",
                    "Time from the commit of the event that raised an alert to the alert's own",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            registry,
        };
        metrics.register()?;
        // Start each counter at zero: without it, Prometheus cannot compute a rate at the first
        // refusal.
        for reason in Rejection::ALL {
            metrics.rejected.with_label_values(&[reason.label()]);
        }
        for reason in [COUNT, AGE] {
            metrics.rejects_evicted.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let collectors: [Box<dyn prometheus::core::Collector>; 26] = [
            Box::new(self.received.clone()),
            Box::new(self.stored.clone()),
            Box::new(self.duplicates.clone()),
            Box::new(self.rejected.clone()),
            Box::new(self.rejects_kept.clone()),
            Box::new(self.rejects_evicted.clone()),
            Box::new(self.request_seconds.clone()),
            Box::new(self.commit_seconds.clone()),
            Box::new(self.group_events.clone()),
            Box::new(self.ahead_of_clock.clone()),
            Box::new(self.queue_events.clone()),
            Box::new(self.queue_bytes.clone()),
            Box::new(self.readers.clone()),
            Box::new(self.readers_idle.clone()),
            Box::new(self.available.clone()),
            Box::new(self.has_fsync.clone()),
            Box::new(self.projections_behind.clone()),
            Box::new(self.index_behind.clone()),
            Box::new(self.rules_behind.clone()),
            Box::new(self.rules_slowed.clone()),
            Box::new(self.rules_slowed_behind.clone()),
            Box::new(self.rule_groups.clone()),
            Box::new(self.rule_groups_given_up.clone()),
            Box::new(self.rule_late_reads.clone()),
            Box::new(self.alerts_opened.clone()),
            Box::new(self.alert_seconds.clone()),
        ];
        for collector in collectors {
            self.registry.register(collector)?;
        }
        Ok(())
    }

    /// An observer that receives the store's commits.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// The metrics of deliveries.
    pub(crate) fn deliveries(&self) -> DeliveryMetrics {
        self.deliveries.clone()
    }

    pub(crate) fn received(&self, events: usize) {
        self.received.inc_by(events as u64);
    }

    pub(crate) fn stored(&self, events: usize) {
        self.stored.inc_by(events as u64);
    }

    pub(crate) fn duplicates(&self, events: usize) {
        self.duplicates.inc_by(events as u64);
    }

    pub(crate) fn rejected(&self, reason: Rejection, events: usize) {
        if events > 0 {
            self.rejected.with_label_values(&[reason.label()]).inc_by(events as u64);
        }
    }

    /// Counts rejects that were removed because of their age.
    pub(crate) fn rejects_expired(&self, rejects: usize) {
        self.rejects_evicted.with_label_values(&[AGE]).inc_by(rejects as u64);
    }

    /// Counts an answered request. `route` is the pattern that the path matched.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, time: Duration) {
        // The client can send any method, so only these are used as labels.
        let method = match method {
            "GET" | "HEAD" | "POST" | "PATCH" | "DELETE" | "PUT" | "OPTIONS" => method,
            _ => "other",
        };
        let labels = [method, route, &status.to_string()];
        self.request_seconds.with_label_values(&labels).observe(time.as_secs_f64());
    }

    /// The metrics as text. If the lag is unknown, the last known value is kept.
    fn text(
        &self,
        stats: Stats,
        lag: Option<(Lag, DeliveryLag)>,
        rules: &AlertingState,
    ) -> Result<String, prometheus::Error> {
        let gauge =
            |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.queue_events, stats.queue_events);
        gauge(&self.queue_bytes, stats.queue_bytes);
        self.readers.set(stats.readers.into());
        self.readers_idle.set(stats.readers_idle.into());
        self.available.set(stats.available.into());
        self.has_fsync.set(stats.has_fsync.into());
        if let Some((lag, deliveries)) = lag {
            self.deliveries.set_lag(deliveries, Timestamp::from(chrono::Utc::now()));
            self.projections_behind.set(lag.projections_events);
            self.index_behind.set(lag.index_events);
        }
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.rules_behind.set(rules.behind_events);
        gauge(&self.rules_slowed, rules.rules.values().filter(|rule| rule.is_slowed).count());
        self.rules_slowed_behind.set(rules.slowed_behind_events);
        gauge(&self.rule_groups, rules.groups);
        let given_up = rules.rules.values().map(|rule| rule.health.groups_given_up).max();
        self.rule_groups_given_up.set(count(given_up.unwrap_or(0)));
        self.rule_late_reads
            .set(count(rules.rules.values().map(|rule| rule.health.late_reads).sum()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

impl Observer for Metrics {
    #[expect(clippy::cast_precision_loss, reason = "a group has far fewer than 2^52 events")]
    fn group_committed(&self, group: GroupCommitted) {
        self.rejects_kept.inc_by(group.rejects_kept as u64);
        self.rejects_evicted.with_label_values(&[COUNT]).inc_by(group.rejects_evicted as u64);
        self.commit_seconds.observe(group.commit.as_secs_f64());
        self.group_events.observe(group.events_stored as f64);
        self.ahead_of_clock.set(group.ahead_of_clock.as_secs_f64());
    }

    fn alert_opened(&self, kind: &str, severity: &str, delay: Duration) {
        self.alerts_opened.with_label_values(&[kind, severity]).inc();
        self.alert_seconds.observe(delay.as_secs_f64());
    }
}

/// The lag of derived data and of deliveries. `None` if another request is measuring it or the database takes too
/// long.
async fn lag(app: &App) -> Option<(Lag, DeliveryLag)> {
    let turn = app.lag_looks.clone().try_acquire_owned().ok()?;
    let look = app.read(move |store| {
        // Held until the measurement ends, even if no request waits for it any more.
        let _turn = turn;
        Ok::<_, StoreError>((store.lag()?, store.delivery_lag()?))
    });
    timeout(LAG_TIME_MAX, look).await.ok()?.ok()
}

/// The metrics in Prometheus's text format.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "Running",
    responses((status = 200, description = "The metrics in Prometheus's text format",
        content_type = "text/plain")))]
pub(crate) async fn metrics(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
    let lag = lag(&app).await;
    let text = app.metrics.text(app.store.stats(), lag, &app.store.alerting_state());
    let text = text.map_err(|error| Problem::internal(&error))?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text))
}
