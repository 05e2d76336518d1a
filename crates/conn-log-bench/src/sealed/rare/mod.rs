//! What finds a rare value of the metadata in sealed events: looking into every block, a small filter for
//! each block or for some blocks, or terms in sorted runs as the index has them.

mod filters;
mod terms;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;
use std::time::{Duration, Instant};

use self::filters::{Filters, Grain};
use self::terms::Terms;
use super::block;
use super::codec::{Codec as _, Item};
use super::columns::Columns;
use super::outcome::Times;
use super::source::{RARE, Source};
use super::table::{BLOCKS_AT_ONCE, Table};
use super::trial::timed;

const BLOCK: usize = 256;
const BLOCK_IDS: i64 = 256;

/// One event in so many has the rare value.
pub(super) const RARE_ONE_IN: u64 = 10_000;

/// Events of a list.
const PAGE: usize = 100;

/// Repeats of a list.
const TIMES: usize = 20;

/// A number for a member of metadata and its value, as it is written.
fn term(name: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.write_u8(0);
    hasher.write(value.as_bytes());
    hasher.finish()
}

/// The terms of an event's metadata: each of its members but the session, which the index has already.
fn terms_of(item: &Item, are_numbers_wanted: bool, out: &mut Vec<u64>) -> anyhow::Result<()> {
    let fields = item.record.event.fields();
    let members: std::collections::HashMap<&str, &serde_json::value::RawValue> =
        serde_json::from_str(&fields.metadata)?;
    for (name, value) in members {
        let value = value.get();
        if name != "session_id" && (are_numbers_wanted || value.starts_with('"')) {
            out.push(term(name, value));
        }
    }
    Ok(())
}

struct Searched {
    blocks: Table,
    codec: Columns,
    /// All filters and terms, each with its name and its bytes.
    filters: Vec<(String, Filters)>,
    terms: Vec<(String, Terms)>,
    last: i64,
}

