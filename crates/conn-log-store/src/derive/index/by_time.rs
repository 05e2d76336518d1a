//! Lists in order of time: merges the entries by time of all runs, and the tail.
//!
//! The merge opens a run only when it reaches the run's first instant. So in a log that is nearly
//! in order of time one or two runs are open at a time.

use conn_log_core::Record;

use super::id_set::IdSet;
use super::list::{Reading, Tail};
use super::probe::{self, TimeCursor};
use super::tables::Run;
use super::terms;
use crate::derive::facts::TimePosition;
use crate::error::StoreError;
use crate::log::scan::Rows;

/// Limit of a run's events that are fetched to learn their instants; with more events, reading all
/// of the run's instants finds them soon enough.
const FEW_IDS: usize = 300;

/// Rows fetched by id at a time.
const FETCHED_IDS_MAX: usize = 256;

/// A source of the next record.
enum Source {
    /// A run that is not open yet.
    Closed { run: Run, bound: TimePosition },
    /// The instants of a run, of all events or of those in the set, and the next one.
    Cursor { cursor: Box<TimeCursor>, set: Option<IdSet>, next: TimePosition },
    /// Records that are already read, of the tail or of a run with few matches, the next one last.
    Records(Vec<Record>),
}

impl Source {
    /// The earliest position, in the order of the list, that its records can have.
    fn bound(&self) -> Option<TimePosition> {
        match self {
            Source::Closed { bound, .. } => Some(*bound),
            Source::Cursor { next, .. } => Some(*next),
            Source::Records(records) => records.last().map(position_of),
        }
    }
}

/// The next record, or the position of a record that must still be fetched.
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart where it is made")]
enum Next {
    Record(Record),
    At(TimePosition),
}

fn position_of(record: &Record) -> TimePosition {
    (record.event.fields().timestamp, record.id)
}

pub(super) fn read(reading: &mut Reading<'_>, runs: &[Run], tail: Tail) -> Result<(), StoreError> {
    let is_descending = reading.scan.is_descending();
    let mut sources = vec![Source::Records(read_tail(reading, tail)?)];
    for run in runs.iter().filter(|run| reading.overlaps(run) && run.last_id >= reading.log.first) {
        let bound = if is_descending {
            (run.timestamp_max.0, run.last_id)
        } else {
            (run.timestamp_min.0, run.first_id)
        };
        // Runs that lie entirely before the position are left out.
        let last = if is_descending { run.timestamp_min.0 } else { run.timestamp_max.0 };
        let is_passed = reading.scan.position.is_some_and(|at| {
            if is_descending { at.timestamp < last } else { at.timestamp > last }
        });
        if !is_passed {
            sources.push(Source::Closed { run: *run, bound });
        }
    }
    reading.look_into(runs.iter());
    let mut merge = Merge { reading, sources };
    // In the order of the list; some records still have to be fetched.
    let mut waiting: Vec<Next> = Vec::new();
    let mut to_fetch = 0;
    loop {
        let next = merge.next()?;
        let is_end = next.is_none();
        if let Some(next) = next {
            to_fetch += usize::from(matches!(next, Next::At(_)));
            waiting.push(next);
        }
        let missing = merge.reading.missing();
        if is_end || to_fetch >= FETCHED_IDS_MAX || waiting.len() >= missing {
            settle(merge.reading, &mut waiting)?;
            to_fetch = 0;
        }
        if is_end || merge.reading.is_full() {
            return Ok(());
        }
    }
}

/// Reads the first records of the tail.
fn read_tail(reading: &mut Reading<'_>, tail: Tail) -> Result<Vec<Record>, StoreError> {
    reading.scan.created = tail.created;
    let mut tail = tail.span;
    let mut records: Vec<Record> = Vec::new();
    while !tail.is_empty() {
        let some = reading.cut(&mut tail);
        reading.deadline.check()?;
        let ids = reading.scan.ids(reading.connection, Rows::Within(some), reading.limit)?;
        records.extend(reading.fetch(Rows::Of(&ids), reading.limit)?);
        records.sort_by_key(position_of);
        if reading.scan.is_descending() {
            records.reverse();
        }
        records.truncate(reading.limit);
    }
    records.reverse();
    Ok(records)
}

/// Fetches the waiting records, and keeps those that pass the filter.
fn settle(reading: &mut Reading<'_>, waiting: &mut Vec<Next>) -> Result<(), StoreError> {
    let ids: Vec<i64> = waiting
        .iter()
        .filter_map(|next| if let Next::At((_, id)) = next { Some(*id) } else { None })
        .collect();
    let mut fetched = Vec::new();
    if !ids.is_empty() {
        fetched = reading.fetch(Rows::Of(&ids), ids.len())?;
    }
    let mut fetched = fetched.into_iter().peekable();
    for next in waiting.drain(..) {
        let record = match next {
            Next::Record(record) => Some(record),
            Next::At((_, id)) => fetched.next_if(|record| record.id == id),
        };
        if !reading.is_full() {
            reading.records.extend(record);
        }
    }
    Ok(())
}

