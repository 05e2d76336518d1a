//! Rejects: events that were refused and kept with their problem, for senders that cannot be taught.
//!
//! The writer stores them in the transaction that stores the other events of their request. So a
//! crash loses neither or both, and a request with an idempotency key keeps its rejects once.
//! Rejects are bounded by number and by age; the oldest go first.

use std::time::Duration;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::schema::{reject_heads as heads, rejects};
use crate::clock::delta;
use crate::engine::{AnyConnection, Engine, Guid, Micros, Tenants, insert_all, numbers};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Rejects kept for a tenant. With 16 KiB each they take 1.6 GB at most.
pub const REJECTS_MAX: i64 = 100_000;

/// A reject is kept for this long.
pub const REJECT_AGE_MAX: Duration = Duration::from_hours(30 * 24);

/// A refused event to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReject {
    /// The id of the token that sent it.
    pub token_id: Uuid,
    /// The kind of the problem, and the codes of its faults. No code has a space.
    pub codes: Vec<String>,
    /// The media type of the request.
    pub content_type: String,
    /// The problem as JSON.
    pub problem: String,
    /// The event as sent, as far as it is kept.
    pub body: Vec<u8>,
    /// Whether `body` is only its beginning.
    pub is_truncated: bool,
}

/// A refused event that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its number in the tenant's rejects: 1, 2, 3 …
    pub id: i64,
    /// The time at which it was refused.
    pub created_at: Timestamp,
    /// The rest of it.
    pub content: NewReject,
}

impl Reject {
    /// Its position in the list.
    pub fn place(&self) -> RejectPlace {
        RejectPlace { id: self.id }
    }
}

/// The position of a reject in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectPlace {
    /// Its number.
    pub id: i64,
}

/// Which rejects a list has. `None` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectFilter {
    /// Refused at this time or later.
    pub since: Option<Timestamp>,
    /// Refused before this time.
    pub until: Option<Timestamp>,
    /// One of the codes.
    pub code: Option<String>,
    /// The token that sent it.
    pub token_id: Option<Uuid>,
}

#[derive(Insertable)]
#[diesel(table_name = rejects, treat_none_as_default_value = false)]
struct NewRow {
    tenant_id: i32,
    id: i64,
    created_at: Micros,
    token_id: Guid,
    codes: String,
    content_type: String,
    truncated: bool,
    problem: String,
    body: Vec<u8>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = rejects)]
struct Row {
    id: i64,
    created_at: Micros,
    token_id: Guid,
    codes: String,
    content_type: String,
    truncated: bool,
    problem: String,
    body: Vec<u8>,
}

impl From<Row> for Reject {
    fn from(row: Row) -> Self {
        let content = NewReject {
            token_id: row.token_id.0,
            codes: row.codes.split_whitespace().map(str::to_owned).collect(),
            content_type: row.content_type,
            problem: row.problem,
            body: row.body,
            is_truncated: row.truncated,
        };
        Reject { id: row.id, created_at: row.created_at.0, content }
    }
}

/// A tenant's row of `reject_heads`, locked until the transaction ends.
struct Head {
    last_id: i64,
    kept: i64,
}

fn lock_in_txn(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<Option<Head>> {
    let head = heads::table.find(tenant.0).select((heads::last_id, heads::kept));
    let row: Option<(i64, i64)> = match connection {
        // The transaction already holds the file's lock.
        AnyConnection::Sqlite(sqlite) => head.first(sqlite).optional()?,
        // An UPDATE, for the reason that `log::heads::lock_in_txn` gives.
        AnyConnection::Postgres(postgres) => diesel::update(heads::table.find(tenant.0))
            .set(heads::kept.eq(heads::kept))
            .returning((heads::last_id, heads::kept))
            .get_result(postgres)
            .optional()?,
    };
    Ok(row.map(|(last_id, kept)| Head { last_id, kept }))
}

fn write_in_txn(connection: &mut AnyConnection, tenant: TenantId, head: &Head) -> QueryResult<()> {
    diesel::update(heads::table.find(tenant.0))
        .set((heads::last_id.eq(head.last_id), heads::kept.eq(head.kept)))
        .execute(connection)?;
    Ok(())
}

/// Keeps rejects, and removes the oldest if there are more than `kept_max`. Returns the number of
/// those removed. The caller holds the tenant's log, so that no two create the same row.
pub(crate) fn keep_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    new: Vec<NewReject>,
    created_at: Timestamp,
    kept_max: i64,
) -> QueryResult<usize> {
    let mut head = if let Some(head) = lock_in_txn(connection, tenant)? {
        head
    } else {
        diesel::insert_into(heads::table)
            .values((
                heads::tenant_id.eq(tenant.0),
                heads::last_id.eq(0_i64),
                heads::kept.eq(0_i64),
            ))
            .execute(connection)?;
        Head { last_id: 0, kept: 0 }
    };
    let rows: Vec<NewRow> = new
        .into_iter()
        .map(|new| {
            head.last_id += 1;
            head.kept += 1;
            NewRow {
                tenant_id: tenant.0,
                id: head.last_id,
                created_at: Micros(created_at),
                token_id: Guid(new.token_id),
                codes: format!(" {} ", new.codes.join(" ")),
                content_type: new.content_type,
                truncated: new.is_truncated,
                problem: new.problem,
                body: new.body,
            }
        })
        .collect();
    insert_all!(connection, rejects, rows);
    let mut evicted = 0;
    if head.kept > kept_max {
        evicted = evict_in_txn(connection, tenant, head.kept - kept_max)?;
        head.kept -= i64::try_from(evicted).unwrap_or(0);
    }
    write_in_txn(connection, tenant, &head)?;
    Ok(evicted)
}

