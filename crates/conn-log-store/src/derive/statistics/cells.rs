//! Rollups: the cells that events add to the rows of every level, and the cells of one row.

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::codec::{Damaged, Devices, Reader, Writer};
use super::counts::{Counts, DeviceCounts};
use super::level::{ALL, BLOCK_DEVICES, Level, RowKey};
use super::tally::{Dimensions, Single, Tally};
use crate::derive::facts::Fact;

/// The levels that events are added to directly; the other levels are sums of these.
const FINE: [Level; 3] = [Level::ApplicationHour, Level::ApplicationMinutes, Level::DeviceDay];

/// The key of a cell in its row: the grain of its time, and its dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CellKey {
    /// Grains since the row's start.
    pub(crate) grain: u32,
    pub(crate) dimensions: Dimensions,
}

/// The cells of one row.
pub(crate) type Cells = BTreeMap<CellKey, Tally>;

/// The additions of events to rows.
#[derive(Default)]
pub(crate) struct Delta {
    pub(super) cells: HashMap<RowKey, Cells>,
    pub(super) counts: HashMap<RowKey, DeviceCounts>,
}

/// Computes the additions of events to the rollups of every level.
pub(crate) fn fold(facts: &[Fact]) -> Delta {
    let mut delta = Delta::default();
    for fact in facts {
        let (dimensions, single) = (Dimensions::of(fact), Single::of(fact));
        for level in FINE {
            let (row, cell) = place(level, fact.timestamp.micros(), dimensions);
            let cells = delta.cells.entry(row).or_default();
            let tally = cells.entry(cell).or_default();
            tally.add_single(single);
            if !level.is_of_device() {
                tally.devices.insert(dimensions.device);
            }
        }
    }
    delta.add_coarse();
    delta
}

impl Delta {
    /// Adds to the coarse levels: there are fewer cells than events.
    fn add_coarse(&mut self) {
        let mut coarse: HashMap<RowKey, Cells> = HashMap::default();
        for (row, cells) in &self.cells {
            match row.level {
                Level::ApplicationHour => {
                    let whole = whole(cells);
                    let leads = [(Level::Hour, ALL), (Level::Day, ALL), (Level::Day, row.lead)];
                    for (level, lead) in leads {
                        let key = RowKey { level, start: level.start(row.start), lead };
                        coarse
                            .entry(key)
                            .or_default()
                            .entry(CellKey::default())
                            .or_default()
                            .add(&whole);
                    }
                }
                Level::DeviceDay => add_counts(&mut self.counts, *row, cells),
                _ => {}
            }
        }
        self.cells.extend(coarse);
    }
}

fn add_counts(to: &mut HashMap<RowKey, DeviceCounts>, row: RowKey, cells: &Cells) {
    for (cell, tally) in cells {
        let at = row.start + i64::from(cell.grain) * row.level.grain();
        for level in [Level::DevicesHour, Level::DevicesDay] {
            let key = RowKey { level, start: level.start(at), lead: row.lead / BLOCK_DEVICES };
            let counts = Counts { events: tally.events, failures: tally.failures };
            to.entry(key).or_default().entry(row.lead).or_default().add(counts);
        }
    }
}

/// The sum of all cells of a row.
pub(super) fn whole(cells: &Cells) -> Tally {
    let mut whole = Tally::default();
    for tally in cells.values() {
        whole.add(tally);
    }
    whole
}

fn place(level: Level, micros: i64, all: Dimensions) -> (RowKey, CellKey) {
    let start = level.start(micros);
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

/// Adds the cells of one row to another row's.
pub(super) fn add(to: &mut Cells, more: &Cells) {
    for (key, tally) in more {
        to.entry(*key).or_default().add(tally);
    }
}

pub(super) fn encode(level: Level, cells: &Cells) -> Vec<u8> {
    let mut writer = Writer::default();
    for (key, tally) in cells {
        if level.has_grains() {
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

/// The target that cells are added to.
pub(super) trait Sum<E> {
    /// The tally that a cell is added to; `None` to leave the cell out.
    fn tally(&mut self, cell: CellKey) -> Result<Option<&mut Tally>, E>;

    /// The part of a cell to add.
    fn part(&self) -> Part;
}

/// The part of a cell's tally to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All, and also the device of a row of one device.
    Full,
    /// All that the row's bytes contain.
    Stored,
    /// Only events and failures.
    Counts,
}

/// Adds each cell, with its full dimensions, to its tally in `sum`.
pub(super) fn add_row<E: From<Damaged>>(
    row: RowKey,
    bytes: &[u8],
    sum: &mut impl Sum<E>,
) -> Result<(), E> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let cell = cell_of(row, &mut reader)?;
        add_tally(row, &mut reader, sum, cell)?;
    }
    Ok(())
}

/// Adds the whole of a device's row, whose only dimension is the device.
pub(super) fn add_whole<E: From<Damaged>>(
    row: RowKey,
    bytes: &[u8],
    sum: &mut impl Sum<E>,
) -> Result<(), E> {
    let dimensions = Dimensions { device: row.lead, ..Dimensions::default() };
    add_tally(row, &mut Reader(bytes), sum, CellKey { grain: 0, dimensions })
}

fn add_tally<E: From<Damaged>>(
    row: RowKey,
    reader: &mut Reader<'_>,
    sum: &mut impl Sum<E>,
    cell: CellKey,
) -> Result<(), E> {
    let (part, is_of_device) = (sum.part(), row.level.is_of_device());
    let devices = match (is_of_device, part) {
        (true, Part::Full) => Devices::One(row.lead),
        (true, _) => Devices::Unsaid,
        (false, _) => Devices::Listed,
    };
    match sum.tally(cell)? {
        Some(to) if part == Part::Counts => to.add_counts(reader.counts(!is_of_device)?),
        Some(to) => reader.add_tally(devices, to)?,
        None => {
            reader.counts(!is_of_device)?;
        }
    }
    Ok(())
}

fn cell_of(row: RowKey, reader: &mut Reader<'_>) -> Result<CellKey, Damaged> {
    let level = row.level;
    let grain = if level.has_grains() { reader.small()? } else { 0 };
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

/// A row's cells, keyed by the dimensions that the row's key does not have.
struct Kept {
    row: RowKey,
    cells: Cells,
}

impl Sum<Damaged> for Kept {
    fn tally(&mut self, mut cell: CellKey) -> Result<Option<&mut Tally>, Damaged> {
        if self.row.level.is_of_device() {
            cell.dimensions.device = 0;
        } else {
            cell.dimensions.application = 0;
        }
        Ok(Some(self.cells.entry(cell).or_default()))
    }

    fn part(&self) -> Part {
        Part::Stored
    }
}

/// Decodes the cells of a stored row.
pub(super) fn decode(row: RowKey, bytes: &[u8]) -> Result<Cells, Damaged> {
    let mut kept = Kept { row, cells: Cells::new() };
    add_row(row, bytes, &mut kept)?;
    Ok(kept.cells)
}
