//! The figures of an answer, and their bytes for a row that is one whole group.

use super::codec::{Damaged, Reader, Writer};
use super::spread::Spread;
use super::tally::Tally;

/// The figures of one group of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The number of events.
    pub events: u64,
    /// The number of distinct devices. Exact.
    pub devices: u64,
    /// The number of events with another status than success.
    pub failures: u64,
    /// The durations, in seconds; percentiles are within 1 %.
    pub duration: Durations,
    /// The signal strengths; percentiles are within 1 %.
    pub signal_strength: SignalStrengths,
}

/// Figures of durations, `None` if there are no durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durations {
    /// The number of events with a duration.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// The 50th percentile.
    pub p50: Option<f64>,
    /// The 95th percentile.
    pub p95: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
}

/// Figures of signal strengths, `None` if there are no signal strengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalStrengths {
    /// The number of events with a signal strength.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// The 10th percentile: one of ten is weaker.
    pub p10: Option<f64>,
}

impl Figures {
    pub(super) fn of(tally: &Tally) -> Self {
        let (duration, signal): (&Spread, &Spread) = (&tally.duration, &tally.signal_strength);
        Figures {
            events: tally.events,
            devices: tally.devices.len(),
            failures: tally.failures,
            duration: Durations {
                count: duration.count,
                mean: duration.mean(),
                p50: duration.quantile(0.5),
                p95: duration.quantile(0.95),
                p99: duration.quantile(0.99),
            },
            signal_strength: SignalStrengths {
                count: signal.count,
                mean: signal.mean(),
                p10: signal.quantile(0.1),
            },
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (duration, signal) = (&self.duration, &self.signal_strength);
        let mut writer = Writer::default();
        let counts = [self.events, self.devices, self.failures, duration.count, signal.count];
        for count in counts {
            writer.number(count);
        }
        let values =
            [duration.mean, duration.p50, duration.p95, duration.p99, signal.mean, signal.p10];
        for value in values.into_iter().flatten() {
            writer.0.extend(value.to_le_bytes());
        }
        writer.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let (events, devices, failures) = (reader.number()?, reader.number()?, reader.number()?);
        let (durations, signals) = (reader.number()?, reader.number()?);
        let mut rest = reader.0;
        let mut value = |count: u64| {
            if count == 0 {
                return Ok(None);
            }
            let (bytes, more) = rest.split_first_chunk().ok_or(Damaged)?;
            rest = more;
            Ok(Some(f64::from_le_bytes(*bytes)))
        };
        Ok(Figures {
            events,
            devices,
            failures,
            duration: Durations {
                count: durations,
                mean: value(durations)?,
                p50: value(durations)?,
                p95: value(durations)?,
                p99: value(durations)?,
            },
            signal_strength: SignalStrengths {
                count: signals,
                mean: value(signals)?,
                p10: value(signals)?,
            },
        })
    }
}
