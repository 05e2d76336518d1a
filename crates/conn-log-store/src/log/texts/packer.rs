//! The writer's side of the texts: gives numbers to texts that repeat, and packs records.

use std::hash::BuildHasher as _;

use conn_log_core::Record;
use diesel::prelude::*;
use foldhash::{HashMap, HashSet};

use super::{Kind, all};
use crate::engine::{Members, Micros, Shape, begin_packed};
use crate::log::heads::Head;
use crate::log::schema::texts;
use crate::tenant_id::TenantId;

/// Texts of a kind in one log, and the sum of their bytes. The texts of clients that make up names
/// or user agents stay in the rows: all texts with a number are in the writer's memory, and each read
/// of facts takes the shapes along.
const TEXTS_MAX: usize = 1_000;
const TEXTS_BYTES_MAX: usize = 64 << 10;

/// Longest text with a number, so that a few long ones do not use up the sum.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// Logs whose texts are in memory: 32 MiB at most. With more logs they are read again.
const LOGS_MAX: usize = 256;

/// Texts that were seen once, as hashes. A text gets a number when it comes again: so texts that do
/// not repeat take no number.
const SEEN_MAX: usize = 1_000;

/// Shapes that metadata is compared with before its names are looked up. To find that it has
/// another shape takes some nanoseconds.
const RECENT_MAX: usize = 8;

/// The texts that the writer knows. Only valid as long as each transaction that it was used in was
/// committed.
#[derive(Debug, Default)]
pub(crate) struct Packer(HashMap<TenantId, Known>);

/// The texts of one log.
#[derive(Debug, Default)]
struct Known {
    /// The head of the log when the texts were known last. Another head means that another process
    /// has written to the log, which may have added texts, or that the file was restored.
    head: Option<(i64, Micros)>,
    shapes: Numbers,
    recent: Recent,
    agents: Numbers,
    /// Of the event at hand.
    members: Members,
    packed: String,
}

#[derive(Debug, Default)]
struct Numbers {
    numbers: HashMap<String, u32>,
    /// The highest number.
    last: u32,
    /// The sum of the lengths of the texts.
    bytes: usize,
    seen: HashSet<u64>,
}

/// Shapes with their numbers, the one that came last first.
#[derive(Debug, Default)]
struct Recent {
    shapes: Vec<(u32, Shape)>,
    /// The last shape that was not among them.
    missed: u32,
}

/// A record's metadata as a row holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedMetadata<'a> {
    pub(crate) text: &'a str,
    /// Whether the user agent is a number in the text.
    pub(crate) has_agent: bool,
}

/// Packs the records of one log in one transaction.
pub(crate) struct LogPacker<'a> {
    tenant: TenantId,
    known: &'a mut Known,
}

impl Packer {
    /// For the records of one log that are stored in this transaction. `before` is the locked head of
    /// the log without them, `after` with them.
    pub(crate) fn of_log_in_txn(
        &mut self,
        connection: &mut SqliteConnection,
        before: &Head,
        after: (i64, Micros),
    ) -> QueryResult<LogPacker<'_>> {
        let tenant = before.tenant;
        if self.0.len() >= LOGS_MAX && !self.0.contains_key(&tenant) {
            self.0.clear();
        }
        let known = self.0.entry(tenant).or_default();
        if known.head != Some((before.size, before.created_at_last)) {
            *known = Known::load(connection, tenant)?;
        }
        known.head = Some(after);
        Ok(LogPacker { tenant, known })
    }
}

