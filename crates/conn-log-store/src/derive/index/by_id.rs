//! Lists in the order of the log: run after run, with only as many key look-ups as are worth it.
//!
//! Some rows are read before keys are looked up. If the filter lets many events through, these rows
//! fill the page; if it lets few through, the keys leave only a few rows to fetch. So the work is
//! bounded for both, and no statistics are needed. Once no rows are tried any more, a query to a
//! server covers several runs, and more of them each time.

use std::collections::BTreeMap;

use super::id_set::IdSet;
use super::list::{Reading, Tail};
use super::probe::{self, Choice};
use super::ranges;
use super::tables::Run;
use crate::error::StoreError;
use crate::log::scan::Rows;
use crate::log::span::Span;

/// Ids read one by one before a run's keys are looked up: a tenth of a millisecond.
const TRIED_IDS: usize = 512;

/// Reading one by one is worth it as long as the page is likely full within this many ids: they
/// take as long as a look-up of a frequent key in a large run.
const DENSE_IDS: usize = 8_192;

/// A set with this few ids is fetched: narrowing it takes longer.
const FEW_IDS: usize = 128;

/// The same limit if narrowing reads only a few blocks: in a file of gigabytes, fetching a page of
/// rows, each on a page of its own, takes several times as long as reading these blocks.
const FEWER_IDS: usize = 32;
const FEW_BLOCKS: i64 = 32;

/// Rows fetched by id at a time: as many as are missing, or as many as likely give these.
const FETCHED_IDS_MIN: usize = 32;
const FETCHED_IDS_MAX: usize = 512;

/// The part of a run that the list needs.
#[derive(Clone, Copy)]
struct Part {
    run: Run,
    span: Span,
}

pub(super) fn read(reading: &mut Reading<'_>, runs: &[Run], tail: Tail) -> Result<(), StoreError> {
    let is_descending = reading.scan.is_descending();
    let span = match reading.scan.position {
        None => Span::ALL,
        Some(at) if is_descending => Span { first: 1, last: at.id.saturating_sub(1) },
        Some(at) => Span { first: at.id.saturating_add(1), last: i64::MAX },
    };
    let span = span
        .and(reading.log)
        .and(Span { last: reading.scan.last.unwrap_or(i64::MAX), ..Span::ALL });
    let mut parts: Vec<Part> = runs
        .iter()
        .map(|run| Part {
            run: *run,
            span: Span { first: run.first_id, last: run.last_id }.and(span),
        })
        .filter(|part| !part.span.is_empty() && reading.overlaps(&part.run))
        .collect();
    let Tail { span: tail, created } = tail;
    let tail = tail.and(span);
    if is_descending {
        parts.reverse();
        reading.scan.created = created;
        walk_all(reading, tail)?;
    }
    // A tail with few events says little about the filter.
    let is_sparse = is_descending
        && usize::try_from(tail.len()).is_ok_and(|ids| ids >= TRIED_IDS)
        && is_sparse(reading, tail.len(), reading.records.len());
    read_parts(reading, &parts, is_sparse)?;
    if !is_descending {
        reading.scan.created = created;
        walk_all(reading, tail)?;
    }
    Ok(())
}

fn walk_all(reading: &mut Reading<'_>, mut span: Span) -> Result<(), StoreError> {
    while !span.is_empty() && !reading.is_full() {
        let found = reading.walk(&mut span, reading.missing())?;
        reading.records.extend(found);
    }
    Ok(())
}

/// Whether reading one by one is not worth it, if that many ids gave that many records.
fn is_sparse(reading: &Reading<'_>, ids: u64, records: usize) -> bool {
    let ids = usize::try_from(ids).unwrap_or(usize::MAX);
    reading.missing().saturating_mul(ids) > DENSE_IDS.saturating_mul(records)
}

fn read_parts(
    reading: &mut Reading<'_>,
    mut parts: &[Part],
    mut is_sparse: bool,
) -> Result<(), StoreError> {
    let count = reading.dimensions.iter().map(|dimension| dimension.ranges.len()).sum::<usize>();
    let at_once_max = ranges::runs_at_once(reading.connection, count);
    let mut at_once = 1;
    while let Some((part, others)) = parts.split_first() {
        if reading.is_full() {
            return Ok(());
        }
        let mut part = *part;
        reading.look_into(std::iter::once(&part.run));
        if useful(reading, &part.run).next().is_none() {
            walk_all(reading, part.span)?;
            parts = others;
        } else if is_sparse {
            let (some, others) = parts.split_at(at_once.min(parts.len()));
            read_runs(reading, some)?;
            at_once = (at_once * 2).min(at_once_max);
            parts = others;
        } else {
            is_sparse = try_rows(reading, &mut part.span)?;
            if is_sparse && !part.span.is_empty() && !reading.is_full() {
                read_runs(reading, &[part])?;
            }
            parts = others;
        }
    }
    Ok(())
}

/// The dimensions that exclude some events of a run.
fn useful(reading: &Reading<'_>, run: &Run) -> impl Iterator<Item = usize> {
    let covers = reading.covers(run);
    let dimensions = reading.dimensions.iter().enumerate();
    dimensions.filter(move |(_, dimension)| !(dimension.is_time && covers)).map(|(index, _)| index)
}

