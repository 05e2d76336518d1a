//! Authentication: the bearer token, its tenant and its scopes.
//!
//! A handler gets a tenant only through [`Writer`], [`Reader`] or [`Admin`], so no handler can skip
//! authentication.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use conn_log_core::Timestamp;
use conn_log_store::{Scope, SecretHash, Store, StoreError, TenantId, Token};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::timeout;
use uuid::Uuid;

use crate::http::app::App;
use crate::http::client_address;
use crate::http::problem::{Problem, ProblemKind};

/// How long a token is trusted without a query to the store. A token revoked by another process
/// is refused after at most this time; the contract promises five seconds.
const BELIEVED: Duration = Duration::from_secs(4);

/// Time limit for finding a token: as long as a read waits for a connection.
const FIND_TIME_MAX: Duration = Duration::from_secs(5);

/// Maximum number of remembered tokens, valid or not. Each takes about 200 bytes.
const REMEMBERED_MAX: u64 = 10_000;

/// How long this server remembers the tokens that it revoked: longer than a query to the store that
/// began before the revocation.
const REVOKED_REMEMBERED: Duration = Duration::from_mins(1);

/// Maximum number of remembered revoked tokens. A revoked token beyond it is refused after
/// [`BELIEVED`].
const REVOKED_MAX: u64 = 10_000;

/// A cache of the tokens seen lately, with the store's result for each.
#[derive(Clone)]
pub(crate) struct Tokens {
    store: Store,
    seen: Cache<SecretHash, Option<Arc<Token>>>,
    /// Ids of tokens that this server revoked lately. They count even if the cache still holds the
    /// token or a query for it is running.
    revoked: Cache<Uuid, ()>,
}

impl Tokens {
    pub(crate) fn new(store: Store) -> Self {
        let seen = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(BELIEVED).build();
        let revoked = Cache::builder()
            .max_capacity(REVOKED_MAX)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(REVOKED_REMEMBERED)
            .build();
        Tokens { store, seen, revoked }
    }

    /// Revokes a token of a tenant. The server refuses the token once this returns.
    pub(crate) async fn revoke(&self, tenant: TenantId, id: Uuid) -> Result<(), Problem> {
        let Tokens { store, revoked, .. } = self.clone();
        // Runs to the end even if the client disconnects.
        let revoking = web::block(move || {
            store.token_revoke(Some(tenant), id)?;
            revoked.insert(id, ());
            Ok::<_, StoreError>(())
        });
        Ok(revoking.await??)
    }

    /// The token of a secret. Unknown secrets are remembered too, so that every kind of invalid
    /// token takes the same time to refuse.
    async fn find(&self, hash: SecretHash) -> Result<Option<Arc<Token>>, Problem> {
        let token = self.look_up(hash).await?;
        Ok(token.filter(|token| !self.revoked.contains_key(&token.id)))
    }

    async fn look_up(&self, hash: SecretHash) -> Result<Option<Arc<Token>>, Problem> {
        if let Some(token) = self.seen.get(&hash) {
            return Ok(token);
        }
        let (store, key) = (self.store.clone(), hash);
        let found = timeout(FIND_TIME_MAX, web::block(move || store.token_find(&key))).await;
        let frozen = |_| StoreError::Unavailable("the database does not answer".into());
        let token = found.map_err(frozen)???.map(Arc::new);
        self.seen.insert(hash, token.clone());
        Ok(token)
    }
}

/// The scope that a handler asks for.
pub(crate) trait Needs {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $alias:ident, $marker:ident, $scope:ident;)*) => {$(
        #[derive(Debug)]
        pub(crate) struct $marker;
        impl Needs for $marker {
            const SCOPE: Scope = Scope::$scope;
        }
        $(#[$doc])*
        pub(crate) type $alias = Caller<$marker>;
    )*};
}

needs! {
    /// May register events.
    Writer, Write, Write;
    /// May read its tenant's log.
    Reader, Read, Read;
    /// May manage its tenant's tokens.
    Admin, Administer, Admin;
}

/// The id of the token that a request came with, for the log: in the request's extensions, also
/// where the token is expired or revoked, or lacks a scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenToken(pub(crate) Uuid);

/// An authenticated client with the scope that `N` asks for.
#[derive(Clone, Debug)]
pub(crate) struct Caller<N> {
    token: Arc<Token>,
    hash: SecretHash,
    scope: PhantomData<N>,
}

impl<N> Caller<N> {
    /// The client's token.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Whether the token is still valid, for work that lasts longer than a request.
    pub(crate) async fn is_still_valid(&self, app: &App) -> bool {
        let now = Timestamp::from(chrono::Utc::now());
        // While the store is unavailable, the token counts as valid.
        app.tokens
            .find(self.hash)
            .await
            .map_or(true, |token| token.is_some_and(|token| token.is_valid_at(now)))
    }

    /// The tenant whose log the client may use.
    pub(crate) fn tenant(&self) -> TenantId {
        self.token.tenant
    }
}

impl<N: Needs> FromRequest for Caller<N> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = App::of(request);
        let address = client_address::of(request, &app.options.trusted_proxies);
        let request = request.clone();
        let bearer = bearer(&request).map(|token| SecretHash::of(token.unwrap_or_default()));
        Box::pin(async move {
            let hash = bearer?;
            let token = app.tokens.find(hash).await?;
            if let Some(token) = &token {
                request.extensions_mut().insert(SeenToken(token.id));
            }
            let now = Timestamp::from(chrono::Utc::now());
            let Some(token) = token.filter(|token| token.is_valid_at(now)) else {
                app.auth_failures.count(address)?;
                return Err(unauthorized());
            };
            if !token.allows(N::SCOPE) {
                let detail = format!("the token lacks the scope {}", N::SCOPE);
                return Err(Problem::new(ProblemKind::Forbidden, detail));
            }
            Ok(Caller { token, hash, scope: PhantomData })
        })
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1).
///
/// # Errors
/// 400 for two such headers (RFC 9110, section 5.3): a proxy and this server could each believe another one.
fn bearer(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let value = values.next();
    if values.next().is_some() {
        let detail = "Authorization is given once";
        return Err(Problem::new(ProblemKind::InvalidHeader, detail));
    }
    let value = value.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    Ok(value
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim()))
}

fn unauthorized() -> Problem {
    let detail = "send Authorization: Bearer <token> with a valid token";
    Problem::new(ProblemKind::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, "Bearer")
}