impl LogPacker<'_> {
    /// Packs a record, and stores its texts if they are new. `None` for a record that is stored as it
    /// is.
    pub(crate) fn pack_in_txn(
        &mut self,
        connection: &mut SqliteConnection,
        record: &Record,
    ) -> QueryResult<Option<PackedMetadata<'_>>> {
        let event = record.event.fields();
        let Known { agents, shapes, recent, members, packed, .. } = &mut *self.known;
        let agent = match &event.user_agent {
            Some(agent) => agents.number_in_txn(connection, self.tenant, Kind::Agent, agent)?,
            None => None,
        };
        let has_agent = agent.is_some();
        let agent = agent.unwrap_or(0);
        let (metadata, session_id) = (&event.metadata, event.session_id.as_deref());
        if !recent.pack(packed, metadata, session_id, agent) {
            let number = match members.split(metadata, session_id) {
                Some(()) => {
                    shapes.number_in_txn(connection, self.tenant, Kind::Shape, &members.shape)?
                }
                None => None,
            };
            let Some(number) = number.or(has_agent.then_some(0)) else { return Ok(None) };
            begin_packed(packed, number, agent);
            if number == 0 {
                packed.push('\t');
                packed.push_str(metadata);
            } else {
                packed.push_str(&members.values);
                recent.miss(number, &members.shape);
            }
        }
        Ok(Some(PackedMetadata { text: packed, has_agent }))
    }
}

impl Known {
    fn load(connection: &mut SqliteConnection, tenant: TenantId) -> QueryResult<Self> {
        let of_kind = |kind, connection: &mut SqliteConnection| -> QueryResult<Numbers> {
            let texts = all(connection, tenant, kind)?;
            let last = texts.iter().map(|(number, _)| *number).max().unwrap_or(0);
            let bytes = texts.iter().map(|(_, text)| text.len()).sum();
            let numbers = texts.into_iter().map(|(number, text)| (text, number)).collect();
            Ok(Numbers { numbers, last, bytes, seen: HashSet::default() })
        };
        Ok(Known {
            shapes: of_kind(Kind::Shape, connection)?,
            agents: of_kind(Kind::Agent, connection)?,
            ..Known::default()
        })
    }
}

impl Recent {
    /// Packs metadata if it has one of these shapes. Returns whether it has.
    fn pack(
        &mut self,
        packed: &mut String,
        metadata: &str,
        session_id: Option<&str>,
        agent: u32,
    ) -> bool {
        let found = self.shapes.iter().position(|(number, shape)| {
            begin_packed(packed, *number, agent);
            shape.split(metadata, session_id, packed).is_some()
        });
        if let Some(place) = found {
            self.shapes[..=place].rotate_right(1);
        }
        found.is_some()
    }

    /// Takes a shape in that was not among them, unless it would drive out another one and has not
    /// come twice: with many shapes in turn the work would be for nothing.
    fn miss(&mut self, number: u32, shape: &str) {
        let missed = std::mem::replace(&mut self.missed, number);
        if self.shapes.len() < RECENT_MAX || missed == number {
            self.shapes.truncate(RECENT_MAX - 1);
            self.shapes.insert(0, (number, Shape::of(shape)));
        }
    }
}

impl Numbers {
    /// The number of a text. `None` if it has none and gets none now.
    fn number_in_txn(
        &mut self,
        connection: &mut SqliteConnection,
        tenant: TenantId,
        kind: Kind,
        text: &str,
    ) -> QueryResult<Option<u32>> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(Some(*number));
        }
        let bytes = self.bytes + text.len();
        if self.numbers.len() >= TEXTS_MAX || bytes > TEXTS_BYTES_MAX || text.len() > TEXT_BYTES_MAX
        {
            return Ok(None);
        }
        let hash = self.numbers.hasher().hash_one(text);
        if !self.seen.remove(&hash) {
            if self.seen.len() >= SEEN_MAX {
                self.seen.clear();
            }
            self.seen.insert(hash);
            return Ok(None);
        }
        let number = self.last + 1;
        diesel::insert_into(texts::table)
            .values((
                texts::tenant_id.eq(tenant.0),
                texts::kind.eq(kind as i16),
                texts::number.eq(i64::from(number)),
                texts::text.eq(text),
            ))
            .execute(connection)?;
        self.numbers.insert(text.to_owned(), number);
        (self.last, self.bytes) = (number, bytes);
        Ok(Some(number))
    }
}