/// Reads a span one by one as long as it gives enough records; returns whether it gave too few.
fn try_rows(reading: &mut Reading<'_>, span: &mut Span) -> Result<bool, StoreError> {
    while !span.is_empty() && !reading.is_full() {
        let tried =
            span.cut(i64::try_from(TRIED_IDS).unwrap_or(i64::MAX), reading.scan.is_descending());
        let found = reading.fetch(Rows::Within(tried), reading.missing())?;
        let count = found.len();
        reading.records.extend(found);
        if is_sparse(reading, tried.len(), count) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks up the filter's keys in some runs, and fetches the matching rows.
fn read_runs(reading: &mut Reading<'_>, parts: &[Part]) -> Result<(), StoreError> {
    reading.deadline.check()?;
    reading.look_into(parts.iter().map(|part| &part.run));
    let runs: Vec<Run> = parts.iter().map(|part| part.run).collect();
    let mut order =
        probe::cheapest_first(reading.connection, &runs, &reading.dimensions, reading.deadline)?;
    for (order, run) in order.iter_mut().zip(&runs) {
        let useful: Vec<usize> = useful(reading, run).collect();
        order.retain(|choice| useful.contains(&choice.dimension));
    }
    let mut sets = find_first(reading, &runs, &order)?;
    // The ids of runs with few matches, fetched together.
    let mut ids = Vec::new();
    let mut at_once = reading.missing().clamp(FETCHED_IDS_MIN, FETCHED_IDS_MAX);
    for (number, part) in parts.iter().enumerate() {
        if reading.is_full() {
            return Ok(());
        }
        let Some(mut set) = sets.remove(&number) else {
            ids = fetch_ids(reading, ids, 0)?;
            walk_all(reading, part.span)?;
            continue;
        };
        set.keep(part.span);
        let others = order[number].get(1..).unwrap_or_default();
        ids = narrow(reading, &part.run, &mut set, others, ids)?;
        let is_descending = reading.scan.is_descending();
        while set.len() > 0 && !reading.is_full() {
            ids.extend(set.take(at_once.saturating_sub(ids.len()).max(1), is_descending));
            let (tried, before) = (ids.len(), reading.records.len());
            ids = fetch_ids(reading, ids, at_once)?;
            if ids.is_empty() {
                at_once = enough(reading.missing(), tried, reading.records.len() - before);
            }
        }
    }
    fetch_ids(reading, ids, 0)?;
    Ok(())
}

/// The number of ids to fetch for the missing records, if `tried` ids gave `found` records.
fn enough(missing: usize, tried: usize, found: usize) -> usize {
    let likely = missing.saturating_mul(tried).checked_div(found).unwrap_or(2 * tried);
    likely.clamp(FETCHED_IDS_MIN, FETCHED_IDS_MAX)
}

/// The events of each run's first dimension, by the run's number.
fn find_first(
    reading: &mut Reading<'_>,
    runs: &[Run],
    order: &[Vec<Choice>],
) -> Result<BTreeMap<usize, IdSet>, StoreError> {
    let mut sets = BTreeMap::new();
    for (index, dimension) in reading.dimensions.iter().enumerate() {
        let of =
            |number: &usize| order[*number].first().is_some_and(|choice| choice.dimension == index);
        let numbers: Vec<usize> = (0..runs.len()).filter(of).collect();
        if !numbers.is_empty() {
            let of: Vec<Run> = numbers.iter().map(|number| runs[*number]).collect();
            let found = probe::find(reading.connection, &of, dimension, reading.deadline)?;
            sets.extend(numbers.into_iter().zip(found));
        }
    }
    Ok(sets)
}

/// Removes ids that other dimensions do not have, as long as that is worth it. Ids of earlier runs
/// are fetched before any id of the set is tried; returns the remaining ones.
fn narrow(
    reading: &mut Reading<'_>,
    run: &Run,
    set: &mut IdSet,
    others: &[Choice],
    mut ids: Vec<i64>,
) -> Result<Vec<i64>, StoreError> {
    for other in others {
        let is_cheap = other.blocks <= FEW_BLOCKS;
        if set.len() <= if is_cheap { FEWER_IDS } else { FEW_IDS } {
            return Ok(ids);
        }
        if !is_cheap {
            ids = fetch_ids(reading, ids, 0)?;
            if is_promising(reading, set)? {
                return Ok(ids);
            }
        }
        let dimension = &reading.dimensions[other.dimension];
        let of = std::slice::from_ref(run);
        for other in probe::find(reading.connection, of, dimension, reading.deadline)? {
            set.intersect(&other);
        }
    }
    Ok(ids)
}

/// Tries some ids of a set; returns whether so many pass that narrowing the set is not worth it.
fn is_promising(reading: &mut Reading<'_>, set: &mut IdSet) -> Result<bool, StoreError> {
    let before = reading.records.len();
    let ids = set.take(FEW_IDS, reading.scan.is_descending());
    fetch_ids(reading, ids, 0)?;
    Ok(reading.missing() <= (reading.records.len() - before).saturating_mul(8))
}

/// Fetches these ids, unless there are fewer than that; returns the remaining ids.
fn fetch_ids(
    reading: &mut Reading<'_>,
    ids: Vec<i64>,
    count: usize,
) -> Result<Vec<i64>, StoreError> {
    if ids.is_empty() || ids.len() < count || reading.is_full() {
        return Ok(ids);
    }
    let found = reading.fetch(Rows::Of(&ids), reading.missing())?;
    reading.records.extend(found);
    Ok(Vec::new())
}
