//! Ranges of keys in several runs at once: their blocks, and estimates of their sizes.
//!
//! One query to PostgreSQL covers all of them, because a round trip takes longer than a look-up.
//! SQLite has no round trips, so each range is a query of its own.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Integer};

use super::runs;
use super::tables::Run;
use super::terms::KeyRange;
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::scan::Deadline;

/// Blocks read at a time for each run and range: 128 KiB.
const BLOCKS_AT_ONCE: i64 = 32;

/// Ranges, each in one run, of one query: 4 MiB of blocks at most.
const AT_ONCE: usize = 32;

/// The number of runs to query at once, with that many ranges each.
pub(super) fn runs_at_once(connection: &AnyConnection, ranges: usize) -> usize {
    match connection {
        AnyConnection::Sqlite(_) => 1,
        AnyConnection::Postgres(_) => (AT_ONCE / ranges.max(1)).max(1),
    }
}

/// Passes on each block that may hold entries of a run and range, with the indexes of run and range
/// in the slices. In any order.
pub(super) fn blocks_of(
    connection: &mut AnyConnection,
    of: &[Run],
    ranges: &[KeyRange],
    deadline: Deadline,
    mut visit: impl FnMut(usize, usize, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for (at, some) in chunks(of, ranges) {
        deadline.check()?;
        some_blocks_of(connection, of, some, |run, range, entries| {
            visit(run, at + range, entries)
        })?;
    }
    Ok(())
}

/// Splits the ranges into chunks, each with the index of its first range.
fn chunks<'a>(of: &[Run], ranges: &'a [KeyRange]) -> impl Iterator<Item = (usize, &'a [KeyRange])> {
    let at_once = (AT_ONCE / of.len().max(1)).max(1);
    ranges.chunks(at_once).enumerate().map(move |(number, some)| (number * at_once, some))
}

fn some_blocks_of(
    connection: &mut AnyConnection,
    of: &[Run],
    ranges: &[KeyRange],
    mut visit: impl FnMut(usize, usize, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    // For each run and range: the number of blocks passed on, and the start of the last one.
    let mut shown: Vec<(i64, Vec<u8>)> = vec![(0, Vec::new()); of.len() * ranges.len()];
    let mut show = |run: usize, range: usize, first_key: Vec<u8>, entries: &[u8]| {
        let (count, last) = &mut shown[run * ranges.len() + range];
        *count += 1;
        if *last < first_key {
            *last = first_key;
        }
        visit(run, range, entries)
    };
    match connection {
        AnyConnection::Postgres(postgres) => {
            let ranges = RangesInRuns::new(of, ranges);
            let blocks: Vec<(i64, i64, Vec<u8>, Vec<u8>)> =
                BlocksOf { ranges, limit: BLOCKS_AT_ONCE }.load(postgres)?;
            for (run, range, first_key, entries) in blocks {
                show(number(run), number(range), first_key, &entries)?;
            }
        }
        AnyConnection::Sqlite(_) => {
            for (run, range) in pairs(of, ranges) {
                let KeyRange { from, to } = &ranges[range];
                let blocks = runs::blocks_from(connection, &of[run], from, to, BLOCKS_AT_ONCE)?;
                for (first_key, entries) in blocks {
                    show(run, range, first_key, &entries)?;
                }
            }
        }
    }
    for ((run, range), (mut count, mut last)) in pairs(of, ranges).zip(shown) {
        while count == BLOCKS_AT_ONCE {
            let to = &ranges[range].to;
            let more = runs::blocks_between(connection, &of[run], &last, to, BLOCKS_AT_ONCE)?;
            count = i64::try_from(more.len()).unwrap_or(i64::MAX);
            for (first_key, entries) in more {
                visit(run, range, &entries)?;
                last = first_key;
            }
        }
    }
    Ok(())
}

/// For each run and each range, the number of blocks that begin in it: an estimate of its size.
pub(super) fn counts_of(
    connection: &mut AnyConnection,
    of: &[Run],
    ranges: &[KeyRange],
    deadline: Deadline,
) -> Result<Vec<Vec<i64>>, StoreError> {
    let mut counts = vec![vec![0; ranges.len()]; of.len()];
    for (at, some) in chunks(of, ranges) {
        deadline.check()?;
        match connection {
            AnyConnection::Postgres(postgres) => {
                let all: Vec<(i64, i64, i64)> =
                    CountsOf { ranges: RangesInRuns::new(of, some) }.load(postgres)?;
                for (run, range, count) in all {
                    counts[number(run)][at + number(range)] = count;
                }
            }
            AnyConnection::Sqlite(_) => {
                for (run, range) in pairs(of, some) {
                    let KeyRange { from, to } = &some[range];
                    counts[run][at + range] = runs::count_between(connection, &of[run], from, to)?;
                }
            }
        }
    }
    Ok(counts)
}

fn pairs(of: &[Run], ranges: &[KeyRange]) -> impl Iterator<Item = (usize, usize)> {
    let count = ranges.len();
    (0..of.len()).flat_map(move |run| (0..count).map(move |range| (run, range)))
}

/// The index in a slice for an SQL ordinality, which counts from 1.
fn number(ordinality: i64) -> usize {
    usize::try_from(ordinality - 1).unwrap_or(usize::MAX)
}

/// Runs of one log, and ranges of keys, as SQL arrays.
struct RangesInRuns<'a> {
    tenant: i32,
    runs: Vec<i64>,
    from: Vec<&'a [u8]>,
    to: Vec<&'a [u8]>,
}

