//! Columns by hand: texts as codes of what the block has, numbers in as few bits as they need, metadata as
//! shapes and columns of their values. zstd compresses what may get smaller by it, and the rest is as it is.
//!
//! An event is read without the other events of its block, as far as its columns allow it.

mod addresses;
mod bits;
mod codes;
mod ints;
mod metadata;
mod pieces;
mod reals;
mod shapes;
mod texts;

use anyhow::Context as _;
use conn_log_core::{Event, EventFields, Record, Timestamp};

use self::addresses::Addresses;
use self::bits::{In, Out};
use self::ints::Ints;
use self::metadata::Metadata;
use self::reals::Reals;
use self::texts::{Column, number};
use super::codec::{Codec, Item, Wanted, Zstd, train};

pub(super) struct Columns(Zstd);

impl Columns {
    /// The dictionary of `samples` is trained on the parts of blocks that zstd compresses; 0 bytes: none.
    pub(super) fn new(level: i32, dictionary: usize, samples: &[&[Item]]) -> anyhow::Result<Self> {
        if dictionary == 0 {
            return Ok(Columns(Zstd::new(level, &[])?));
        }
        let soft: Vec<Vec<u8>> = samples.iter().map(|items| write(items).soft).collect();
        Ok(Columns(Zstd::new(level, &train(&soft, dictionary))?))
    }

    /// The events that may have that member in their metadata: only these are made.
    pub(super) fn open_having(
        &mut self,
        bytes: &[u8],
        name: &str,
        text: &str,
    ) -> anyhow::Result<Vec<Item>> {
        let soft = self.soft(bytes)?;
        let block = Block::read(&soft.0, soft.1)?;
        block.metadata.may_have(name, text).into_iter().map(|place| block.item(place)).collect()
    }

    /// The part that zstd compressed, and the other.
    fn soft<'b>(&mut self, bytes: &'b [u8]) -> anyhow::Result<(Vec<u8>, &'b [u8])> {
        let mut head = In { soft: bytes, hard: &[] };
        let (length, compressed) = (head.count()?, head.count()?);
        let compressed = head.bytes(compressed)?;
        Ok((self.0.open(compressed, length)?, head.soft))
    }
}

impl Codec for Columns {
    fn seal(&mut self, items: &[Item]) -> anyhow::Result<Vec<u8>> {
        let out = write(items);
        let compressed = self.0.seal(&out.soft)?;
        let mut block = Out::default();
        block.count(out.soft.len());
        block.count(compressed.len());
        block.soft.extend(compressed);
        block.soft.extend(out.hard);
        Ok(block.soft)
    }

    fn open(&mut self, bytes: &[u8], wanted: Wanted<'_>) -> anyhow::Result<Vec<Item>> {
        let (soft, hard) = self.soft(bytes)?;
        let block = Block::read(&soft, hard)?;
        match wanted {
            Wanted::All => (0..block.count).map(|place| block.item(place)).collect(),
            Wanted::Ids(ids) => ids
                .iter()
                .filter_map(|id| block.place(*id))
                .map(|place| block.item(place))
                .collect(),
        }
    }
}

fn write(items: &[Item]) -> Out {
    let mut out = Out::default();
    let records = || items.iter().map(|item| &item.record);
    let fields = || items.iter().map(|item| item.record.event.fields());
    let micros = |time: fn(&Record) -> i64| records().map(time).collect::<Vec<_>>();
    out.count(items.len());
    ints::write(&micros(|record| record.id), &mut out);
    let created = micros(|record| record.created_at.micros());
    ints::write(&created, &mut out);
    let late = records().zip(&created);
    let late = late.map(|(record, at)| at - record.event.fields().timestamp.micros());
    ints::write(&late.collect::<Vec<_>>(), &mut out);

    let devices = texts::write(fields().map(|of| Some(&*of.device_id)), None, &mut out);
    let of_device = Some(devices.as_slice());
    texts::write(fields().map(|of| Some(&*of.application_id)), of_device, &mut out);
    let types = texts::write(fields().map(|of| Some(&*of.connection_type)), None, &mut out);
    texts::write(fields().map(|of| Some(&*of.status)), Some(&types), &mut out);
    addresses::write(fields().map(|of| of.ip_address), &devices, &mut out);
    texts::write(fields().map(|of| of.user_agent.as_deref()), of_device, &mut out);
    texts::write(fields().map(|of| of.session_id.as_deref()), of_device, &mut out);
    texts::write(fields().map(|of| of.event_id.as_deref()), None, &mut out);
    let (has, _) = number(fields().map(|of| of.duration.is_none()));
    codes::write(&has, Some(&types), &mut out);
    out.soft.push(u8::from(fields().next().is_some_and(|of| of.duration.is_some())));
    reals::write(&fields().filter_map(|of| of.duration).collect::<Vec<_>>(), &mut out);

    let metadata = fields().zip(&devices).map(|(of, device)| Metadata {
        json: &of.metadata,
        session: of.session_id.as_deref(),
        device: *device,
    });
    metadata::write(&metadata.collect::<Vec<_>>(), &mut out);
    let has_nonces = items.first().is_some_and(|item| item.nonce.is_some());
    out.soft.push(u8::from(has_nonces));
    items.iter().filter_map(|item| item.nonce).for_each(|nonce| out.hard.extend(nonce));
    out
}

