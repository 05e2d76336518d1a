//! Encodes tallies as bytes: LEB128 numbers, which take few bytes. Most tallies are of one event or
//! two, and take a dozen bytes.

use roaring::RoaringBitmap;

use super::counts::Counts;
use super::spread::{Spread, bucket_of};
use super::tally::Tally;
use crate::derive::varint;

/// Error: the bytes are not tallies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rollup is damaged")]
pub(crate) struct Damaged;

impl From<Damaged> for diesel::result::Error {
    fn from(damaged: Damaged) -> Self {
        diesel::result::Error::DeserializationError(Box::new(damaged))
    }
}

/// The devices of a tally in the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Devices {
    /// The tally lists its devices.
    Listed,
    /// This one device; the tally lists none.
    One(u32),
    /// One device that is not needed; the tally lists none.
    Unsaid,
}

/// Devices are merged as a set if they are at least this share (one in that many) of the set that
/// they are added to: a merge copies both sets.
const MERGED_SHARE_MIN: u64 = 2;

/// Encodes numbers.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

/// Decodes numbers.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        varint::write(&mut self.0, number);
    }

    fn signed(&mut self, number: i64) {
        varint::write_signed(&mut self.0, number);
    }

    /// Writes a number: with up to three decimal places, as most sums have, as an integer of
    /// thousandths.
    fn decimal(&mut self, value: f64) {
        let thousandths = value * 1e3;
        let rounded = thousandths.round();
        // Zero thousandths mean that the eight bytes of the number follow.
        if rounded != 0.0 && rounded.abs() < 1e15 && (rounded / 1e3).to_bits() == value.to_bits() {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and below 2^53")]
            self.signed(rounded as i64);
        } else {
            self.signed(0);
            self.0.extend(value.to_le_bytes());
        }
    }

    fn spread(&mut self, spread: &Spread) {
        self.number(spread.count);
        if spread.count == 0 {
            return;
        }
        self.decimal(spread.sum);
        if spread.count == 1 {
            return;
        }
        self.number(spread.buckets.len() as u64);
        let mut last = 0;
        for (bucket, count) in &spread.buckets {
            self.signed(i64::from(*bucket) - last);
            self.number(*count);
            last = i64::from(*bucket);
        }
    }

    /// Writes a tally. Devices are left out in the rows of one device.
    pub(super) fn tally(&mut self, tally: &Tally, with_devices: bool) {
        self.number(tally.events);
        self.number(tally.failures);
        if with_devices {
            self.number(tally.devices.len());
            let mut last = 0;
            for device in &tally.devices {
                self.number(u64::from(device - last));
                last = device;
            }
        }
        self.spread(&tally.duration);
        self.spread(&tally.signal_strength);
    }
}

impl Reader<'_> {
    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        varint::read(&mut self.0).ok_or(Damaged)
    }

    pub(super) fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        varint::read_signed(&mut self.0).ok_or(Damaged)
    }

    #[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
    fn decimal(&mut self) -> Result<f64, Damaged> {
        match self.signed()? {
            0 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
                self.0 = rest;
                Ok(f64::from_le_bytes(*bytes))
            }
            thousandths => Ok(thousandths as f64 / 1e3),
        }
    }

    fn add_spread(&mut self, to: &mut Spread) -> Result<(), Damaged> {
        let count = self.number()?;
        if count == 0 {
            return Ok(());
        }
        let sum = self.decimal()?;
        to.count += count;
        to.sum += sum;
        if count == 1 {
            *to.buckets.entry(bucket_of(sum)).or_default() += 1;
            return Ok(());
        }
        let mut last = 0;
        for _ in 0..self.number()? {
            last += self.signed()?;
            let bucket = i32::try_from(last).map_err(|_| Damaged)?;
            *to.buckets.entry(bucket).or_default() += self.number()?;
        }
        Ok(())
    }

    /// Adds the next devices to a set. A few are inserted one by one. Many become a set of their
    /// own by adding each to its end, which is faster than finding its place; then the sets are
    /// merged.
    fn add_devices(&mut self, to: &mut RoaringBitmap) -> Result<(), Damaged> {
        let count = self.number()?;
        let is_few = count < to.len() / MERGED_SHARE_MIN;
        let mut apart = RoaringBitmap::new();
        let mut last = 0_u32;
        for _ in 0..count {
            last = last.checked_add(self.small()?).ok_or(Damaged)?;
            if is_few {
                to.insert(last);
            } else {
                apart.try_push(last).map_err(|_| Damaged)?;
            }
        }
        if to.is_empty() {
            *to = apart;
        } else if !is_few {
            *to |= apart;
        }
        Ok(())
    }

    fn skip_spread(&mut self) -> Result<(), Damaged> {
        let count = self.number()?;
        if count > 0 {
            self.decimal()?;
        }
        if count > 1 {
            for _ in 0..self.number()? {
                self.signed()?;
                self.number()?;
            }
        }
        Ok(())
    }

    /// Reads the counts of the next tally; skips its other fields.
    pub(super) fn counts(&mut self, with_devices: bool) -> Result<Counts, Damaged> {
        let counts = Counts { events: self.number()?, failures: self.number()? };
        if with_devices {
            for _ in 0..self.number()? {
                self.number()?;
            }
        }
        self.skip_spread()?;
        self.skip_spread()?;
        Ok(counts)
    }

    /// Adds the next tally to another.
    pub(super) fn add_tally(&mut self, devices: Devices, to: &mut Tally) -> Result<(), Damaged> {
        to.events += self.number()?;
        to.failures += self.number()?;
        match devices {
            Devices::Unsaid => {}
            Devices::One(device) => {
                to.devices.insert(device);
            }
            Devices::Listed => self.add_devices(&mut to.devices)?,
        }
        self.add_spread(&mut to.duration)?;
        self.add_spread(&mut to.signal_strength)
    }
}
