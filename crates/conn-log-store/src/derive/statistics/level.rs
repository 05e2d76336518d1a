//! Levels: the kinds of rollups; each event is added to every level.
//!
//! | level | a row is | its cells are told apart by | it has |
//! | --- | --- | --- | --- |
//! | 1 | an hour of an application | type, status, network | all figures |
//! | 2 | ten minutes of an application | minute | all figures |
//! | 3 | a day of a device | hour, application, type, status, network | all figures; and the row's whole, beside its cells |
//! | 4 | an hour | nothing: one cell | all figures |
//! | 5 | a day; and a day of an application | nothing: one cell | all figures |
//! | 6 | an hour of 1,024 devices | device | counts |
//! | 7 | a day of 1,024 devices | device | counts |

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// A kind of rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    ApplicationHour = 1,
    ApplicationMinutes = 2,
    DeviceDay = 3,
    Hour = 4,
    Day = 5,
    DevicesHour = 6,
    DevicesDay = 7,
}

pub(super) const LEVELS: [Level; 7] = [
    Level::ApplicationHour,
    Level::ApplicationMinutes,
    Level::DeviceDay,
    Level::Hour,
    Level::Day,
    Level::DevicesHour,
    Level::DevicesDay,
];

/// Devices of one row of counts: the row has a few KiB, a step writes few rows, and a question for
/// all devices reads few.
pub(super) const BLOCK_DEVICES: u32 = 1_024;

/// The lead of rows with the events of all leads.
pub(super) const ALL: u32 = 0;

impl Level {
    /// The length of a row, in microseconds.
    pub(super) fn span(self) -> i64 {
        match self {
            Level::ApplicationHour | Level::Hour | Level::DevicesHour => HOUR,
            Level::ApplicationMinutes => 10 * MINUTE,
            Level::DeviceDay | Level::Day | Level::DevicesDay => DAY,
        }
    }

    /// The length of a cell, in microseconds.
    pub(super) fn grain(self) -> i64 {
        match self {
            Level::ApplicationHour | Level::DeviceDay | Level::Hour | Level::DevicesHour => HOUR,
            Level::ApplicationMinutes => MINUTE,
            Level::Day | Level::DevicesDay => DAY,
        }
    }

    pub(super) fn is_of_device(self) -> bool {
        self == Level::DeviceDay
    }

    /// Whether its rows hold counts of devices instead of cells.
    pub(super) fn is_of_counts(self) -> bool {
        matches!(self, Level::DevicesHour | Level::DevicesDay)
    }

    pub(super) fn has_grains(self) -> bool {
        self.span() > self.grain()
    }

    pub(super) fn has_kinds(self) -> bool {
        matches!(self, Level::ApplicationHour | Level::DeviceDay)
    }

    /// The start of the row that contains an instant.
    pub(super) fn start(self, micros: i64) -> i64 {
        micros.div_euclid(self.span()) * self.span()
    }
}

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowKey {
    pub(crate) level: Level,
    /// Microseconds since 1970.
    pub(crate) start: i64,
    /// The application, the device or the block of devices; [`ALL`] for rows of all events.
    pub(crate) lead: u32,
}
