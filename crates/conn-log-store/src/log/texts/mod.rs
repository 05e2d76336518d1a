//! The texts that many rows of SQLite's log share, each with a number: shapes of metadata, and user
//! agents ([`Packed`](crate::engine::Packed) is the form of such a row).
//!
//! [`Packer`] is the writer's side, [`Unpacker`] the readers'.
//!
//! Architecture invariants:
//! - A text is stored in the transaction of the first row that has its number, or before. It is
//!   never changed or removed. So a row that can be read can be unpacked.
//! - Only the writer gives numbers, while it holds the file's lock.
//! - No reader remembers a text beyond one read: the file may be restored under a running server,
//!   and a number may mean another text then.

mod packer;
mod unpacker;

use diesel::prelude::*;

pub(crate) use packer::{PackedMetadata, Packer};
pub(crate) use unpacker::{AgentOfRow, Damaged, ShapeOfRow, Unpacker, unpack};

use super::schema::texts;
use crate::tenant_id::TenantId;

/// The kinds of texts, as the table holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Names of the members of metadata.
    Shape = 1,
    Agent = 2,
}

/// All texts of a kind, with their numbers.
pub(crate) fn all(
    connection: &mut SqliteConnection,
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
