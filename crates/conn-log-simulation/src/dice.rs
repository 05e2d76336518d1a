//! Numbers that look random and are always the same: SplitMix64.

/// A sequence of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of some numbers, such as a device and an hour.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let mut dice = Dice(0);
        for part in parts {
            dice.0 ^= part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.next() >> 2).unwrap_or(0) % end.max(1)
    }

    /// Whether one of so many chances has come.
    pub(crate) fn one_in(&mut self, chances: i64) -> bool {
        self.below(chances) == 0
    }
}
