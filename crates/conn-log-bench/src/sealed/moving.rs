//! Events from the rows of a log into blocks beside them, as a sealer would move them; and the reads of
//! today's rows, to compare with.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use conn_log_core::{EventFilter, EventQuery, Order, Position, Start, Timestamp};
use conn_log_store::{DatabaseUrl, Store, StoreOptions, Submission, TenantId};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::block;
use super::candidates::Candidate;
use super::codec::{Codec, Item};
use super::outcome::Times;
use super::source::Source;
use super::table::{self, BLOCKS_AT_ONCE};
use super::trial::{PAGE, timed, written_bytes};
use crate::events::Random;

diesel::table! {
    events (row_id) {
        row_id -> BigInt,
        leaf_hash -> Binary,
    }
}

const TENANT: TenantId = TenantId::DEFAULT;

/// Events of a submission.
const BATCH: usize = 1_000;

/// Events that an export reads at once.
const EXPORT_PAGE: usize = 250;

/// Repeats of a read.
const TIMES: usize = 300;

pub(super) fn run(source: &Source, candidate: Candidate, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("log.sqlite");
    for file in [&path, &folder.join("log.sqlite-derived")] {
        table::remove(file)?;
    }
    let url: DatabaseUrl = format!("sqlite://{}", path.display()).parse()?;
    let options = StoreOptions { projections: false, indexing: false, ..StoreOptions::new(url) };
    let store = Store::open(options)?;
    let (wrote, begun) = (written_bytes()?, cpu_seconds()?);
    let size = fill(&store, source)?;
    println!("| today's rows, {size} events | |");
    println!("| --- | ---: |");
    let figure = |name: &str, value: String| println!("| {name} | {value} |");
    figure("bytes written an event by the append alone", each(written_bytes()? - wrote, size));
    figure("CPU of making and appending, s a million", million(cpu_seconds()? - begun, size));
    time_reads(&store, size, figure)?;

    let mut mover = Mover::open(&path, candidate)?;
    for (way, last) in [(Way::Ranges, size / 2), (Way::Whole, size)] {
        let (wrote, begun, moved) = (written_bytes()?, cpu_seconds()?, mover.after);
        let bytes = mover.run(&store, way, last)?;
        let moved = mover.after - moved;
        println!("| half of the events, {} | |", way.name());
        figure("bytes of blocks an event", each(bytes, moved));
        figure("bytes written an event by moving it", each(written_bytes()? - wrote, moved));
        figure("CPU of moving, s a million", million(cpu_seconds()? - begun, moved));
    }
    figure("pages free for the next events, bytes an event", each(mover.free_bytes()?, size));
    anyhow::ensure!(store.close(), "the store could not be closed");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn each(bytes: u64, events: i64) -> String {
    format!("{:.1}", bytes as f64 / events as f64)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn million(seconds: f64, events: i64) -> String {
    format!("{:.2}", seconds * 1e6 / events as f64)
}

/// The processor's time that this process has taken.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let words: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks: f64 = [11, 12].into_iter().filter_map(|at| words.get(at)?.parse::<f64>().ok()).sum();
    // Linux counts hundredths on all its usual machines.
    Ok(ticks / 100.0)
}

fn fill(store: &Store, source: &Source) -> anyhow::Result<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut items = source.items(false);
    loop {
        let event = |item: anyhow::Result<Item>| Ok(item?.record.event);
        let events: Vec<_> =
            items.by_ref().take(BATCH).map(event).collect::<anyhow::Result<_>>()?;
        if events.is_empty() {
            return Ok(store.log_size(TENANT)?);
        }
        let submission =
            Submission { tenant: TENANT, events, atomic: false, claim: None, rejects: None };
        runtime.block_on(store.append(submission)).map_err(|_| anyhow::anyhow!("refused"))?;
    }
}

fn page_after(id: i64, limit: usize) -> EventQuery {
    EventQuery {
        filter: EventFilter::default(),
        order: Order::IdAscending,
        start: Start::After(Position { timestamp: Timestamp::EPOCH, id }),
        limit,
    }
}

