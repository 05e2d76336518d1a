//! Times the core's work for each event, on one thread.

use std::hint::black_box;
use std::time::Instant;

use conn_log_core::{Event, EventDraft, EventPolicy, Record, Timestamp};

use crate::events::Shape;

#[derive(clap::Args)]
pub(crate) struct Core {
    #[command(flatten)]
    shape: Shape,
}

impl Core {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (policy, now) = (EventPolicy::default(), Timestamp::from(chrono::Utc::now()));
        let lines: Vec<String> = self.shape.events().collect();
        let begun = Instant::now();
        let events = lines.iter().map(|line| Ok(policy.check(EventDraft::from_json(line)?, now)?));
        let events = events.collect::<anyhow::Result<Vec<Event>>>()?;
        let parse = begun.elapsed();
        let records: Vec<Record> =
            (1..).zip(events).map(|(id, event)| Record { id, created_at: now, event }).collect();
        let begun = Instant::now();
        records.iter().for_each(|record| drop(black_box(record.to_json())));
        let json = begun.elapsed();
        let begun = Instant::now();
        records.iter().for_each(|record| _ = black_box(record.leaf_hash()));
        let leaf = begun.elapsed();
        let each = |time: std::time::Duration| time.as_nanos() / lines.len().max(1) as u128;
        println!("parse_ns={} json_ns={} leaf_ns={}", each(parse), each(json), each(leaf));
        Ok(())
    }
}
