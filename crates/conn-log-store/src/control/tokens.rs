//! The table of tokens: creates, lists, finds by secret and revokes them.
//!
//! Only the SHA-256 of a token's text is kept ([`Secret`]).

use std::str::FromStr;

use conn_log_core::Binding;
use diesel::prelude::*;
use uuid::Uuid;

use super::schema::{tenants, tokens};
use super::secret::{Secret, SecretHash};
use super::token::{NewToken, Rate, Scope, Token, TokenPlace, UnknownName};
use crate::clock::now;
use crate::engine::{AnyConnection, Engine, Fault, Guid, Micros};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Limit of tokens of a tenant: one for each device of a large fleet. At the limit a new token
/// replaces one that is revoked or expired.
const TOKENS_MAX: i64 = 100_000;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = tokens, treat_none_as_default_value = false)]
struct TokenRow {
    id: Guid,
    tenant_id: i32,
    name: String,
    secret_hash: Vec<u8>,
    scopes: String,
    rate_events_per_second: Option<i32>,
    rate_burst_events: Option<i32>,
    created_at: Micros,
    expires_at: Option<Micros>,
    revoked_at: Option<Micros>,
    device_id: Option<String>,
    application_id: Option<String>,
    on_reject: Option<String>,
    handling: Option<String>,
}

/// Creates a token, and returns its secret, which is not shown again. Fails with
/// [`StoreError::NotFound`] if there is no such tenant, with [`StoreError::Full`] if the tenant
/// already has the most valid tokens that it may have.
pub(crate) fn create(engine: &Engine, new: NewToken) -> Result<(Token, Secret), StoreError> {
    let secret = generate()?;
    let hash = secret.hash();
    let token = engine.write_everywhere(move |connection| {
        connection.in_txn(|connection| {
            // Two transactions at the same time would count the same tokens.
            connection.lock_control_in_txn()?;
            make_room_in_txn(connection, new.tenant, TOKENS_MAX)?;
            insert_in_txn(connection, new, &hash)
        })
    })?;
    Ok((token, secret))
}

/// Creates an admin token for the tenant `default` if there is no token at all; only once, even
/// with several processes at the same time.
pub(crate) fn create_first(engine: &Engine) -> Result<Option<(Token, Secret)>, StoreError> {
    // Without the lock, which a change holds that waits for a node of Citus.
    if has_any(&mut *engine.watcher()?)? {
        return Ok(None);
    }
    let secret = generate()?;
    let hash = secret.hash();
    let token = engine.write_everywhere(move |connection| {
        connection.in_txn(|connection| {
            connection.lock_control_in_txn()?;
            if has_any(connection)? {
                return Ok(None);
            }
            let scopes = vec![Scope::Write, Scope::Read, Scope::Admin];
            let new = NewToken::new(TenantId::DEFAULT, "first run", scopes);
            insert_in_txn(connection, new, &hash).map(Some)
        })
    })?;
    Ok(token.map(|token| (token, secret)))
}

fn has_any(connection: &mut AnyConnection) -> QueryResult<bool> {
    Ok(tokens::table.select(tokens::id).first::<Guid>(connection).optional()?.is_some())
}

/// The tokens of a tenant, or of all tenants; oldest first.
pub(crate) fn list(engine: &Engine, tenant: Option<TenantId>) -> Result<Vec<Token>, StoreError> {
    let mut query = tokens::table
        .select(TokenRow::as_select())
        .order((tokens::created_at, tokens::id))
        .into_boxed();
    if let Some(tenant) = tenant {
        query = query.filter(tokens::tenant_id.eq(tenant.0));
    }
    query.load(&mut *engine.reader()?)?.into_iter().map(Token::try_from).collect()
}

