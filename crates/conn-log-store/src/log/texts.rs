//! The texts that many rows of SQLite's log share, each with a number: shapes of metadata, and user
//! agents ([`Packed`] is the form of such a row).
//!
//! Architecture invariants:
//! - A text is stored in the transaction of the first row that has its number, or before. It is
//!   never changed or removed. So a row that can be read can be unpacked.
//! - Only the writer gives numbers, while it holds the file's lock.

use std::hash::BuildHasher as _;

use conn_log_core::Record;
use diesel::prelude::*;
use foldhash::{HashMap, HashSet};

use super::heads::Head;
use super::schema::texts;
use crate::engine::{AnyConnection, Members, Micros, Packed, Shape, pack};
use crate::error::StoreError;
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

/// The kinds of texts, as the table holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Names of the members of metadata.
    Shape = 1,
    Agent = 2,
}

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
    agents: Numbers,
    /// Of the event at hand.
    members: Members,
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

/// A record's metadata as a row holds it.
#[derive(Debug)]
pub(crate) struct PackedMetadata {
    pub(crate) text: String,
    /// Whether the user agent is a number in the text.
    pub(crate) has_agent: bool,
}

impl Packer {
    /// Packs records that are stored in this transaction, and stores the new texts. `before` is the
    /// locked head of the log without them, `after` with them. `None` for a record that is stored
    /// as it is.
    pub(crate) fn pack_in_txn(
        &mut self,
        connection: &mut AnyConnection,
        before: &Head,
        after: (i64, Micros),
        records: &[&Record],
    ) -> QueryResult<Vec<Option<PackedMetadata>>> {
        let tenant = before.tenant;
        if self.0.len() >= LOGS_MAX && !self.0.contains_key(&tenant) {
            self.0.clear();
        }
        let known = self.0.entry(tenant).or_default();
        if known.head != Some((before.size, before.created_at_last)) {
            *known = Known::load(connection, tenant)?;
        }
        known.head = Some(after);
        records.iter().map(|record| known.pack_in_txn(connection, tenant, record)).collect()
    }
}

impl Known {
    fn load(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<Self> {
        let of_kind = |kind, connection: &mut AnyConnection| -> QueryResult<Numbers> {
            let texts = all(connection, tenant, kind)?;
            let last = texts.iter().map(|(number, _)| *number).max().unwrap_or(0);
            let bytes = texts.iter().map(|(_, text)| text.len()).sum();
            let numbers = texts.into_iter().map(|(number, text)| (text, number)).collect();
            Ok(Numbers { numbers, last, bytes, seen: HashSet::default() })
        };
        Ok(Known {
            head: None,
            shapes: of_kind(Kind::Shape, connection)?,
            agents: of_kind(Kind::Agent, connection)?,
            members: Members::default(),
        })
    }

    fn pack_in_txn(
        &mut self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        record: &Record,
    ) -> QueryResult<Option<PackedMetadata>> {
        let event = record.event.fields();
        let agent = match &event.user_agent {
            Some(agent) => self.agents.number_in_txn(connection, tenant, Kind::Agent, agent)?,
            None => None,
        };
        let Known { members, shapes, .. } = self;
        let shape = match members.split(&event.metadata, event.session_id.as_deref()) {
            Some(()) => shapes.number_in_txn(connection, tenant, Kind::Shape, &members.shape)?,
            None => None,
        };
        let shape = shape.map(|number| (number, &*members));
        let text = pack(&event.metadata, shape, agent.unwrap_or(0));
        Ok(text.map(|text| PackedMetadata { text, has_agent: agent.is_some() }))
    }
}

impl Numbers {
    /// The number of a text. `None` if it has none and gets none now.
    fn number_in_txn(
        &mut self,
        connection: &mut AnyConnection,
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

/// All texts of a kind, with their numbers.
pub(crate) fn all(
    connection: &mut AnyConnection,
    tenant: TenantId,
    kind: Kind,
) -> QueryResult<Vec<(u32, String)>> {
    let rows: Vec<(i64, String)> = texts::table
        .filter(texts::tenant_id.eq(tenant.0))
        .filter(texts::kind.eq(kind as i16))
        .select((texts::number, texts::text))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .filter_map(|(number, text)| Some((u32::try_from(number).ok()?, text)))
        .collect())
}

/// Error: a row names a text that is not there, or does not fit it.
#[derive(Debug, thiserror::Error)]
#[error("event {0} cannot be unpacked: the database is damaged")]
pub(crate) struct Damaged(pub(crate) i64);

/// Texts of each kind that a read takes along with the first one it needs: numbers count up, so that
/// the low ones are of texts that came early, and most rows have such. One statement costs as much as
/// these rows.
const FIRST_TEXTS: i64 = 16;

/// The texts that the rows of one read need, each looked up once.
#[derive(Debug)]
pub(crate) struct Unpacker {
    tenant: TenantId,
    has_first: bool,
    shapes: HashMap<u32, Shape>,
    agents: HashMap<u32, String>,
}

impl Unpacker {
    pub(crate) fn new(tenant: TenantId) -> Self {
        let (shapes, agents) = (HashMap::default(), HashMap::default());
        Unpacker { tenant, has_first: false, shapes, agents }
    }