fn time_reads(store: &Store, size: i64, figure: impl Fn(&str, String)) -> anyhow::Result<()> {
    let mut random = Random::new(7);
    let mut id = || 1 + i64::try_from(random.below(size.unsigned_abs())).unwrap_or(0);
    let one = |id: i64| {
        let record = store.event_get(TENANT, id)?;
        black_box(record.map(|record| record.to_json()));
        anyhow::Ok(())
    };
    let [mut single, mut page, mut scattered] = [(); 3].map(|()| Times::default());
    for _ in 0..TIMES {
        let (first, ids) = (id(), (0..PAGE).map(|_| id()).collect::<Vec<_>>());
        single.add(timed(|| one(first))?);
        page.add(timed(|| {
            let page = store.event_list(TENANT, &page_after(first - 1, PAGE))?;
            page.records.iter().for_each(|record| _ = black_box(record.to_json()));
            Ok(())
        })?);
        scattered.add(timed(|| ids.iter().try_for_each(|id| one(*id)))?);
    }
    figure("one event, in memory, p50 / p99, ms", single.text());
    figure("100 neighbours, in memory, p50 / p99, ms", page.text());
    figure("100 scattered, one after the other, in memory, p50 / p99, ms", scattered.text());
    let begun = Instant::now();
    let mut after = 0;
    while after < size {
        let page = store.event_list_to(TENANT, &page_after(after, EXPORT_PAGE), size)?;
        page.records.iter().for_each(|record| _ = black_box(record.to_json()));
        after = page.records.last().map_or(size, |record| record.id);
    }
    let rate = 1.0 / begun.elapsed().as_secs_f64();
    figure("exporting all, million events/s", format!("{:.2}", rate / each_millionth(size)));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn each_millionth(events: i64) -> f64 {
    1e6 / events as f64
}

struct Mover {
    connection: SqliteConnection,
    codec: Box<dyn Codec>,
    /// Events of a row of the table of blocks.
    row: usize,
    /// The row of the first event.
    first_row: i64,
    /// The last event that was moved.
    after: i64,
}

/// How rows go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Each transaction deletes those that it has moved. SQLite then writes each page that gets empty.
    Ranges,
    /// All at the end, as of a table that holds no other rows. SQLite then writes none of their pages.
    Whole,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Ranges => "rows deleted by ranges",
            Way::Whole => "the table emptied whole",
        }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl Mover {
    fn open(path: &Path, candidate: Candidate) -> anyhow::Result<Self> {
        let name = path.to_str().ok_or_else(|| anyhow::anyhow!("a path that is no text"))?;
        let mut connection = SqliteConnection::establish(name)?;
        connection.batch_execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 30000;
             PRAGMA cache_size = -16384",
        )?;
        connection.batch_execute(table::SCHEMA)?;
        let first_row = events::table.select(events::row_id).order(events::row_id);
        let first_row = first_row.first(&mut connection)?;
        let codec = candidate.codec(&[])?;
        Ok(Mover { connection, codec, row: candidate.row, first_row, after: 0 })
    }

    /// Moves the events up to `last`, or some beyond it. Gives the bytes of their blocks.
    fn run(&mut self, store: &Store, way: Way, last: i64) -> anyhow::Result<u64> {
        let (mut bytes, mut random) = (0, Random::new(5));
        while self.after < last {
            let (first_id, items) = (self.after + 1, self.take(store)?);
            let row_of = |id: i64| self.first_row + id - 1;
            let these =
                events::table.filter(events::row_id.between(row_of(first_id), row_of(self.after)));
            let hashes: Vec<Vec<u8>> =
                these.order(events::row_id).select(events::leaf_hash).load(&mut self.connection)?;
            let mut rows = Vec::new();
            for (some, hashes) in items.chunks(self.row).zip(hashes.chunks(self.row)) {
                rows.push(self.seal(some.to_vec(), hashes, &mut random)?);
            }
            bytes += rows.iter().map(|row| row.body.len() as u64).sum::<u64>();
            self.connection.immediate_transaction(|connection| {
                for row in &rows {
                    diesel::insert_into(table::blocks::table).values(row).execute(connection)?;
                }
                if way == Way::Ranges {
                    diesel::delete(these).execute(connection)?;
                }
                Ok::<_, anyhow::Error>(())
            })?;
        }
        if way == Way::Whole {
            diesel::delete(events::table).execute(&mut self.connection)?;
        }
        self.connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(bytes)
    }

    /// The events of the next transaction.
    fn take(&mut self, store: &Store) -> anyhow::Result<Vec<Item>> {
        let mut items = Vec::new();
        while items.len() < self.row * BLOCKS_AT_ONCE {
            let page = store.event_list(TENANT, &page_after(self.after, self.row))?;
            let Some(last) = page.records.last() else { break };
            self.after = last.id;
            items.extend(page.records.into_iter().map(|record| Item { record, nonce: None }));
        }
        Ok(items)
    }

    /// Seals events only if the block gives back the leaf hashes of their rows. Their nonces come with it.
    fn seal(
        &mut self,
        mut items: Vec<Item>,
        hashes: &[Vec<u8>],
        random: &mut Random,
    ) -> anyhow::Result<table::BlockRow> {
        for item in &mut items {
            let halves = [random.below(u64::MAX), random.below(u64::MAX)].map(u64::to_le_bytes);
            item.nonce = halves.as_flattened().try_into().ok();
        }
        let body = self.codec.seal(&items)?;
        let opened = self.codec.open(&body, super::codec::Wanted::All)?;
        let leaves: Vec<[u8; 32]> = opened.iter().map(|item| item.record.leaf_hash()).collect();
        anyhow::ensure!(
            leaves.iter().map(<[u8; 32]>::as_slice).eq(hashes),
            "a block does not give back its events"
        );
        Ok(block::row(&items, &leaves, body))
    }

    fn free_bytes(&mut self) -> anyhow::Result<u64> {
        let query = "SELECT freelist_count * page_size AS number
            FROM pragma_freelist_count, pragma_page_size";
        let number: Number = diesel::sql_query(query).get_result(&mut self.connection)?;
        Ok(number.number.unsigned_abs())
    }
}
