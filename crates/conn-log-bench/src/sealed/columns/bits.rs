//! Numbers of a fixed width in bits, one after the other, and what a block is written to and read from.

use anyhow::Context as _;
use integer_encoding::VarInt as _;

/// A block while it is written. zstd compresses one part; the other would not get smaller by it.
#[derive(Default)]
pub(super) struct Out {
    /// Widths, counts, texts, and codes of few values.
    pub(super) soft: Vec<u8>,
    /// Packed numbers and random bytes.
    pub(super) hard: Vec<u8>,
}

impl Out {
    pub(super) fn number(&mut self, number: u64) {
        self.soft.extend(number.encode_var_vec());
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.soft.extend(number.encode_var_vec());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    /// One bit for each.
    pub(super) fn flags(&mut self, flags: &[bool]) {
        for eight in flags.chunks(8) {
            let byte = eight.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag));
            self.soft.push(byte);
        }
    }

    /// Numbers below two to the power of `width`.
    pub(super) fn pack(&mut self, numbers: impl Iterator<Item = u64>, width: u32) {
        let (mut gathered, mut bits) = (0_u128, 0);
        for number in numbers {
            gathered |= u128::from(number) << bits;
            bits += width;
            while bits >= 8 {
                self.hard.push(gathered.to_le_bytes()[0]);
                gathered >>= 8;
                bits -= 8;
            }
        }
        if bits > 0 {
            self.hard.push(gathered.to_le_bytes()[0]);
        }
    }
}

/// A block while it is read: the rest of both parts.
#[derive(Clone, Copy)]
pub(super) struct In<'a> {
    pub(super) soft: &'a [u8],
    pub(super) hard: &'a [u8],
}

impl<'a> In<'a> {
    pub(super) fn number(&mut self) -> anyhow::Result<u64> {
        let (number, length) = u64::decode_var(self.soft).context("a number is cut off")?;
        self.soft = &self.soft[length..];
        Ok(number)
    }

    pub(super) fn signed(&mut self) -> anyhow::Result<i64> {
        let (number, length) = i64::decode_var(self.soft).context("a number is cut off")?;
        self.soft = &self.soft[length..];
        Ok(number)
    }

    pub(super) fn count(&mut self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.number()?)?)
    }

    pub(super) fn width(&mut self) -> anyhow::Result<u32> {
        let width = u32::try_from(self.number()?)?;
        anyhow::ensure!(width <= u64::BITS, "a width of {width} bits");
        Ok(width)
    }

    pub(super) fn bytes(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let (bytes, rest) = self.soft.split_at_checked(length).context("a text is cut off")?;
        self.soft = rest;
        Ok(bytes)
    }

    pub(super) fn hard_bytes(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let (bytes, rest) = self.hard.split_at_checked(length).context("bytes are cut off")?;
        self.hard = rest;
        Ok(bytes)
    }

    pub(super) fn flags(&mut self, count: usize) -> anyhow::Result<Vec<bool>> {
        let bytes = self.bytes(count.div_ceil(8))?;
        Ok((0..count).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1).collect())
    }

    pub(super) fn packed(&mut self, count: usize, width: u32) -> anyhow::Result<Packed<'a>> {
        let bits = count.checked_mul(width as usize).context("too many numbers")?;
        Ok(Packed { bytes: self.hard_bytes(bits.div_ceil(8))?, width })
    }
}

/// Packed numbers. Each can be read alone.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    bytes: &'a [u8],
    width: u32,
}

impl Packed<'_> {
    pub(super) fn get(&self, index: usize) -> u64 {
        let bit = index * self.width as usize;
        let from = &self.bytes[(bit / 8).min(self.bytes.len())..];
        let word = match from.first_chunk::<16>() {
            Some(bytes) => u128::from_le_bytes(*bytes),
            None => from.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)),
        };
        let mask = (1_u128 << self.width) - 1;
        // The mask leaves at most 64 bits.
        u64::try_from(word >> (bit % 8) & mask).unwrap_or(u64::MAX)
    }
}

/// The bits that a number needs.
pub(super) fn width_of(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}
