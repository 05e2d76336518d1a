//! A column of whole numbers: as they are or as differences, without their least value and their common
//! factor, in as few bits as most of them need. The few that need more are exceptions.

use std::collections::HashMap;

use super::bits::{In, Out, Packed, width_of};

/// More values than that are no small set.
const LISTED_MAX: usize = 16;

const PLAIN: u8 = 0;
const DIFFERENCES: u8 = 1;
const LISTED: u8 = 2;

/// Bits that an exception takes, about: its place, and what did not fit.
const EXCEPTION_BITS: usize = 24;

/// Numbers as a least value, a common factor, a width, and exceptions.
struct Frame {
    least: i64,
    factor: u64,
    width: u32,
    /// About.
    bits: usize,
}

impl Frame {
    fn of(values: &[i64]) -> Self {
        let least = values.iter().copied().min().unwrap_or(0);
        // The difference to the least value fits an unsigned number whatever the values are.
        let above = |value: &i64| value.wrapping_sub(least).cast_unsigned();
        let factor = values.iter().map(above).fold(0, gcd).max(1);
        let mut with_width = [0_usize; 65];
        for value in values {
            with_width[width_of(above(value) / factor) as usize] += 1;
        }
        let (mut wider, mut best) = (0, (usize::MAX, 64));
        for width in (0..=64_u32).rev() {
            let bits = values.len() * width as usize + wider * EXCEPTION_BITS;
            best = best.min((bits, width));
            wider += with_width[width as usize];
        }
        Frame { least, factor, width: best.1, bits: best.0 }
    }

    fn write(&self, values: &[i64], out: &mut Out) {
        out.signed(self.least);
        out.number(self.factor);
        out.number(u64::from(self.width));
        let scaled = |value: &i64| value.wrapping_sub(self.least).cast_unsigned() / self.factor;
        let mask = 1_u64.checked_shl(self.width).map_or(u64::MAX, |bit| bit - 1);
        let beyond = |(_, value): &(usize, &i64)| scaled(value) > mask;
        out.count(values.iter().enumerate().filter(beyond).count());
        for (place, value) in values.iter().enumerate().filter(beyond) {
            out.count(place);
            out.number(scaled(value) >> self.width);
        }
        out.pack(values.iter().map(|value| scaled(value) & mask), self.width);
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

pub(super) fn write(values: &[i64], out: &mut Out) {
    let steps: Vec<i64> = values.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
    let (plain, differences) = (Frame::of(values), Frame::of(&steps));
    if let Some(list) = small_set(values, plain.bits.min(differences.bits)) {
        out.soft.push(LISTED);
        out.count(list.len());
        list.iter().for_each(|value| out.signed(*value));
        let code = |value| list.iter().position(|known| known == value).unwrap_or(0);
        out.soft.extend(values.iter().map(|value| u8::try_from(code(value)).unwrap_or(0)));
    } else if differences.bits < plain.bits {
        out.soft.push(DIFFERENCES);
        out.signed(values.first().copied().unwrap_or(0));
        differences.write(&steps, out);
    } else {
        out.soft.push(PLAIN);
        plain.write(values, out);
    }
}

/// The values, if they are so few that codes of a byte, which zstd shortens, take less than `bits`.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn small_set(values: &[i64], bits: usize) -> Option<Vec<i64>> {
    let (mut list, mut counts) = (Vec::new(), HashMap::new());
    for value in values {
        let count = counts.entry(*value).or_insert(0_usize);
        *count += 1;
        if *count == 1 {
            list.push(*value);
        }
        if list.len() > LISTED_MAX {
            return None;
        }
    }
    let all = values.len() as f64;
    let entropy: f64 =
        counts.values().map(|count| *count as f64 * (all / *count as f64).log2()).sum();
    // zstd takes at least a bit for each literal, and less only for a repeat: a quarter is assumed.
    (entropy.max(all / 4.0) + (list.len() * 24) as f64 <= bits as f64).then_some(list)
}

/// A column that is read.
pub(super) enum Ints<'a> {
    Frame { least: i64, factor: u64, width: u32, exceptions: Vec<(usize, u64)>, packed: Packed<'a> },
    All(Vec<i64>),
}

impl<'a> Ints<'a> {
    pub(super) fn read(count: usize, from: &mut In<'a>) -> anyhow::Result<Self> {
        match from.bytes(1)?[0] {
            PLAIN => Self::read_frame(count, from),
            DIFFERENCES => {
                let mut value = from.signed()?;
                let steps = Self::read_frame(count.saturating_sub(1), from)?;
                let mut all = Vec::with_capacity(count);
                all.extend((count > 0).then_some(value));
                for place in 1..count {
                    value = value.wrapping_add(steps.get(place - 1));
                    all.push(value);
                }
                Ok(Ints::All(all))
            }
            LISTED => {
                let length = from.count()?;
                let list: Vec<i64> =
                    (0..length).map(|_| from.signed()).collect::<Result<_, _>>()?;
                let value = |code: &u8| {
                    list.get(usize::from(*code))
                        .copied()
                        .ok_or_else(|| anyhow::anyhow!("no such value"))
                };
                Ok(Ints::All(from.bytes(count)?.iter().map(value).collect::<Result<_, _>>()?))
            }
            other => anyhow::bail!("no form {other} of numbers"),
        }
    }

    fn read_frame(count: usize, from: &mut In<'a>) -> anyhow::Result<Self> {
        let (least, factor, width) = (from.signed()?, from.number()?, from.width()?);
        let beyond = from.count()?;
        let exception = |_| Ok((from.count()?, from.number()?));
        let exceptions = (0..beyond).map(exception).collect::<anyhow::Result<_>>()?;
        Ok(Ints::Frame { least, factor, width, exceptions, packed: from.packed(count, width)? })
    }

    pub(super) fn get(&self, place: usize) -> i64 {
        match self {
            Ints::All(all) => all[place],
            Ints::Frame { least, factor, width, exceptions, packed } => {
                let mut scaled = packed.get(place);
                if let Ok(found) = exceptions.binary_search_by_key(&place, |exception| exception.0)
                {
                    scaled |= exceptions[found].1 << width;
                }
                least.wrapping_add(scaled.wrapping_mul(*factor).cast_signed())
            }
        }
    }
}