/// Removes the `count` oldest rejects.
fn evict_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    count: i64,
) -> QueryResult<usize> {
    let last: Option<i64> = rejects::table
        .filter(rejects::tenant_id.eq(tenant.0))
        .order(rejects::id)
        .select(rejects::id)
        .offset(count - 1)
        .first(connection)
        .optional()?;
    let oldest = rejects::table.filter(rejects::tenant_id.eq(tenant.0));
    match last {
        Some(last) => diesel::delete(oldest.filter(rejects::id.le(last))).execute(connection),
        None => Ok(0),
    }
}

/// Removes at most `limit` rejects of each tenant that are older than `until`; returns their
/// number.
pub(crate) fn expire(engine: &Engine, until: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let mut count = 0;
    engine.each_lane(|lane| {
        for tenant in engine.in_lane(lane, |reader, tenants| Ok(having_some(reader, tenants)?))? {
            count += engine.write_of(tenant, move |connection| {
                Ok(connection
                    .in_txn(|connection| expire_in_txn(connection, tenant, until, limit))?)
            })?;
        }
        Ok(())
    })?;
    Ok(count)
}

/// Those of the tenants that have rejects.
fn having_some(connection: &mut AnyConnection, tenants: Tenants<'_>) -> QueryResult<Vec<TenantId>> {
    let mut rows = heads::table.filter(heads::kept.gt(0)).select(heads::tenant_id).into_boxed();
    if let Some(tenants) = tenants {
        rows = rows.filter(heads::tenant_id.eq_any(numbers(tenants)));
    }
    let found: Vec<i32> = rows.load(connection)?;
    Ok(found.into_iter().map(TenantId).collect())
}

fn expire_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    until: Timestamp,
    limit: i64,
) -> QueryResult<usize> {
    let Some(mut head) = lock_in_txn(connection, tenant)? else {
        return Ok(0);
    };
    let oldest: Vec<Micros> = rejects::table
        .filter(rejects::tenant_id.eq(tenant.0))
        .order(rejects::id)
        .select(rejects::created_at)
        .limit(limit)
        .load(connection)?;
    let old = oldest.iter().take_while(|created_at| created_at.0 <= until).count();
    if old == 0 {
        return Ok(0);
    }
    let removed = evict_in_txn(connection, tenant, i64::try_from(old).unwrap_or(limit))?;
    head.kept -= i64::try_from(removed).unwrap_or(0);
    write_in_txn(connection, tenant, &head)?;
    Ok(removed)
}

/// The oldest time that a reject may have now.
pub(crate) fn expiry(now: Timestamp) -> Timestamp {
    now.plus(-delta(REJECT_AGE_MAX))
}

/// A page of a tenant's rejects, newest first.
pub(crate) fn page(
    engine: &Engine,
    tenant: TenantId,
    filter: &RejectFilter,
    query: &PageQuery<RejectPlace>,
) -> Result<Page<Reject>, StoreError> {
    let mut rows = rejects::table
        .filter(rejects::tenant_id.eq(tenant.0))
        .select(Row::as_select())
        .limit(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
        .into_boxed();
    if let Some(since) = filter.since {
        rows = rows.filter(rejects::created_at.ge(Micros(since)));
    }
    if let Some(until) = filter.until {
        rows = rows.filter(rejects::created_at.lt(Micros(until)));
    }
    if let Some(code) = &filter.code {
        rows = rows.filter(rejects::codes.like(format!("% {code} %")));
    }
    if let Some(token_id) = filter.token_id {
        rows = rows.filter(rejects::token_id.eq(Guid(token_id)));
    }
    let from = query.position().map(|place| place.id);
    if query.is_backwards() {
        rows = rows.order(rejects::id.asc());
        if let Some(id) = from {
            rows = rows.filter(rejects::id.gt(id));
        }
    } else {
        rows = rows.order(rejects::id.desc());
        if let Some(id) = from {
            rows = rows.filter(rejects::id.lt(id));
        }
    }
    let rows = rows.load(&mut *engine.reader_of(tenant)?)?;
    Ok(query.page(rows.into_iter().map(Reject::from).collect()))
}

/// The reject with that number.
pub(crate) fn get(
    engine: &Engine,
    tenant: TenantId,
    id: i64,
) -> Result<Option<Reject>, StoreError> {
    let row: Option<Row> = rejects::table
        .find((tenant.0, id))
        .select(Row::as_select())
        .first(&mut *engine.reader_of(tenant)?)
        .optional()?;
    Ok(row.map(Reject::from))
}

/// Removes a reject. Fails with [`StoreError::NotFound`] if there is no such reject.
pub(crate) fn delete(engine: &Engine, tenant: TenantId, id: i64) -> Result<(), StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            let head = lock_in_txn(connection, tenant)?;
            let gone = diesel::delete(rejects::table.find((tenant.0, id))).execute(connection)?;
            match (head, gone) {
                (Some(mut head), 1) => {
                    head.kept -= 1;
                    Ok(write_in_txn(connection, tenant, &head)?)
                }
                _ => Err(StoreError::NotFound("reject")),
            }
        })
    })
}
