//! Distinct texts as patterns and columns of the numbers in them, and columns of texts as codes of such.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::Context as _;

use super::bits::{In, Out};
use super::codes;
use super::ints::{self, Ints};
use super::pieces::{Parts, Pattern, Piece};

/// Numbers distinct values in the order in which they first occur.
pub(super) fn number<T: Eq + Hash + Copy>(values: impl Iterator<Item = T>) -> (Vec<u32>, Vec<T>) {
    let (mut known, mut distinct, mut codes) = (HashMap::new(), Vec::new(), Vec::new());
    for value in values {
        codes.push(*known.entry(value).or_insert_with(|| {
            distinct.push(value);
            u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
        }));
    }
    (codes, distinct)
}

/// Writes distinct texts.
pub(super) fn write_distinct(texts: &[&str], out: &mut Out) {
    out.count(texts.len());
    let mut pieces: Vec<Vec<(Piece, &[u8])>> = vec![Vec::new(); texts.len()];
    let patterns: Vec<Pattern> = texts
        .iter()
        .zip(&mut pieces)
        .map(|(text, pieces)| Pattern::of(text, |piece, digits| pieces.push((piece, digits))))
        .collect();
    let (numbers, distinct) = number(patterns.iter());
    codes::write(&numbers, None, out);
    distinct.iter().for_each(|pattern| out.soft.extend(&pattern.0));
    for pattern in 0..distinct.len() {
        let of_it = numbers.iter().zip(&pieces).filter(|(number, _)| **number as usize == pattern);
        let of_it: Vec<_> = of_it.map(|(_, pieces)| pieces).collect();
        for place in 0..of_it.first().map_or(0, |pieces| pieces.len()) {
            let column = of_it.iter().map(|pieces| pieces[place]);
            if let (Piece::Decimal(_), _) = of_it[0][place] {
                let value = |(_, digits): (Piece, &[u8])| {
                    digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
                };
                ints::write(&column.map(value).collect::<Vec<_>>(), out);
            } else {
                column.for_each(|(_, digits)| Piece::write_bytes(digits, &mut out.hard));
            }
        }
    }
}

/// The values of one piece of a pattern.
enum Values<'a> {
    Ints(Ints<'a>),
    Bytes(&'a [u8]),
}

/// A pattern, with the values of its pieces.
struct Family<'a> {
    parts: Parts<'a>,
    values: Vec<Values<'a>>,
}

/// Distinct texts that are read.
pub(super) struct Texts<'a> {
    families: Vec<Family<'a>>,
    /// For each text its family, and its place in it.
    places: Vec<(u32, u32)>,
}

impl<'a> Texts<'a> {
    pub(super) fn read(from: &mut In<'a>) -> anyhow::Result<Self> {
        let count = from.count()?;
        let numbers = codes::read(count, None, from)?;
        let mut sizes = vec![0; numbers.iter().max().map_or(0, |most| *most as usize + 1)];
        let place = |number: &u32| {
            let size: &mut u32 = &mut sizes[*number as usize];
            *size += 1;
            (*number, *size - 1)
        };
        let places = numbers.iter().map(place).collect();
        let mut families = Vec::with_capacity(sizes.len());
        for _ in &sizes {
            let (parts, rest) = Pattern::parse(from.soft).context("a pattern is cut off")?;
            from.soft = rest;
            families.push(Family { parts, values: Vec::new() });
        }
        for (family, size) in families.iter_mut().zip(sizes) {
            for piece in family.parts.iter().filter_map(|(_, piece)| *piece) {
                family.values.push(match piece {
                    Piece::Decimal(_) => Values::Ints(Ints::read(size as usize, from)?),
                    _ => Values::Bytes(from.hard_bytes(piece.bytes_length() * size as usize)?),
                });
            }
        }
        Ok(Texts { families, places })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Appends a text.
    pub(super) fn append(&self, index: usize, out: &mut String) {
        let (family, place) = self.places[index];
        let (family, place) = (&self.families[family as usize], place as usize);
        let mut values = family.values.iter();
        for (literal, piece) in &family.parts {
            out.push_str(literal);
            match (piece, piece.and_then(|_| values.next())) {
                (Some(Piece::Decimal(length)), Some(Values::Ints(ints))) => {
                    let (mut buffer, value) = (itoa::Buffer::new(), ints.get(place));
                    let digits = buffer.format(value);
                    (digits.len()..*length).for_each(|_| out.push('0'));
                    out.push_str(digits);
                }
                (Some(piece), Some(Values::Bytes(bytes))) => {
                    let length = piece.bytes_length();
                    piece.text_of(&bytes[place * length..][..length], out);
                }
                _ => {}
            }
        }
    }

    pub(super) fn get(&self, index: usize) -> String {
        let mut text = String::new();
        self.append(index, &mut text);
        text
    }
}

/// Writes a column of texts that may be missing. Gives their codes, for a column that follows it.
pub(super) fn write<'t>(
    values: impl Iterator<Item = Option<&'t str>>,
    other: Option<&[u32]>,
    out: &mut Out,
) -> Vec<u32> {
    let (codes, distinct) = number(values);
    codes::write(&codes, other, out);
    // Zero: none is missing.
    out.count(distinct.iter().position(Option::is_none).map_or(0, |code| code + 1));
    write_distinct(&distinct.into_iter().flatten().collect::<Vec<_>>(), out);
    codes
}

/// A column of texts that is read.
pub(super) struct Column<'a> {
    pub(super) codes: Vec<u32>,
    /// The code of a missing text.
    missing: Option<usize>,
    pub(super) texts: Texts<'a>,
}

impl<'a> Column<'a> {
    pub(super) fn read(
        count: usize,
        other: Option<&[u32]>,
        from: &mut In<'a>,
    ) -> anyhow::Result<Self> {
        let codes = codes::read(count, other, from)?;
        let missing = from.count()?.checked_sub(1);
        Ok(Column { codes, missing, texts: Texts::read(from)? })
    }

    /// The place among the texts of an event's text.
    fn index(&self, place: usize) -> Option<usize> {
        let code = self.codes[place] as usize;
        match self.missing {
            Some(missing) if code == missing => None,
            Some(missing) if code > missing => Some(code - 1),
            _ => Some(code),
        }
    }

    pub(super) fn append(&self, place: usize, out: &mut String) {
        if let Some(index) = self.index(place) {
            self.texts.append(index, out);
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<String> {
        self.index(place).map(|index| self.texts.get(index))
    }

    /// The code of a text.
    pub(super) fn code_of(&self, text: &str) -> Option<u32> {
        let mut one = String::new();
        let is_it = |index: &usize| {
            one.clear();
            self.texts.append(*index, &mut one);
            one == text
        };
        let index = (0..self.texts.len()).find(is_it)?;
        let code = index + usize::from(self.missing.is_some_and(|missing| missing <= index));
        u32::try_from(code).ok()
    }
}