    /// The metadata of event `id`, and its user agent if the column does not have it.
    pub(crate) fn unpack(
        &mut self,
        connection: &mut AnyConnection,
        id: i64,
        text: &str,
        session_id: Option<&str>,
    ) -> Result<(String, Option<String>), StoreError> {
        let damaged = || StoreError::internal(Damaged(id));
        let packed = Packed::of(text, session_id).ok_or_else(damaged)?;
        self.find(connection, Kind::Shape, packed.shape)?;
        self.find(connection, Kind::Agent, packed.agent)?;
        let metadata = if packed.shape == 0 {
            packed.plain().to_owned()
        } else {
            let shape = self.shapes.get(&packed.shape).ok_or_else(damaged)?;
            packed.metadata(shape).ok_or_else(damaged)?
        };
        let agent = if packed.agent == 0 {
            None
        } else {
            Some(self.agents.get(&packed.agent).ok_or_else(damaged)?.clone())
        };
        Ok((metadata, agent))
    }

    /// Looks a text up unless it is known. 0 is no text.
    fn find(&mut self, connection: &mut AnyConnection, kind: Kind, number: u32) -> QueryResult<()> {
        if number == 0 || self.has(kind, number) {
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_first, true) {
            self.find_first(connection)?;
            if self.has(kind, number) {
                return Ok(());
            }
        }
        let key = (self.tenant.0, kind as i16, i64::from(number));
        let text = texts::table.find(key).select(texts::text).first(connection).optional()?;
        if let Some(text) = text {
            self.insert(kind as i16, number, text);
        }
        Ok(())
    }

    fn find_first(&mut self, connection: &mut AnyConnection) -> QueryResult<()> {
        let rows: Vec<(i16, i64, String)> = texts::table
            .filter(texts::tenant_id.eq(self.tenant.0))
            .filter(texts::kind.eq(Kind::Shape as i16).or(texts::kind.eq(Kind::Agent as i16)))
            .filter(texts::number.le(FIRST_TEXTS))
            .select((texts::kind, texts::number, texts::text))
            .load(connection)?;
        for (kind, number, text) in rows {
            self.insert(kind, u32::try_from(number).unwrap_or(0), text);
        }
        Ok(())
    }

    fn has(&self, kind: Kind, number: u32) -> bool {
        match kind {
            Kind::Shape => self.shapes.contains_key(&number),
            Kind::Agent => self.agents.contains_key(&number),
        }
    }

    fn insert(&mut self, kind: i16, number: u32, text: String) {
        if kind == Kind::Shape as i16 {
            self.shapes.insert(number, Shape::of(&text));
        } else {
            self.agents.insert(number, text);
        }
    }
}
