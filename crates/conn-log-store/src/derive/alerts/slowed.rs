//! A rule that is slowed: it goes on behind the others, at its own watermark, until it has caught
//! up.
//!
//! Its changes are the same as if it had kept up, because they depend on the events in the order of
//! their ids alone. What waits for it are the events after its watermark: nothing else is kept, so
//! that nothing is lost by a crash.

use std::time::Instant;

use conn_log_core::Record;
use conn_log_core::alert::Output;

use super::log_history::LogHistory;
use super::reading::{Reader, Reading};
use super::recall;
use super::strand::Strand;
use crate::error::StoreError;
use crate::log::span::Span;

/// Events that are taken in at once; fewer where they need much of the log.
const BATCH_EVENTS_MAX: i64 = 1_000;

/// Events that are read again at once. If one event needs more, the oldest are left out.
const NEIGHBORS_MAX: usize = 200_000;

/// A rule on its own.
pub(super) struct Slowed {
    pub(super) rule: i64,
    pub(super) strand: Strand,
    batch: Option<Batch>,
    batch_events: i64,
}

/// The next events, and what they need of the log.
struct Batch {
    last: i64,
    records: std::vec::IntoIter<Record>,
    readings: Vec<Reading>,
}

impl Slowed {
    pub(super) fn new(rule: i64, strand: Strand) -> Self {
        Slowed { rule, strand, batch: None, batch_events: BATCH_EVENTS_MAX }
    }

    pub(super) fn groups(&self) -> usize {
        self.strand.watch.groups()
    }

    /// Whether it has taken in all events up to an id.
    pub(super) fn is_at(&self, watermark: i64) -> bool {
        self.batch.is_none() && self.strand.watermark >= watermark
    }

    /// Goes on until that time, and no further than an id. What it tells must be written then.
    pub(super) fn advance(
        &mut self,
        reader: &mut Reader<'_>,
        (first_id, last): (i64, i64),
        until: Instant,
        output: &mut Output,
    ) -> Result<(), StoreError> {
        while Instant::now() < until {
            if self.batch.is_none() {
                let from = self.strand.watermark.max(first_id - 1);
                self.strand.watermark = from;
                if from >= last || !output.changes.is_empty() {
                    return Ok(());
                }
                self.begin(
                    reader,
                    Span { first: from + 1, last: last.min(from + self.batch_events) },
                )?;
            }
            if self.read(reader, until)? {
                self.take(reader, until, output)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, reader: &mut Reader<'_>, span: Span) -> Result<(), StoreError> {
        // Everything that was told before is written.
        self.strand.watch.tidy();
        let records = recall::read(reader.connection, reader.tenant, span)?;
        let now = crate::clock::now();
        let wants = self.strand.watch.wants(&records).into_iter();
        let readings = wants.map(|want| Reading::new(want, now)).collect();
        self.batch = Some(Batch { last: span.last, records: records.into_iter(), readings });
        Ok(())
    }

    /// Reads on. Returns whether all was read that the batch needs.
    fn read(&mut self, reader: &mut Reader<'_>, until: Instant) -> Result<bool, StoreError> {
        let Some(batch) = &mut self.batch else { return Ok(false) };
        let mut kept: usize = batch.readings.iter().map(Reading::len).sum();
        for reading in batch.readings.iter_mut().filter(|reading| !reading.is_done()) {
            while !reading.is_done() {
                if Instant::now() >= until {
                    return Ok(false);
                }
                let before = reading.len();
                reading.advance(reader, &self.strand.watch)?;
                kept += reading.len() - before;
                if kept > NEIGHBORS_MAX {
                    if self.batch_events > 1 {
                        // Fewer events need less.
                        self.batch_events /= 2;
                        self.batch = None;
                        return Ok(false);
                    }
                    reading.cut();
                }
            }
        }
        for reading in std::mem::take(&mut batch.readings) {
            reading.grant(&mut self.strand.watch);
        }
        Ok(true)
    }

    fn take(
        &mut self,
        reader: &mut Reader<'_>,
        until: Instant,
        output: &mut Output,
    ) -> Result<(), StoreError> {
        let Some(batch) = &mut self.batch else { return Ok(()) };
        let mut history = LogHistory::new(reader);
        for record in batch.records.by_ref() {
            self.strand.watch.take(&record, &mut history, output)?;
            self.strand.watermark = record.id;
            if Instant::now() >= until {
                return Ok(());
            }
        }
        self.strand.watermark = batch.last;
        self.batch = None;
        // Slowly, because a batch that needs too much was read for nothing.
        self.batch_events = (self.batch_events + self.batch_events / 8 + 1).min(BATCH_EVENTS_MAX);
        Ok(())
    }
}
