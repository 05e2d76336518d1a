//! Rollups: the levels at which events are added up, and the cells of one row.
//!
//! | level | a row is | its cells are told apart by | it answers |
//! | --- | --- | --- | --- |
//! | 1 | an hour of an application | type, status, network | whole hours, anything but devices |
//! | 2 | ten minutes of an application | minute | whole minutes, by application |
//! | 3 | a day of a device | hour, application, type, status, network | whole hours, anything |

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::codec::{Damaged, Devices, Reader, Writer};
use super::tally::{Dimensions, Tally};
use crate::derive::facts::Fact;

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// One of the ways in which every event is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
pub(crate) type Delta = HashMap<RowKey, Cells>;

/// What those events add to the rollups of every level.
pub(crate) fn fold(facts: &[Fact]) -> Delta {
    let mut delta = Delta::default();
    for fact in facts {
        let dimensions = Dimensions::of(fact);
        for level in LEVELS {
            let (row, cell) = place(level, fact.timestamp.micros(), dimensions);
            let cells = delta.entry(row).or_default();
            let tally = cells.entry(cell).or_default();
            tally.add_fact(fact);
            if !level.is_of_device() {
                tally.devices.insert(dimensions.device);
            }
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

/// Who cells are added up by.
pub(super) trait Sum<E> {
    /// The tally that a cell is added to; `None` for a cell that is not wanted.
    fn tally(&mut self, cell: CellKey) -> Result<Option<&mut Tally>, E>;

    /// Whether a cell's tally is to have the device that its row is of.
    fn counts_devices(&self) -> bool;
}

/// Adds each cell, its dimensions complete, to the tally that `sum` has for it.
pub(super) fn add_row<E: From<diesel::result::Error>>(
    row: RowKey,
    bytes: &[u8],
    sum: &mut impl Sum<E>,
) -> Result<(), E> {
    let level = row.level;
    let devices = match level.is_of_device() {
        true if sum.counts_devices() => Devices::One(row.lead),
        true => Devices::Unsaid,
        false => Devices::Listed,
    };
    let mut reader = Reader(bytes);
    let mut unwanted = Tally::default();
    while !reader.0.is_empty() {
        let cell = cell_of(row, &mut reader).map_err(diesel::result::Error::from)?;
        let to = sum.tally(cell)?.unwrap_or(&mut unwanted);
        reader.add_tally(devices, to).map_err(diesel::result::Error::from)?;
    }
    Ok(())
}

fn cell_of(row: RowKey, reader: &mut Reader<'_>) -> Result<CellKey, Damaged> {
    let level = row.level;
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
    Ok(CellKey { grain, dimensions })
}

/// A row's cells, under what the row itself does not say.
struct Kept {
    row: RowKey,
    cells: Cells,
}

impl Sum<diesel::result::Error> for Kept {
    fn tally(&mut self, mut cell: CellKey) -> diesel::QueryResult<Option<&mut Tally>> {
        if self.row.level.is_of_device() {
            cell.dimensions.device = 0;
        } else {
            cell.dimensions.application = 0;
        }
        Ok(Some(self.cells.entry(cell).or_default()))
    }

    fn counts_devices(&self) -> bool {
        false
    }
}

/// The cells of a row as they are kept.
pub(crate) fn decode(row: RowKey, bytes: &[u8]) -> diesel::QueryResult<Cells> {
    let mut kept = Kept { row, cells: Cells::new() };
    add_row(row, bytes, &mut kept)?;
    Ok(kept.cells)
}
