//! A column of floating-point numbers: as whole numbers of a decimal fraction if each is one exactly,
//! or else as they are.

use super::bits::{In, Out};
use super::ints::{self, Ints};

/// More digits after the point are no measured values.
const DIGITS_MAX: u8 = 9;
const AS_THEY_ARE: u8 = u8::MAX;

fn power(digits: u8) -> f64 {
    10_f64.powi(i32::from(digits))
}

/// The number as a whole number of fractions.
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers out of range do not come back the same"
)]
fn scaled(value: f64, digits: u8) -> Option<i64> {
    let whole = (value * power(digits)).round() as i64;
    (unscaled(whole, digits).to_bits() == value.to_bits()).then_some(whole)
}

#[expect(clippy::cast_precision_loss, reason = "checked when it was written")]
fn unscaled(whole: i64, digits: u8) -> f64 {
    whole as f64 / power(digits)
}

pub(super) fn write(values: &[f64], out: &mut Out) {
    let with = |digits: u8| values.iter().map(|value| scaled(*value, digits)).collect();
    let found: Option<(u8, Vec<i64>)> = (0..=DIGITS_MAX)
        .find_map(|digits| Some((digits, Option::from_iter::<Vec<Option<i64>>>(with(digits))?)));
    match found {
        Some((digits, whole)) => {
            out.soft.push(digits);
            ints::write(&whole, out);
        }
        None => {
            out.soft.push(AS_THEY_ARE);
            values.iter().for_each(|value| out.hard.extend(value.to_le_bytes()));
        }
    }
}

/// A column that is read.
pub(super) enum Reals<'a> {
    Scaled(u8, Ints<'a>),
    AsTheyAre(&'a [u8]),
}

impl<'a> Reals<'a> {
    pub(super) fn read(count: usize, from: &mut In<'a>) -> anyhow::Result<Self> {
        Ok(match from.bytes(1)?[0] {
            AS_THEY_ARE => Reals::AsTheyAre(from.hard_bytes(count * size_of::<f64>())?),
            digits => Reals::Scaled(digits, Ints::read(count, from)?),
        })
    }

    pub(super) fn get(&self, place: usize) -> f64 {
        match self {
            Reals::Scaled(digits, ints) => unscaled(ints.get(place), *digits),
            Reals::AsTheyAre(bytes) => {
                let from = &bytes[place * size_of::<f64>()..];
                from.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes))
            }
        }
    }
}
