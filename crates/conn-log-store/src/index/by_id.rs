//! Lists in the order of the log: run after run, and within a run no more looked up than is worth it.
//!
//! Rows are tried before keys are looked up. A filter that lets much through has its page by then; one
//! that lets little through has few rows to fetch once its keys are known. So work is bounded
//! whether a filter is dense or not, and no statistics are needed.

use super::id_set::IdSet;
use super::list::Reading;
use super::small_in_tests;
use super::tables::Run;
use super::{Span, probe};
use crate::error::StoreError;
use crate::scan::Rows;

/// Ids tried one by one before a run's keys are looked up: a tenth of a millisecond.
const TRIED_IDS: usize = small_in_tests(512, 3);

/// Going on one by one is worth it as long as the page is likely full within this many ids: as long
/// as a look at a dense key of a large run takes.
const DENSE_IDS: usize = small_in_tests(8_192, 20);

/// A set this small is fetched: narrowing it takes longer.
const FEW_IDS: usize = small_in_tests(128, 2);

/// Rows fetched by id at a time.
const FETCHED_IDS_MAX: usize = small_in_tests(512, 7);

pub(super) fn read(reading: &mut Reading<'_>, runs: &[Run], tail: Span) -> Result<(), StoreError> {
    let is_descending = reading.scan.is_descending();
    let wanted = match reading.scan.position {
        None => Span::ALL,
        Some(at) if is_descending => Span { first: 1, last: at.id.saturating_sub(1) },
        Some(at) => Span { first: at.id.saturating_add(1), last: i64::MAX },
    };
    let wanted = wanted.and(Span { first: 1, last: reading.scan.last.unwrap_or(i64::MAX) });
    let mut is_sparse = false;
    let mut runs: Vec<&Run> = runs.iter().collect();
    if is_descending {
        runs.reverse();
        walk_all(reading, tail.and(wanted))?;
    }
    for run in runs {
        let span = Span { first: run.first_id, last: run.last_id }.and(wanted);
        if reading.is_full() {
            return Ok(());
        }
        if !span.is_empty() && reading.overlaps(run) {
            read_run(reading, run, span, &mut is_sparse)?;
        }
    }
    if !is_descending {
        walk_all(reading, tail.and(wanted))?;
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

fn read_run(
    reading: &mut Reading<'_>,
    run: &Run,
    mut span: Span,
    is_sparse: &mut bool,
) -> Result<(), StoreError> {
    reading.deadline.check()?;
    let covers = reading.covers(run);
    let is_useful = |is_time: bool| !(is_time && covers);
    if !reading.dimensions.iter().any(|dimension| is_useful(dimension.is_time)) {
        return walk_all(reading, span);
    }
    while !*is_sparse && !span.is_empty() && !reading.is_full() {
        let tried =
            span.cut(i64::try_from(TRIED_IDS).unwrap_or(i64::MAX), reading.scan.is_descending());
        let found = reading.fetch(Rows::Within(tried), reading.missing())?;
        let count = found.len();
        reading.records.extend(found);
        let tried = usize::try_from(tried.len()).unwrap_or(usize::MAX);
        *is_sparse = reading.missing().saturating_mul(tried) > DENSE_IDS.saturating_mul(count);
    }
    if span.is_empty() || reading.is_full() {
        return Ok(());
    }
    let mut costs = Vec::new();
    for (index, dimension) in reading.dimensions.iter().enumerate() {
        if is_useful(dimension.is_time) {
            costs.push((probe::cost(reading.connection, run, dimension)?, index));
        }
    }
    costs.sort_unstable();
    let mut dimensions = costs.into_iter().map(|(_, index)| index);
    let Some(first) = dimensions.next() else {
        return Ok(());
    };
    let mut set = probe::find(reading.connection, run, &reading.dimensions[first])?;
    set.keep(span);
    for index in dimensions {
        if set.len() <= FEW_IDS || is_promising(reading, &mut set)? {
            break;
        }
        reading.deadline.check()?;
        set.intersect(&probe::find(reading.connection, run, &reading.dimensions[index])?);
    }
    fetch_all(reading, &mut set)
}

/// Tries some of a set; whether so many of them are wanted that narrowing it is not worth it.
fn is_promising(reading: &mut Reading<'_>, set: &mut IdSet) -> Result<bool, StoreError> {
    let found = fetch_some(reading, set, FEW_IDS)?;
    Ok(reading.missing() <= found.saturating_mul(8))
}

fn fetch_all(reading: &mut Reading<'_>, set: &mut IdSet) -> Result<(), StoreError> {
    let mut count = reading.missing().clamp(FEW_IDS, FETCHED_IDS_MAX);
    while set.len() > 0 && !reading.is_full() {
        fetch_some(reading, set, count)?;
        count = FETCHED_IDS_MAX;
    }
    Ok(())
}

fn fetch_some(
    reading: &mut Reading<'_>,
    set: &mut IdSet,
    count: usize,
) -> Result<usize, StoreError> {
    let ids = set.take(count, reading.scan.is_descending());
    let found = reading.fetch(Rows::Of(&ids), reading.missing())?;
    let count = found.len();
    reading.records.extend(found);
    Ok(count)
}
