//! A tally: the statistics of some events. Two tallies add up to one, in any order.

use roaring::RoaringBitmap;

use super::counts::Counts;
use super::spread::{Spread, Value};
use crate::derive::facts::Fact;

/// The dimensions of an event in statistics: name numbers; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dimensions {
    pub(crate) application: u32,
    pub(crate) device: u32,
    pub(crate) connection_type: u32,
    pub(crate) status: u32,
    pub(crate) network_type: u32,
}

impl Dimensions {
    pub(super) fn of(fact: &Fact) -> Self {
        Dimensions {
            application: fact.application.unsigned_abs(),
            device: fact.device.unsigned_abs(),
            connection_type: fact.connection_type.unsigned_abs(),
            status: fact.status.unsigned_abs(),
            network_type: fact.network_type.map_or(0, i32::unsigned_abs),
        }
    }
}

/// The figures of one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Single {
    is_failure: bool,
    duration: Option<Value>,
    signal_strength: Option<Value>,
}

impl Single {
    pub(super) fn of(fact: &Fact) -> Self {
        Single {
            is_failure: !fact.is_success,
            duration: fact.duration.map(Value::from),
            signal_strength: fact.signal_strength.map(Value::from),
        }
    }
}

/// The sums of some events.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(super) events: u64,
    pub(super) failures: u64,
    /// The devices' numbers, except in a row of one device. A set and not an estimate: distinct
    /// counts are exact.
    pub(super) devices: RoaringBitmap,
    pub(super) duration: Spread,
    pub(super) signal_strength: Spread,
}

impl Tally {
    pub(super) fn add_single(&mut self, single: Single) {
        self.events += 1;
        self.failures += u64::from(single.is_failure);
        if let Some(seconds) = single.duration {
            self.duration.add_value(seconds);
        }
        if let Some(signal) = single.signal_strength {
            self.signal_strength.add_value(signal);
        }
    }

    pub(super) fn add_counts(&mut self, counts: Counts) {
        self.events += counts.events;
        self.failures += counts.failures;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.failures += other.failures;
        self.devices |= &other.devices;
        self.duration.add(&other.duration);
        self.signal_strength.add(&other.signal_strength);
    }
}
