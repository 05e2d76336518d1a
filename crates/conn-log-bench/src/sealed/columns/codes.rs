//! A column as numbers of its distinct values, given in the order in which they first occur.
//!
//! A column that follows another one (a device's address) has a bit for each event that has the same value
//! as the last event with the same value of the other column. The rest is written out.

use super::bits::{In, Out, width_of};

/// Codes below that are written as bytes, which zstd shortens by how often each occurs.
const BYTES_MAX: u32 = 16;

/// One event in so many must be as foretold, or nothing is foretold.
const FORETOLD_SHARE: usize = 8;

/// What the last event with the same value of the other column had.
#[derive(Default)]
struct Last(Vec<Option<u32>>);

impl Last {
    fn swap(&mut self, other: u32, code: u32) -> Option<u32> {
        let place = other as usize;
        if self.0.len() <= place {
            self.0.resize(place + 1, None);
        }
        self.0[place].replace(code)
    }

    fn of(&self, other: u32) -> Option<u32> {
        self.0.get(other as usize).copied().flatten()
    }
}

pub(super) fn write(codes: &[u32], other: Option<&[u32]>, out: &mut Out) {
    let hits: Vec<bool> = other.map_or_else(Vec::new, |other| {
        let mut last = Last::default();
        codes.iter().zip(other).map(|(code, of)| last.swap(*of, *code) == Some(*code)).collect()
    });
    let foretells = hits.iter().filter(|hit| **hit).count() * FORETOLD_SHARE >= codes.len().max(1);
    if other.is_some() {
        out.soft.push(u8::from(foretells));
    }
    if foretells {
        out.flags(&hits);
        let misses = codes.iter().zip(&hits).filter(|(_, hit)| !**hit);
        write_alone(&misses.map(|(code, _)| *code).collect::<Vec<_>>(), out);
    } else {
        write_alone(codes, out);
    }
}

fn write_alone(codes: &[u32], out: &mut Out) {
    let distinct = codes.iter().max().map_or(0, |most| most + 1);
    out.number(u64::from(distinct));
    if distinct <= BYTES_MAX {
        if distinct > 1 {
            out.soft.extend(codes.iter().map(|code| u8::try_from(*code).unwrap_or(u8::MAX)));
        }
        return;
    }
    let mut next = 0;
    let is_new: Vec<bool> = codes
        .iter()
        .map(|code| {
            let is_new = *code == next;
            next += u32::from(is_new);
            is_new
        })
        .collect();
    out.flags(&is_new);
    let known = codes.iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
    out.pack(known.map(|(code, _)| u64::from(*code)), width_of(u64::from(distinct - 1)));
}

pub(super) fn read(
    count: usize,
    other: Option<&[u32]>,
    from: &mut In<'_>,
) -> anyhow::Result<Vec<u32>> {
    let Some(other) = other else {
        return read_alone(count, from);
    };
    if from.bytes(1)?[0] == 0 {
        return read_alone(count, from);
    }
    let hits = from.flags(count)?;
    let missed = read_alone(hits.iter().filter(|hit| !**hit).count(), from)?;
    let (mut missed, mut last) = (missed.into_iter(), Last::default());
    let code = |(hit, of): (bool, &u32)| {
        let code = if hit { last.of(*of) } else { missed.next() };
        let code = code.ok_or_else(|| anyhow::anyhow!("nothing foretells this event"))?;
        last.swap(*of, code);
        Ok(code)
    };
    hits.into_iter().zip(other).map(code).collect()
}

fn read_alone(count: usize, from: &mut In<'_>) -> anyhow::Result<Vec<u32>> {
    let distinct = u32::try_from(from.number()?)?;
    if distinct <= 1 {
        return Ok(vec![0; count]);
    }
    if distinct <= BYTES_MAX {
        return Ok(from.bytes(count)?.iter().map(|code| u32::from(*code)).collect());
    }
    let is_new = from.flags(count)?;
    let known = is_new.iter().filter(|is_new| !**is_new).count();
    let known = from.packed(known, width_of(u64::from(distinct - 1)))?;
    let (mut next, mut read) = (0, 0);
    let code = |is_new: bool| {
        if is_new {
            next += 1;
            return Ok(next - 1);
        }
        read += 1;
        Ok(u32::try_from(known.get(read - 1))?)
    };
    is_new.into_iter().map(code).collect()
}