/// A page of a tenant's tokens, newest first.
pub(crate) fn page(
    engine: &Engine,
    tenant: TenantId,
    query: &PageQuery<TokenPlace>,
) -> Result<Page<Token>, StoreError> {
    let mut rows = tokens::table
        .filter(tokens::tenant_id.eq(tenant.0))
        .select(TokenRow::as_select())
        .limit(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
        .into_boxed();
    let from = query.position().map(|place| (Micros(place.created_at), Guid(place.id)));
    if query.is_backwards() {
        rows = rows.order((tokens::created_at.asc(), tokens::id.asc()));
        if let Some((time, id)) = from {
            let is_newer = tokens::created_at.eq(time).and(tokens::id.gt(id));
            rows = rows.filter(tokens::created_at.ge(time));
            rows = rows.filter(tokens::created_at.gt(time).or(is_newer));
        }
    } else {
        rows = rows.order((tokens::created_at.desc(), tokens::id.desc()));
        if let Some((time, id)) = from {
            let is_older = tokens::created_at.eq(time).and(tokens::id.lt(id));
            rows = rows.filter(tokens::created_at.le(time));
            rows = rows.filter(tokens::created_at.lt(time).or(is_older));
        }
    }
    let rows = rows.load(&mut *engine.reader()?)?;
    let found: Result<Vec<Token>, StoreError> = rows.into_iter().map(Token::try_from).collect();
    Ok(query.page(found?))
}

/// Revokes a token, of that tenant or of any. A token that is already revoked stays unchanged.
/// Fails with [`StoreError::NotFound`] if there is no such token.
pub(crate) fn revoke(
    engine: &Engine,
    tenant: Option<TenantId>,
    id: Uuid,
) -> Result<Token, StoreError> {
    engine.write_everywhere(move |connection| {
        connection.in_txn(|connection| {
            let row: TokenRow = tokens::table
                .find(Guid(id))
                .select(TokenRow::as_select())
                .first(connection)
                .optional()?
                .ok_or(StoreError::NotFound("token"))?;
            let mut token = Token::try_from(row)?;
            if tenant.is_some_and(|tenant| tenant != token.tenant) {
                return Err(StoreError::NotFound("token"));
            }
            if token.revoked_at.is_none() {
                let revoked_at = now();
                diesel::update(tokens::table.filter(tokens::id.eq(Guid(id))))
                    .set(tokens::revoked_at.eq(Some(Micros(revoked_at))))
                    .execute(connection)?;
                token.revoked_at = Some(revoked_at);
            }
            Ok(token)
        })
    })
}

/// The token with that secret, even if it is expired or revoked.
pub(crate) fn find(engine: &Engine, hash: &SecretHash) -> Result<Option<Token>, StoreError> {
    let row = tokens::table
        .filter(tokens::secret_hash.eq(hash.as_bytes()))
        .select(TokenRow::as_select())
        .first(&mut *engine.watcher()?)
        .optional();
    // Every request waits for this read, and it has no data of a client that could be at fault: what
    // has no clear cause, such as a server that is stopping, passes.
    let row: Option<TokenRow> = row.map_err(|error| match Fault::of(&error) {
        Fault::Unclear => {
            log::warn!("a token could not be looked up: {error}");
            StoreError::unavailable(error)
        }
        Fault::Passing | Fault::Outage | Fault::Lasting => error.into(),
    })?;
    // The index has compared only some leading bytes; here the whole hash is compared, in constant
    // time.
    row.filter(|row| *hash == row.secret_hash[..]).map(Token::try_from).transpose()
}

fn generate() -> Result<Secret, StoreError> {
    Secret::generate().map_err(StoreError::internal)
}

/// Deletes the oldest revoked or expired tokens if one more token would be too many.
fn make_room_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    tokens_max: i64,
) -> Result<(), StoreError> {
    let of_tenant = tokens::tenant_id.eq(tenant.0);
    let count: i64 = tokens::table.filter(of_tenant).count().get_result(connection)?;
    let too_many = count + 1 - tokens_max;
    if too_many <= 0 {
        return Ok(());
    }
    let ended = tokens::revoked_at.is_not_null().or(tokens::expires_at.le(Some(Micros(now()))));
    let ended: Vec<Guid> = tokens::table
        .filter(of_tenant)
        .filter(ended)
        .order((tokens::created_at, tokens::id))
        .limit(too_many)
        .select(tokens::id)
        .load(connection)?;
    if ended.len() < usize::try_from(too_many).unwrap_or(usize::MAX) {
        return Err(StoreError::Full("token"));
    }
    for id in ended {
        diesel::delete(tokens::table.find(id)).execute(connection)?;
    }
    Ok(())
}

fn insert_in_txn(
    connection: &mut AnyConnection,
    new: NewToken,
    hash: &SecretHash,
) -> Result<Token, StoreError> {
    let tenant: Option<i32> =
        tenants::table.find(new.tenant.0).select(tenants::id).first(connection).optional()?;
    if tenant.is_none() {
        return Err(StoreError::NotFound("tenant"));
    }
    let token = Token {
        id: Uuid::new_v4(),
        tenant: new.tenant,
        name: new.name,
        scopes: new.scopes,
        created_at: now(),
        expires_at: new.expires_at,
        revoked_at: None,
        rate: new.rate,
        binding: new.binding,
        on_reject: new.on_reject,
        handling: new.handling,
    };
    diesel::insert_into(tokens::table).values(TokenRow::new(&token, hash)).execute(connection)?;
    Ok(token)
}

impl TokenRow {
    fn new(token: &Token, hash: &SecretHash) -> Self {
        let names: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
        let integer = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        TokenRow {
            id: Guid(token.id),
            tenant_id: token.tenant.0,
            name: token.name.clone(),
            secret_hash: hash.as_bytes().to_vec(),
            scopes: names.join(" "),
            rate_events_per_second: token.rate.map(|rate| integer(rate.events_per_second)),
            rate_burst_events: token.rate.map(|rate| integer(rate.burst_events)),
            created_at: Micros(token.created_at),
            expires_at: token.expires_at.map(Micros),
            revoked_at: None,
            device_id: token.binding.device_id.clone(),
            application_id: token.binding.application_id.clone(),
            on_reject: token.on_reject.map(|on_reject| on_reject.name().to_owned()),
            handling: token.handling.map(|handling| handling.name().to_owned()),
        }
    }
}

/// The value for a name in the table.
fn named<T: FromStr<Err = UnknownName>>(name: Option<&str>) -> Result<Option<T>, StoreError> {
    name.map(str::parse).transpose().map_err(StoreError::internal)
}

impl TryFrom<TokenRow> for Token {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        let scopes: Result<Vec<Scope>, UnknownName> =
            row.scopes.split_whitespace().map(str::parse).collect();
        let count = |n: i32| u32::try_from(n).unwrap_or(1).max(1);
        Ok(Token {
            id: row.id.0,
            tenant: TenantId(row.tenant_id),
            name: row.name,
            scopes: scopes.map_err(StoreError::internal)?,
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|time| time.0),
            revoked_at: row.revoked_at.map(|time| time.0),
            rate: row.rate_events_per_second.zip(row.rate_burst_events).map(|(rate, burst)| Rate {
                events_per_second: count(rate),
                burst_events: count(burst),
            }),
            binding: Binding { device_id: row.device_id, application_id: row.application_id },
            on_reject: named(row.on_reject.as_deref())?,
            handling: named(row.handling.as_deref())?,
        })
    }
}
