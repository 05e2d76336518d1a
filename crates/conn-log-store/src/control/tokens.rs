//! Tokens: who may use a tenant's log, and for what.
//!
//! Only the SHA-256 of a token's text is kept ([`Secret`]).

use std::fmt;
use std::str::FromStr;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;

use super::schema::{tenants, tokens};
use super::secret::{Secret, SecretHash};
use crate::clock::now;
use crate::engine::{AnyConnection, Engine, Guid, Micros};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// What a token's bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Register events.
    Write,
    /// Read the log and what is derived from it.
    Read,
    /// Manage tokens, rules and retention.
    Admin,
    /// Manage tenants.
    Operator,
}

/// A name that is none of the scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope; the scopes are write, read, admin and operator")]
pub struct UnknownScope(String);

impl Scope {
    /// Its name, as tokens and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Write => "write",
            Scope::Read => "read",
            Scope::Admin => "admin",
            Scope::Operator => "operator",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        [Scope::Write, Scope::Read, Scope::Admin, Scope::Operator]
            .into_iter()
            .find(|scope| scope.name() == name)
            .ok_or_else(|| UnknownScope(name.to_owned()))
    }
}

/// How much a token may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Events a second, in the long run; 1 or more.
    pub events_per_second: u32,
    /// Events at once; 1 or more.
    pub burst_events: u32,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose log it opens.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Its own rate, where it is not the deployment's.
    pub rate: Option<Rate>,
}

/// A token as the store keeps it: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name for machines.
    pub id: Uuid,
    /// Whose log it opens.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// Its own rate, where it is not the deployment's.
    pub rate: Option<Rate>,
}

impl Token {
    /// Whether it opens anything at that time: neither expired nor revoked.
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| time < end)
    }

    /// Whether it allows that.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

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
}

/// Makes a token. The secret is given once, here. Fails with [`StoreError::NotFound`] if there
/// is no such tenant.
pub(crate) fn create(engine: &Engine, new: NewToken) -> Result<(Token, Secret), StoreError> {
    let secret = generate()?;
    let hash = secret.hash();
    let token = engine.write(move |connection| {
        connection.in_txn(|connection| insert_in_txn(connection, new, &hash))
    })?;
    Ok((token, secret))
}

/// Makes an admin token for the tenant `default`, only if there is no token at all; in any
/// number of processes at once, once.
pub(crate) fn create_first(engine: &Engine) -> Result<Option<(Token, Secret)>, StoreError> {
    let secret = generate()?;
    let hash = secret.hash();
    let token = engine.write(move |connection| {
        connection.in_txn(|connection| {
            connection.lock_control_in_txn()?;
            let count: i64 = tokens::table.count().get_result(connection)?;
            if count > 0 {
                return Ok(None);
            }
            let new = NewToken {
                tenant: TenantId::DEFAULT,
                name: "first run".to_owned(),
                scopes: vec![Scope::Write, Scope::Read, Scope::Admin],
                expires_at: None,
                rate: None,
            };
            insert_in_txn(connection, new, &hash).map(Some)
        })
    })?;
    Ok(token.map(|token| (token, secret)))
}

/// A tenant's tokens, or all of them; oldest first.
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

/// Takes a token back, of that tenant or of any. A token that is revoked already stays as it
/// is. Fails with [`StoreError::NotFound`] if there is none.
pub(crate) fn revoke(
    engine: &Engine,
    tenant: Option<TenantId>,
    id: Uuid,
) -> Result<Token, StoreError> {
    engine.write(move |connection| {
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

/// The token with that secret, expired and revoked ones too.
pub(crate) fn find(engine: &Engine, hash: &SecretHash) -> Result<Option<Token>, StoreError> {
    let row: Option<TokenRow> = tokens::table
        .filter(tokens::secret_hash.eq(hash.as_bytes()))
        .select(TokenRow::as_select())
        .first(&mut *engine.watcher()?)
        .optional()?;
    // The index has compared some leading bytes; here the whole is, in constant time.
    row.filter(|row| *hash == row.secret_hash[..]).map(Token::try_from).transpose()
}

fn generate() -> Result<Secret, StoreError> {
    Secret::generate().map_err(StoreError::internal)
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
        }
    }
}

impl TryFrom<TokenRow> for Token {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        let scopes: Result<Vec<Scope>, UnknownScope> =
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
        })
    }
}