/// A block that is read: its columns.
struct Block<'a> {
    count: usize,
    ids: Ints<'a>,
    created_at: Ints<'a>,
    late: Ints<'a>,
    devices: Column<'a>,
    applications: Column<'a>,
    types: Column<'a>,
    statuses: Column<'a>,
    addresses: Addresses,
    agents: Column<'a>,
    sessions: Column<'a>,
    event_ids: Column<'a>,
    /// For each event its place among the durations.
    duration_places: Vec<Option<u32>>,
    durations: Reals<'a>,
    metadata: metadata::Columns<'a>,
    nonces: Option<&'a [u8]>,
}

impl<'a> Block<'a> {
    fn read(soft: &'a [u8], hard: &'a [u8]) -> anyhow::Result<Self> {
        let from = &mut In { soft, hard };
        let count = from.count()?;
        let (ids, created_at) = (Ints::read(count, from)?, Ints::read(count, from)?);
        let late = Ints::read(count, from)?;
        let devices = Column::read(count, None, from)?;
        let of_device = Some(devices.codes.as_slice());
        let applications = Column::read(count, of_device, from)?;
        let types = Column::read(count, None, from)?;
        let statuses = Column::read(count, Some(&types.codes), from)?;
        let addresses = Addresses::read(&devices.codes, from)?;
        let agents = Column::read(count, of_device, from)?;
        let sessions = Column::read(count, of_device, from)?;
        let event_ids = Column::read(count, None, from)?;
        let missing = codes::read(count, Some(&types.codes), from)?;
        let first_has = from.bytes(1)?[0] == 1;
        let mut size = 0;
        let place = |code: u32| {
            ((code == 0) == first_has).then(|| {
                size += 1;
                size - 1
            })
        };
        let duration_places = missing.into_iter().map(place).collect();
        let durations = Reals::read(size as usize, from)?;
        let metadata = metadata::Columns::read(&devices.codes, from)?;
        let nonces = (from.bytes(1)?[0] == 1).then(|| from.hard_bytes(16 * count)).transpose()?;
        Ok(Block {
            count,
            ids,
            created_at,
            late,
            devices,
            applications,
            types,
            statuses,
            addresses,
            agents,
            sessions,
            event_ids,
            duration_places,
            durations,
            metadata,
            nonces,
        })
    }

    /// The place of an id: where it is if no event is missing, or else by halves.
    fn place(&self, id: i64) -> Option<usize> {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from.midpoint(to);
            if self.ids.get(middle) < id { from = middle + 1 } else { to = middle }
        }
        (from < self.count && self.ids.get(from) == id).then_some(from)
    }

    fn item(&self, place: usize) -> anyhow::Result<Item> {
        let text = |column: &Column<'_>| column.get(place).context("a text that must be");
        let created_at = self.created_at.get(place);
        let session_id = self.sessions.get(place);
        let mut metadata = String::with_capacity(128);
        self.metadata.append(place, session_id.as_deref(), &mut metadata);
        let event = Event::from_store(EventFields {
            device_id: text(&self.devices)?,
            application_id: text(&self.applications)?,
            connection_type: text(&self.types)?,
            status: text(&self.statuses)?,
            timestamp: Timestamp::from_micros(created_at - self.late.get(place)),
            ip_address: self.addresses.get(place),
            user_agent: self.agents.get(place),
            duration: self.duration_places[place].map(|at| self.durations.get(at as usize)),
            session_id,
            event_id: self.event_ids.get(place),
            metadata,
        });
        let created_at = Timestamp::from_micros(created_at);
        let nonce = |all: &[u8]| all[16 * place..].first_chunk().copied();
        Ok(Item {
            record: Record { id: self.ids.get(place), created_at, event },
            nonce: self.nonces.and_then(nonce),
        })
    }
}
