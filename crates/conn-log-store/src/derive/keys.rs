//! The input of the index: the columns that events are found by.

use diesel::prelude::*;

use crate::engine::{AnyConnection, Dialect, Ip, Micros};
use crate::error::StoreError;
use crate::log::key;
use crate::log::schema::events;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// The columns of an event that the index reads.
#[derive(Queryable, Selectable)]
#[diesel(table_name = events)]
pub(crate) struct KeyRow {
    pub(super) id: i64,
    pub(super) created_at: Micros,
    pub(super) device_id: String,
    pub(super) application_id: String,
    pub(super) status: String,
    pub(super) timestamp: Micros,
    pub(super) ip_address: Option<Ip>,
    pub(super) session_id: Option<String>,
}

/// Reads the events that exist in a span, in the order of the log.
pub(super) fn read(
    connection: &mut AnyConnection,
    tenant: TenantId,
    span: Span,
) -> Result<Vec<KeyRow>, StoreError> {
    let dialect = Dialect::from(&mut *connection);
    Ok(events::table
        .filter(key::within(tenant, span, dialect))
        .order(key::order(dialect))
        .select(KeyRow::as_select())
        .load(connection)?)
}