struct Merge<'a, 'b> {
    reading: &'a mut Reading<'b>,
    sources: Vec<Source>,
}

impl Merge<'_, '_> {
    fn next(&mut self) -> Result<Option<Next>, StoreError> {
        loop {
            let is_descending = self.reading.scan.is_descending();
            let bounds = self.sources.iter().enumerate();
            let bounds = bounds.filter_map(|(index, source)| Some((source.bound()?, index)));
            let first = if is_descending { bounds.max() } else { bounds.min() };
            let Some((at, index)) = first else {
                return Ok(None);
            };
            match &mut self.sources[index] {
                Source::Closed { run, .. } => {
                    let run = *run;
                    self.sources[index] = self.open(&run)?;
                }
                Source::Cursor { .. } => {
                    self.advance(index)?;
                    return Ok(Some(Next::At(at)));
                }
                Source::Records(records) => return Ok(records.pop().map(Next::Record)),
            }
        }
    }

    fn open(&mut self, run: &Run) -> Result<Source, StoreError> {
        let set = self.find(run)?;
        if let Some(set) = &set
            && set.len() <= FEW_IDS
        {
            return self.fetch_few(set.clone());
        }
        let reading = &self.reading;
        let is_descending = reading.scan.is_descending();
        let from = reading.scan.position.map(|at| (at.timestamp, at.id));
        let range = probe::time_range(&terms::window(reading.scan.filter), from, is_descending);
        let cursor = TimeCursor::new(run, range, is_descending);
        self.begin(Box::new(cursor), set)
    }

    /// Finds the run's events that may pass the filter; `None` for all.
    fn find(&mut self, run: &Run) -> Result<Option<IdSet>, StoreError> {
        let reading = &mut *self.reading;
        let mut dimensions = reading.dimensions.clone();
        dimensions.retain(|dimension| !dimension.is_time);
        let of = std::slice::from_ref(run);
        let order = probe::cheapest_first(reading.connection, of, &dimensions, reading.deadline)?;
        let mut all: Option<IdSet> = None;
        for choice in order.into_iter().flatten() {
            if all.as_ref().is_some_and(|set| set.len() <= FEW_IDS) {
                break;
            }
            let dimension = &dimensions[choice.dimension];
            let found = probe::find(reading.connection, of, dimension, reading.deadline)?;
            for set in found {
                match &mut all {
                    Some(all) => all.intersect(&set),
                    None => all = Some(set),
                }
            }
        }
        Ok(all)
    }

    /// Fetches the records of few events, which the merge will need.
    fn fetch_few(&mut self, mut set: IdSet) -> Result<Source, StoreError> {
        let ids = set.take(FEW_IDS, false);
        if ids.is_empty() {
            return Ok(Source::Records(Vec::new()));
        }
        let mut records = self.reading.fetch(Rows::Of(&ids), self.reading.limit)?;
        records.reverse();
        Ok(Source::Records(records))
    }

    fn begin(
        &mut self,
        mut cursor: Box<TimeCursor>,
        set: Option<IdSet>,
    ) -> Result<Source, StoreError> {
        let next = self.next_of(&mut cursor, set.as_ref())?;
        Ok(match next {
            Some(next) => Source::Cursor { cursor, set, next },
            None => Source::Records(Vec::new()),
        })
    }

    fn advance(&mut self, index: usize) -> Result<(), StoreError> {
        let source = std::mem::replace(&mut self.sources[index], Source::Records(Vec::new()));
        if let Source::Cursor { cursor, set, .. } = source {
            self.sources[index] = self.begin(cursor, set)?;
        }
        Ok(())
    }

    fn next_of(
        &mut self,
        cursor: &mut TimeCursor,
        set: Option<&IdSet>,
    ) -> Result<Option<TimePosition>, StoreError> {
        let scan = self.reading.scan;
        let is_beyond = |position: TimePosition| {
            scan.position.is_none_or(|at| {
                let at = (at.timestamp, at.id);
                if scan.is_descending() { position < at } else { position > at }
            })
        };
        let log = self.reading.log;
        while let Some(position) = cursor.next(self.reading.connection, self.reading.deadline)? {
            let is_there = log.contains(position.1);
            if is_there && is_beyond(position) && set.is_none_or(|set| set.contains(position.1)) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }
}
