//! Times rules: from the commit of an event to its alert, and what rules cost the append.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conn_log_core::alert::Rule;
use conn_log_core::{Event, EventDraft, EventPolicy, Timestamp};
use conn_log_store::{DatabaseUrl, Observer, Store, StoreOptions, Submission, TenantId};
use serde_json::{Value, json};

use crate::events::Shape;
use crate::percentile;

#[derive(clap::Args)]
pub(crate) struct Rules {
    /// Where to: an empty database
    database_url: DatabaseUrl,
    #[command(flatten)]
    shape: Shape,
    /// Rules of several kinds; 0 for none
    #[arg(long, default_value_t = 20)]
    rules: usize,
    /// Events in a submission
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Events a second; 0 for as many as the store takes
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// The longest time for which rules stand back, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    wait_max_ms: u64,
}

/// The delays of alerts, in microseconds.
#[derive(Default)]
struct Delays(Mutex<Vec<u64>>);

impl Observer for Delays {
    fn alert_opened(&self, _: &str, _: &str, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
    }
}

/// How long the rules may take to catch up.
const CATCH_UP_MAX: Duration = Duration::from_mins(5);

impl Rules {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let delays = Arc::new(Delays::default());
        let options = StoreOptions {
            observer: Some(delays.clone()),
            alerting_wait_max: Duration::from_millis(self.wait_max_ms),
            ..StoreOptions::new(self.database_url.clone())
        };
        let store = Store::open(options)?;
        for number in 0..self.rules {
            store.rule_create(TenantId::DEFAULT, rule(number)?)?;
        }
        let events = self.events();
        let count = events.len();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let begun = Instant::now();
        for (place, batch) in events.chunks(self.batch.max(1)).enumerate() {
            let sent = (place * self.batch) as u64;
            if let Some(due) = (sent * 1_000_000).checked_div(self.rate) {
                let wait = Duration::from_micros(due).saturating_sub(begun.elapsed());
                thread::sleep(wait);
            }
            let submission = Submission {
                tenant: TenantId::DEFAULT,
                events: batch.to_vec(),
                atomic: false,
                claim: None,
                rejects: None,
            };
            runtime.block_on(store.append(submission)).context("a submission was refused")?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let caught_up = Instant::now();
        let size = store.log_size(TenantId::DEFAULT)?;
        let behind_events = size - Self::taken(&store);
        while self.rules > 0 && !self.is_caught_up(&store, size) {
            anyhow::ensure!(caught_up.elapsed() < CATCH_UP_MAX, "the rules are behind");
            thread::sleep(Duration::from_millis(5));
        }
        let caught_up = caught_up.elapsed().as_millis();
        store.close();
        let mut delays = delays.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        delays.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
        let per_second = count as f64 / seconds;
        println!(
            "events={size} events_per_second={per_second:.0} alerts={} alert_p50_us={} \
             alert_p99_us={} behind_events={behind_events} caught_up_ms={caught_up}",
            delays.len(),
            percentile(&delays, 50),
            percentile(&delays, 99),
        );
        Ok(())
    }

    fn is_caught_up(&self, store: &Store, size: i64) -> bool {
        store.alerting_state().rules.len() == self.rules && Self::taken(store) == size
    }

    /// The last id that the rules have taken in.
    fn taken(store: &Store) -> i64 {
        store.alerting_state().taken.get(&TenantId::DEFAULT).copied().unwrap_or(0)
    }

    fn events(&self) -> Vec<Event> {
        let policy = EventPolicy::default();
        let now = Timestamp::from(chrono::Utc::now());
        #[expect(clippy::expect_used, reason = "the generator keeps the rules")]
        let event = |json: String| {
            EventDraft::from_json(&json)
                .and_then(|draft| policy.check(draft, now))
                .expect("a good event")
        };
        self.shape.events().map(event).collect()
    }
}

/// The rule of that number: of five kinds in turn, half of them for one application only, and all of
/// them by device. A few devices make most events of the fleet, so that the thresholds are those of a
/// busy fleet: at 1,000 events/s an alert is rare.
///
/// A hundred of these at 10,000 events/s are harder than an installation, whose rules mostly have
/// filters or coarser groups. Fifty rules look at every event. With 5,000 devices they ask for more
/// than twice the groups and many times the memory that are kept: so groups are given up and cut all
/// the time. The busiest device makes a thousand events a second, and is above the thresholds of
/// thirty rules without an end. Every event is up to five seconds late, so that few are the last one
/// of their group.
pub(crate) fn rule_json(number: usize) -> Value {
    let (kind, params) = match number % 5 {
        0 => ("failure_burst", json!({"threshold": 1_000, "window_seconds": 60})),
        1 => ("distinct_count", json!({"of": "ip_address", "at_least": 5, "window_seconds": 600})),
        2 => (
            "sequence",
            json!({"first": {"status": ["failure", "denied"]}, "count": 100,
                "then": {"connection_type": "authenticated"}, "window_seconds": 60}),
        ),
        3 => ("flapping", json!({"transitions": 5_000, "window_seconds": 60})),
        _ => ("silence", json!({"after_seconds": 86_400})),
    };
    let filter = if number.is_multiple_of(2) {
        json!({})
    } else {
        json!({"application_id": format!("app_{:02}", number % 50)})
    };
    json!({"name": format!("rule {number}"), "kind": kind, "params": params, "filter": filter,
        "group_by": ["device_id"]})
}

pub(crate) fn rule(number: usize) -> anyhow::Result<Rule> {
    let Value::Object(object) = rule_json(number) else { anyhow::bail!("not an object") };
    Rule::from_json(object).map_err(|faults| anyhow::anyhow!("{faults:?}"))
}
