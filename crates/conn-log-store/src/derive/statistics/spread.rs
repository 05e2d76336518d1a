//! The distribution of values: a sparse DDSketch.
//!
//! The buckets are those of the crate sketches-ddsketch at a relative accuracy of 1 %: every value
//! of a bucket, and so every percentile, is within 1 % of the bucket's representative value.
//! Negative values, such as signals in dBm, have their own buckets. The crate's own store is dense;
//! most rollups hold only a few values, which take a few bytes here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sketches_ddsketch::Config;

/// Relative accuracy of every bucket.
const ACCURACY: f64 = 0.01;

/// Smaller values count as zero: a nanosecond, if values are in seconds.
const MAGNITUDE_MIN: f64 = 1e-9;

static BUCKETS: LazyLock<Config> = LazyLock::new(|| Config::new(ACCURACY, 2_048, MAGNITUDE_MIN));

/// Added to a bucket's key, so that 0 stands for zero and negative numbers for negative values.
const KEY_OFFSET: i32 = 1_100;

/// A value with its bucket, whose logarithm is computed once for all levels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    number: f64,
    bucket: i32,
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value { number, bucket: bucket_of(number) }
    }
}

/// The bucket of a value. Buckets have the same order as their values.
pub(super) fn bucket_of(value: f64) -> i32 {
    let magnitude = value.abs();
    if magnitude < MAGNITUDE_MIN {
        return 0;
    }
    let bucket = BUCKETS.key(magnitude) + KEY_OFFSET;
    if value < 0.0 { -bucket } else { bucket }
}

/// The representative value of a bucket.
fn value_of(bucket: i32) -> f64 {
    match bucket {
        0 => 0.0,
        bucket if bucket < 0 => -BUCKETS.value(-bucket - KEY_OFFSET),
        bucket => BUCKETS.value(bucket - KEY_OFFSET),
    }
}

/// The distribution of some values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) buckets: BTreeMap<i32, u64>,
}

impl Spread {
    pub(super) fn add_value(&mut self, value: Value) {
        self.count += 1;
        self.sum += value.number;
        *self.buckets.entry(value.bucket).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 values")]
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The quantile: that share of the values is lower. Interpolates between two values.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks are whole numbers from 0 to far below 2^52"
    )]
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        match self.count {
            0 => None,
            1 => Some(self.sum),
            count => {
                let rank = share * (count - 1) as f64;
                let (low, high) = (self.at(rank.floor() as u64)?, self.at(rank.ceil() as u64)?);
                Some(low + (high - low) * rank.fract())
            }
        }
    }

    /// The value with that rank, counted from 0.
    fn at(&self, rank: u64) -> Option<f64> {
        let mut below = 0;
        for (bucket, count) in &self.buckets {
            below += count;
            if rank < below {
                return Some(value_of(*bucket));
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks of a few hundred values"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_stands_for_its_values_within_a_hundredth(value in -1e12..1e12_f64) {
            let found = value_of(bucket_of(value));
            prop_assert!((found - value).abs() <= value.abs() * 0.010_000_1 + 1e-9);
        }

        #[test]
        fn quantiles_are_within_a_hundredth(mut values in prop::collection::vec(0.001..1e6_f64, 1..200)) {
            let mut spread = Spread::default();
            for value in &values {
                spread.add_value((*value).into());
            }
            values.sort_by(f64::total_cmp);
            for share in [0.1, 0.5, 0.95, 0.99] {
                let rank = share * (values.len() - 1) as f64;
                let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
                let exact = low + (high - low) * rank.fract();
                let found = spread.quantile(share).unwrap();
                prop_assert!((found - exact).abs() <= exact * 0.0101, "{found} for {exact}");
            }
        }
    }

    #[test]
    fn the_order_of_buckets_is_that_of_values() {
        let values = [-1e300, -90.0, -30.0, -1e-9, 0.0, 1e-9, 1.0, 2.0, 1e300];
        let buckets: Vec<i32> = values.iter().map(|value| bucket_of(*value)).collect();
        assert!(buckets.is_sorted(), "{buckets:?}");
        assert!(buckets[3] < 0 && buckets[4] == 0 && buckets[5] > 0);
    }
}