/// Fills a table, and times the newest events of a value that is rare, and of one that no event has.
pub(super) fn run(source: &Source, folder: &Path) -> anyhow::Result<()> {
    let mut searched = Searched::fill(source, folder)?;
    println!(
        "| newest {PAGE} by metadata | bytes an event | making it, µs an event | one event in {RARE_ONE_IN} has it, p50 / p99, ms | none has it |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    let by_blocks = |value: &str, searched: &mut Searched| searched.by_blocks(value);
    searched.report("looking into every block", (0, Duration::ZERO), by_blocks)?;
    for at in 0..searched.filters.len() {
        let (name, filters) = &searched.filters[at];
        let (name, cost) = (name.clone(), (filters.bytes, filters.making));
        searched.report(&name, cost, |value, searched| searched.by_filters(at, value))?;
    }
    for at in 0..searched.terms.len() {
        let (name, terms) = &searched.terms[at];
        let (name, cost) = (name.clone(), (terms.bytes, terms.making));
        searched.report(&name, cost, |value, searched| searched.by_terms(at, value))?;
    }
    Ok(())
}

impl Searched {
    fn fill(source: &Source, folder: &Path) -> anyhow::Result<Self> {
        let file = |name: &str| folder.join(format!("{name}.sqlite"));
        let mut searched = Searched {
            blocks: Table::create(&file("rare-blocks"))?,
            codec: Columns::new(3, 0, &[])?,
            filters: vec![
                (
                    "a filter for each block".to_owned(),
                    Filters::create(&file("each"), Grain::Block, true)?,
                ),
                (
                    "the same without numbers".to_owned(),
                    Filters::create(&file("texts"), Grain::Block, false)?,
                ),
                (
                    "a filter for 16 blocks".to_owned(),
                    Filters::create(&file("some"), Grain::Group, true)?,
                ),
            ],
            terms: vec![
                ("terms in runs".to_owned(), Terms::create(&file("terms"), true)?),
                ("the same without numbers".to_owned(), Terms::create(&file("text-terms"), false)?),
            ],
            last: 0,
        };
        let (mut items, mut rows) = (source.items(true), Vec::new());
        loop {
            let some: Vec<Item> = items.by_ref().take(BLOCK).collect::<anyhow::Result<_>>()?;
            if some.is_empty() || rows.len() == BLOCKS_AT_ONCE {
                searched.blocks.insert(&rows)?;
                rows.clear();
            }
            if some.is_empty() {
                break;
            }
            for (_, filters) in &mut searched.filters {
                filters.add(&some)?;
            }
            for (_, terms) in &mut searched.terms {
                terms.add(&some)?;
            }
            searched.last = some.last().map_or(0, |item| item.record.id);
            rows.push(block::row(&some, &[], searched.codec.seal(&some)?));
        }
        searched.blocks.checkpoint()?;
        searched.filters.iter_mut().try_for_each(|(_, filters)| filters.finish())?;
        searched.terms.iter_mut().try_for_each(|(_, terms)| terms.finish())?;
        Ok(searched)
    }

    fn report(
        &mut self,
        name: &str,
        (bytes, making): (usize, Duration),
        list: impl Fn(&str, &mut Self) -> anyhow::Result<Vec<i64>>,
    ) -> anyhow::Result<()> {
        let expected = self.by_blocks(RARE.1)?;
        let (mut rare, mut none) = (Times::default(), Times::default());
        for _ in 0..TIMES {
            rare.add(timed(|| {
                anyhow::ensure!(list(RARE.1, self)? == expected, "{name} finds other events");
                Ok(())
            })?);
            none.add(timed(|| {
                anyhow::ensure!(list("E0000", self)?.is_empty(), "{name} finds what no event has");
                Ok(())
            })?);
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
        let (bytes, micros) =
            (bytes as f64 / self.last as f64, making.as_secs_f64() * 1e6 / self.last as f64);
        println!("| {name} | {bytes:.1} | {micros:.2} | {} | {} |", rare.text(), none.text());
        Ok(())
    }

    /// Adds those of these ids that have a value, the newest first. Tells whether there are
    /// enough.
    fn add_from(
        &mut self,
        (first, last): (i64, i64),
        value: &str,
        found: &mut Vec<i64>,
    ) -> anyhow::Result<bool> {
        let member = format!("\"{}\":\"{value}\"", RARE.0);
        for row in self.blocks.within(first, last)?.iter().rev() {
            let items = self.codec.open_having(&row.body, RARE.0, value)?;
            let has = |item: &&Item| item.record.event.fields().metadata.contains(&member);
            let ids = items.iter().rev().filter(has).map(|item| item.record.id);
            // A block may reach beyond what is asked for.
            found.extend(ids.filter(|id| (first..=last).contains(id)));
            if found.len() >= PAGE {
                found.truncate(PAGE);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn by_blocks(&mut self, value: &str) -> anyhow::Result<Vec<i64>> {
        let (mut found, mut last) = (Vec::new(), self.last);
        while last > 0 {
            let first = last.saturating_sub(16 * BLOCK_IDS).max(0) + 1;
            if self.add_from((first, last), value, &mut found)? {
                break;
            }
            last = first - 1;
        }
        Ok(found)
    }

    fn by_filters(&mut self, at: usize, value: &str) -> anyhow::Result<Vec<i64>> {
        let term = term(RARE.0, &format!("\"{value}\""));
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        while let Some((first, spans)) = self.filters[at].1.before(before, term)? {
            for span in spans.into_iter().rev() {
                if self.add_from(span, value, &mut found)? {
                    return Ok(found);
                }
            }
            before = first;
        }
        Ok(found)
    }

    fn by_terms(&mut self, at: usize, value: &str) -> anyhow::Result<Vec<i64>> {
        let term = term(RARE.0, &format!("\"{value}\""));
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        while let Some((first, ids)) = self.terms[at].1.before(before, term)? {
            // Several of one block are found together.
            let blocks: BTreeSet<i64> = ids.iter().map(|id| block_of(*id)).collect();
            for block in blocks.into_iter().rev() {
                if self.add_from((block, block + BLOCK_IDS - 1), value, &mut found)? {
                    return Ok(found);
                }
            }
            before = first;
        }
        Ok(found)
    }
}

/// The first id of an id's block. Ids have no gap here.
fn block_of(id: i64) -> i64 {
    (id - 1) / BLOCK_IDS * BLOCK_IDS + 1
}

/// The time of some work, added to a sum.
fn clocked<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    *sum += begun.elapsed();
    done
}
