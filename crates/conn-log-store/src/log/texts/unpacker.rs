//! The readers' side of the texts.

use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Nullable, Text};
use diesel::sqlite::Sqlite;
use foldhash::HashMap;

use super::Kind;
use crate::engine::{Packed, Shape};
use crate::error::StoreError;
use crate::log::schema::{events, texts};
use crate::tenant_id::TenantId;

/// Error: a row names a text that is not there, or does not fit it.
#[derive(Debug, thiserror::Error)]
#[error("event {0} cannot be unpacked: the database is damaged")]
pub(crate) struct Damaged(pub(crate) i64);

/// The metadata of event `id`, and its user agent if the column does not have it. `shape` and `agent`
/// are the texts whose numbers the row has.
pub(crate) fn unpack(
    id: i64,
    packed: Packed<'_>,
    shape: Option<&Shape>,
    agent: Option<&str>,
) -> Result<(String, Option<String>), StoreError> {
    let damaged = || StoreError::internal(Damaged(id));
    let metadata = if packed.shape == 0 {
        packed.plain().to_owned()
    } else {
        packed.metadata(shape.ok_or_else(damaged)?).ok_or_else(damaged)?
    };
    let agent = match packed.agent {
        0 => None,
        _ => Some(agent.ok_or_else(damaged)?.to_owned()),
    };
    Ok((metadata, agent))
}

/// Declares an expression that is the text whose number a row of `events` has: for a read of a single
/// event, so that one statement does. NULL if the row has none.
macro_rules! text_of_row {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $number:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, QueryId)]
        pub(crate) struct $name;

        impl Expression for $name {
            type SqlType = Nullable<Text>;
        }
        impl AppearsOnTable<events::table> for $name {}
        impl SelectableExpression<events::table> for $name {}
        impl ValidGrouping<()> for $name {
            type IsAggregate = is_aggregate::No;
        }
        impl QueryFragment<Sqlite> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql(concat!(
                    "(SELECT text FROM texts WHERE tenant_id = events.tenant_id AND kind = ",
                    $kind,
                    " AND number = CAST(",
                    $number,
                    " AS INTEGER))"
                ));
                Ok(())
            }
        }
    };
}

// A cast takes the digits that a text begins with. JSON begins with a brace, which is number 0.
text_of_row!(
    /// The text of [`Kind::Shape`].
    ShapeOfRow,
    1,
    "events.metadata"
);
text_of_row!(
    /// The text of [`Kind::Agent`].
    AgentOfRow,
    2,
    "substr(events.metadata, instr(events.metadata, '.') + 1, 10)"
);

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
        connection: &mut SqliteConnection,
        id: i64,
        text: &str,
        session_id: Option<&str>,
    ) -> Result<(String, Option<String>), StoreError> {
        let packed =
            Packed::of(text, session_id).ok_or_else(|| StoreError::internal(Damaged(id)))?;
        self.find(connection, Kind::Shape, packed.shape)?;
        self.find(connection, Kind::Agent, packed.agent)?;
        let agent = self.agents.get(&packed.agent).map(String::as_str);
        unpack(id, packed, self.shapes.get(&packed.shape), agent)
    }

    /// Looks a text up unless it is known. 0 is no text.
    fn find(
        &mut self,
        connection: &mut SqliteConnection,
        kind: Kind,
        number: u32,
    ) -> QueryResult<()> {
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

    fn find_first(&mut self, connection: &mut SqliteConnection) -> QueryResult<()> {
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
