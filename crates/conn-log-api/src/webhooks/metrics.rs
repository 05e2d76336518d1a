//! Metrics of deliveries.

use conn_log_core::Timestamp;
use conn_log_store::{DeliveryLag, Recorded};
use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};

/// Counts of attempts, and the lag of deliveries. Clones count in the same metrics.
#[derive(Clone)]
pub(crate) struct DeliveryMetrics {
    attempts: IntCounterVec,
    oldest_waiting: Gauge,
    disabled: IntGauge,
    sending: IntGauge,
}

const RESULTS: [Recorded; 5] =
    [Recorded::Delivered, Recorded::Retried, Recorded::Failed, Recorded::Disabled, Recorded::Late];

fn label(recorded: Recorded) -> &'static str {
    match recorded {
        Recorded::Delivered => "delivered",
        Recorded::Retried => "retried",
        Recorded::Failed => "failed",
        Recorded::Disabled => "disabled",
        Recorded::Late => "late",
    }
}

impl DeliveryMetrics {
    /// Creates the metrics, all at zero.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = DeliveryMetrics {
            attempts: IntCounterVec::new(
                Opts::new("webhook_attempts_total", "Attempts to deliver to webhooks, by outcome"),
                &["outcome"],
            )?,
            oldest_waiting: Gauge::new(
                "webhook_oldest_waiting_seconds",
                "How long the oldest delivery has waited that is still to be delivered",
            )?,
            disabled: IntGauge::new(
                "webhooks_disabled",
                "Webhooks disabled because their receivers are gone or have failed for five days",
            )?,
            sending: IntGauge::new("webhook_attempts_running", "Attempts under way")?,
        };
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.oldest_waiting.clone()))?;
        registry.register(Box::new(metrics.disabled.clone()))?;
        registry.register(Box::new(metrics.sending.clone()))?;
        for recorded in RESULTS {
            metrics.attempts.with_label_values(&[label(recorded)]);
        }
        Ok(metrics)
    }

    pub(super) fn began(&self) {
        self.sending.inc();
    }

    pub(super) fn ended(&self) {
        self.sending.dec();
    }

    /// Counts an attempt by what became of its delivery.
    pub(super) fn recorded(&self, recorded: Recorded) {
        self.attempts.with_label_values(&[label(recorded)]).inc();
    }

    /// Sets the lag as the store has it.
    pub(crate) fn set_lag(&self, lag: DeliveryLag, now: Timestamp) {
        let waiting = lag.oldest_waiting_since.map_or(0, |since| now.micros() - since.micros());
        #[expect(clippy::cast_precision_loss, reason = "microseconds of some weeks")]
        self.oldest_waiting.set(waiting.max(0) as f64 / 1e6);
        self.disabled.set(lag.webhooks_disabled);
    }
}
