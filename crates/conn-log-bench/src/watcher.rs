//! Times the evaluation of rules alone: events of a fleet at a nominal rate, on one thread, with no
//! database and no clock.

use std::time::Instant;

use anyhow::Context as _;
use conn_log_core::alert::{NoHistory, Output, Watch, WatchedRule};
use conn_log_core::{EventDraft, EventPolicy, Record, Timestamp};

use crate::events::Shape;
use crate::rules::rule;

#[derive(clap::Args)]
pub(crate) struct Watcher {
    /// How many events
    #[arg(default_value_t = 200_000)]
    count: u64,
    /// Rules, as `watch` makes them
    #[arg(long, default_value_t = 100)]
    rules: usize,
    /// Events a second, in the time of the events
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Parts that are timed one by one
    #[arg(long, default_value_t = 4)]
    parts: usize,
}

/// The resident memory of this process.
fn resident_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.parse::<u64>()? >> 10)
}

impl Watcher {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let records = self.records()?;
        let watched = |number: usize| -> anyhow::Result<WatchedRule> {
            let rule = rule(number)?;
            Ok(WatchedRule { number: i64::try_from(number)?, rule, after_id: 0, since: 0 })
        };
        let rules = (0..self.rules).map(watched).collect::<anyhow::Result<_>>()?;
        let mut watch = Watch::new(rules);
        let before = resident_mib()?;
        let mut alerts = 0;
        for part in records.chunks(records.len().div_ceil(self.parts).max(1)) {
            let begun = Instant::now();
            for step in part.chunks(1_000) {
                watch.tidy();
                let mut output = Output::after(alerts);
                for record in step {
                    let Ok(()) = watch.take(record, &mut NoHistory, &mut output);
                }
                alerts = output.last_alert;
            }
            let nanos = begun.elapsed().as_nanos() / part.len() as u128;
            let grown = resident_mib()?.saturating_sub(before);
            println!(
                "ns_per_event={nanos} groups={} given_up={} alerts={alerts} accounted_mib={} \
                 resident_mib={grown}",
                watch.groups(),
                watch.health(0).groups_given_up,
                watch.bytes() >> 20,
            );
        }
        Ok(())
    }

    fn records(&self) -> anyhow::Result<Vec<Record>> {
        let policy = EventPolicy::default();
        let begin = Timestamp::from(chrono::Utc::now()).micros();
        let step = 1_000_000 / i64::try_from(self.rate)?;
        let shape = Shape::at_rate(self.count, self.rate);
        (1..)
            .zip(shape.events())
            .map(|(id, line)| {
                let created_at = Timestamp::from_micros(begin + id * step);
                let event = policy.check(EventDraft::from_json(&line)?, created_at)?;
                Ok(Record { id, created_at, event })
            })
            .collect()
    }
}