impl<'a> RangesInRuns<'a> {
    fn new(of: &[Run], ranges: &'a [KeyRange]) -> Self {
        RangesInRuns {
            tenant: of.first().map_or(0, |run| run.tenant_id),
            runs: of.iter().map(|run| run.number).collect(),
            from: ranges.iter().map(|range| range.from.as_slice()).collect(),
            to: ranges.iter().map(|range| range.to.as_slice()).collect(),
        }
    }

    fn write<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(" FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.runs)?;
        out.push_sql(") WITH ORDINALITY AS of_run (run, place) CROSS JOIN unnest(");
        out.push_bind_param::<Array<Binary>, _>(&self.from)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Binary>, _>(&self.to)?;
        out.push_sql(") WITH ORDINALITY AS range (first, last, place) CROSS JOIN LATERAL (SELECT ");
        Ok(())
    }

    fn of_tenant<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(" FROM index_blocks WHERE run = of_run.run AND tenant_id = ");
        out.push_bind_param::<Integer, _>(&self.tenant)
    }
}

struct BlocksOf<'a> {
    ranges: RangesInRuns<'a>,
    limit: i64,
}

impl QueryFragment<Pg> for BlocksOf<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT of_run.place, range.place, first_key, entries");
        self.ranges.write(&mut out)?;
        out.push_sql("first_key, entries");
        self.ranges.of_tenant(&mut out)?;
        // Starts at the block that contains the start of the range.
        out.push_sql(" AND first_key >= coalesce((SELECT first_key");
        self.ranges.of_tenant(&mut out)?;
        out.push_sql(
            " AND first_key <= range.first ORDER BY first_key DESC LIMIT 1), range.first)",
        );
        out.push_sql(" AND first_key < range.last ORDER BY first_key LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") AS found");
        Ok(())
    }
}

struct CountsOf<'a> {
    ranges: RangesInRuns<'a>,
}

impl QueryFragment<Pg> for CountsOf<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT of_run.place, range.place, found.count");
        self.ranges.write(&mut out)?;
        out.push_sql("count(*) AS count");
        self.ranges.of_tenant(&mut out)?;
        out.push_sql(" AND first_key >= range.first AND first_key < range.last) AS found");
        Ok(())
    }
}

impl Query for BlocksOf<'_> {
    type SqlType = (BigInt, BigInt, Binary, Binary);
}
impl QueryId for BlocksOf<'_> {
    type QueryId = BlocksOf<'static>;
}
impl RunQueryDsl<PgConnection> for BlocksOf<'_> {}

impl Query for CountsOf<'_> {
    type SqlType = (BigInt, BigInt, BigInt);
}
impl QueryId for CountsOf<'_> {
    type QueryId = CountsOf<'static>;
}
impl RunQueryDsl<PgConnection> for CountsOf<'_> {}
