//! Terms as the index of the log has its keys: runs of some ten thousand events, sorted, in pages.
//!
//! A term is forty bits of a hash. Each has the ids of its events as differences.

use std::path::Path;
use std::time::Duration;

use diesel::prelude::*;
use integer_encoding::VarInt as _;

use super::filters::create;
use super::{Item, clocked, terms_of};

diesel::table! {
    terms (run, first_term) {
        run -> BigInt,
        first_term -> BigInt,
        body -> Binary,
    }
}

/// Events of a run, as of the second level of the index.
const RUN_EVENTS: usize = 65_536;

/// Bytes of a page.
const PAGE_BYTES: usize = 4_000;

const TERM_BITS: u32 = 40;

pub(super) struct Terms {
    connection: SqliteConnection,
    are_numbers_wanted: bool,
    first_id: i64,
    events: usize,
    /// Terms with the places of their events in the run.
    gathered: Vec<(i64, i64)>,
    pub(super) bytes: usize,
    pub(super) making: Duration,
}

fn short(term: u64) -> i64 {
    (term >> (u64::BITS - TERM_BITS)).cast_signed()
}

impl Terms {
    pub(super) fn create(path: &Path, are_numbers_wanted: bool) -> anyhow::Result<Self> {
        let connection = create(
            path,
            "CREATE TABLE terms (run INTEGER NOT NULL, first_term INTEGER NOT NULL,
                 body BLOB NOT NULL, PRIMARY KEY (run, first_term)) STRICT, WITHOUT ROWID",
        )?;
        Ok(Terms {
            connection,
            are_numbers_wanted,
            first_id: 1,
            events: 0,
            gathered: Vec::new(),
            bytes: 0,
            making: Duration::ZERO,
        })
    }

    pub(super) fn add(&mut self, items: &[Item]) -> anyhow::Result<()> {
        let mut making = self.making;
        clocked(&mut making, || {
            let mut all = Vec::new();
            for item in items {
                all.clear();
                terms_of(item, self.are_numbers_wanted, &mut all)?;
                let place = item.record.id - self.first_id;
                self.gathered.extend(all.iter().map(|term| (short(*term), place)));
            }
            Ok::<_, anyhow::Error>(())
        })?;
        self.making = making;
        self.events += items.len();
        if self.events >= RUN_EVENTS { self.finish() } else { Ok(()) }
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut making = self.making;
        let pages = clocked(&mut making, || {
            gathered.sort_unstable();
            gathered.dedup();
            pages(&gathered)
        });
        self.making = making;
        let run = self.first_id;
        self.connection.immediate_transaction(|connection| {
            for (first_term, body) in pages {
                self.bytes += body.len();
                let row = (terms::first_term.eq(first_term), terms::body.eq(body));
                diesel::insert_into(terms::table)
                    .values((terms::run.eq(run), row))
                    .execute(connection)?;
            }
            Ok::<_, anyhow::Error>(())
        })?;
        self.first_id += i64::try_from(self.events)?;
        self.events = 0;
        Ok(())
    }

    /// The newest run before an id: its first id, and the ids of its events with a term.
    pub(super) fn before(&mut self, id: i64, term: u64) -> anyhow::Result<Option<(i64, Vec<i64>)>> {
        let older = terms::table.filter(terms::run.lt(id)).select(terms::run);
        let run: Option<i64> =
            older.order(terms::run.desc()).first(&mut self.connection).optional()?;
        let Some(run) = run else { return Ok(None) };
        let (term, mut ids, mut up_to) = (short(term), Vec::new(), i64::MAX);
        loop {
            let pages = terms::table.filter(terms::run.eq(run));
            let pages = pages.filter(terms::first_term.le(term).and(terms::first_term.lt(up_to)));
            let page: Option<(i64, Vec<u8>)> = pages
                .order(terms::first_term.desc())
                .select((terms::first_term, terms::body))
                .first(&mut self.connection)
                .optional()?;
            let Some((first_term, body)) = page else { break };
            ids.extend(places(first_term, &body, term)?.into_iter().map(|place| run + place));
            if first_term < term {
                break;
            }
            up_to = first_term;
        }
        ids.sort_unstable();
        Ok(Some((run, ids)))
    }
}

/// Pages of sorted terms. A term that goes on in the next page would begin it again: here the page grows.
fn pages(sorted: &[(i64, i64)]) -> Vec<(i64, Vec<u8>)> {
    let mut pages: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut last = 0;
    for of_term in sorted.chunk_by(|one, other| one.0 == other.0) {
        let term = of_term[0].0;
        if pages.last().is_none_or(|(_, body)| body.len() >= PAGE_BYTES) {
            pages.push((term, Vec::new()));
            last = term;
        }
        let Some((_, body)) = pages.last_mut() else { continue };
        body.extend((term - last).cast_unsigned().encode_var_vec());
        body.extend(of_term.len().encode_var_vec());
        let mut before = 0;
        for (_, place) in of_term {
            body.extend((place - before).cast_unsigned().encode_var_vec());
            before = *place;
        }
        last = term;
    }
    pages
}

/// The places of a term in a page.
fn places(first_term: i64, mut body: &[u8], wanted: i64) -> anyhow::Result<Vec<i64>> {
    let mut number = || {
        let (number, length) = u64::decode_var(body).ok_or_else(|| anyhow::anyhow!("cut off"))?;
        body = &body[length..];
        Ok::<i64, anyhow::Error>(number.cast_signed())
    };
    let mut term = first_term;
    while let Ok(step) = number() {
        term += step;
        let count = number()?;
        let (mut place, mut places) = (0, Vec::new());
        for _ in 0..count {
            place += number()?;
            places.push(place);
        }
        if term == wanted {
            return Ok(places);
        }
        if term > wanted {
            break;
        }
    }
    Ok(Vec::new())
}
