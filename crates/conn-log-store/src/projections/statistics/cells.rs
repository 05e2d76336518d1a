//! Rollups: the levels at which events are added up, and the cells of one row.
//!
//! | level | a row is | its cells are told apart by | it answers |
//! | --- | --- | --- | --- |
//! | 1 | an hour of an application | type, status, network | whole hours, anything but devices |
//! | 2 | ten minutes of an application | minute | whole minutes, by application |
//! | 3 | a day of a device | hour, application, type, status, network | whole hours, anything |

use std::collections::BTreeMap;

use super::codec::{Damaged, Reader, Writer};
use super::tally::{Dimensions, Tally};
use crate::projections::fact::Fact;
use crate::projections::names::Names;

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// One of the ways in which every event is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    ApplicationHour = 1,
    ApplicationMinutes = 2,
    DeviceDay = 3,
}

pub(super) const LEVELS: [Level; 3] =
    [Level::ApplicationHour, Level::ApplicationMinutes, Level::DeviceDay];

impl Level {
    /// Microseconds of a row.
    pub(super) fn span(self) -> i64 {
        match self {
            Level::ApplicationHour => HOUR,
            Level::ApplicationMinutes => 10 * MINUTE,
            Level::DeviceDay => DAY,
        }
    }

    /// Microseconds of a cell.
    pub(super) fn grain(self) -> i64 {
        match self {
            Level::ApplicationHour | Level::DeviceDay => HOUR,
            Level::ApplicationMinutes => MINUTE,
        }
    }

    fn is_of_device(self) -> bool {
        self == Level::DeviceDay
    }

    fn has_kinds(self) -> bool {
        self != Level::ApplicationMinutes
    }
}

/// Which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub(crate) level: Level,
    /// Microseconds since 1970.
    pub(crate) start: i64,
    /// The application or the device.
    pub(crate) lead: u32,
}

/// Which cell of a row: which grain of its time, and what else its level tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CellKey {
    /// Grains since the row's start.
    pub(crate) grain: u32,
    pub(crate) dimensions: Dimensions,
}

/// The cells of one row.
pub(crate) type Cells = BTreeMap<CellKey, Tally>;

/// Rows that events add to.
pub(crate) type Delta = BTreeMap<RowKey, Cells>;

/// What those events add to the rollups of every level.
pub(crate) fn fold(facts: &[Fact], names: &Names) -> Delta {
    let mut delta = Delta::new();
    for fact in facts {
        let dimensions = Dimensions::of(fact, names);
        for level in LEVELS {
            let (row, cell) = place(level, fact.timestamp.micros(), dimensions);
            let cells = delta.entry(row).or_default();
            cells.entry(cell).or_default().add_fact(fact, dimensions.device);
        }
    }
    delta
}

fn place(level: Level, micros: i64, all: Dimensions) -> (RowKey, CellKey) {
    let start = micros.div_euclid(level.span()) * level.span();
    let grain = u32::try_from((micros - start) / level.grain()).unwrap_or(0);
    let (lead, mut dimensions) = if level.is_of_device() {
        (all.device, Dimensions { device: 0, ..all })
    } else {
        (all.application, Dimensions { device: 0, application: 0, ..all })
    };
    if !level.has_kinds() {
        dimensions = Dimensions::default();
    }
    (RowKey { level, start, lead }, CellKey { grain, dimensions })
}

/// Adds one row's cells to another's.
pub(crate) fn add(to: &mut Cells, more: &Cells) {
    for (key, tally) in more {
        to.entry(*key).or_default().add(tally);
    }
}

pub(crate) fn encode(level: Level, cells: &Cells) -> Vec<u8> {
    let mut writer = Writer::default();
    for (key, tally) in cells {
        if level != Level::ApplicationHour {
            writer.number(key.grain.into());
        }
        if level.is_of_device() {
            writer.number(key.dimensions.application.into());
        }
        if level.has_kinds() {
            writer.number(key.dimensions.connection_type.into());
            writer.number(key.dimensions.status.into());
            writer.number(key.dimensions.network_type.into());
        }
        writer.tally(tally, !level.is_of_device());
    }
    writer.0
}

/// Hands each cell to `take`, its dimensions complete.
pub(crate) fn decode(
    row: RowKey,
    bytes: &[u8],
    mut take: impl FnMut(CellKey, Tally),
) -> Result<(), Damaged> {
    let level = row.level;
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let grain = if level == Level::ApplicationHour { 0 } else { reader.small()? };
        let mut dimensions = Dimensions::default();
        if level.is_of_device() {
            dimensions.device = row.lead;
            dimensions.application = reader.small()?;
        } else {
            dimensions.application = row.lead;
        }
        if level.has_kinds() {
            dimensions.connection_type = reader.small()?;
            dimensions.status = reader.small()?;
            dimensions.network_type = reader.small()?;
        }
        let tally = reader.tally(level.is_of_device().then_some(row.lead))?;
        take(CellKey { grain, dimensions }, tally);
    }
    Ok(())
}

/// The cells of a row as they are kept: without what the row itself says.
pub(crate) fn decode_cells(row: RowKey, bytes: &[u8]) -> Result<Cells, Damaged> {
    let mut cells = Cells::new();
    decode(row, bytes, |key, tally| {
        let (_, mut key) = (row, key);
        key.dimensions.device = 0;
        if !row.level.is_of_device() {
            key.dimensions.application = 0;
        }
        cells.insert(key, tally);
    })?;
    Ok(cells)
}
