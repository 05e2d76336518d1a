//! Questions to the facade about tenants and tokens.

use uuid::Uuid;

use super::Store;
use crate::control::{NewToken, Secret, SecretHash, Tenant, Token, TokenPlace, tenants, tokens};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

impl Store {
    /// Creates a tenant with an empty log. Fails with [`StoreError::NameTaken`] if the name is
    /// taken.
    pub fn tenant_create(&self, name: &str) -> Result<Tenant, StoreError> {
        tenants::create(&self.0.engine, name)
    }

    /// All tenants, oldest first.
    pub fn tenant_list(&self) -> Result<Vec<Tenant>, StoreError> {
        self.0.engine.read(|| tenants::list(&self.0.engine))
    }

    /// The tenant of that name.
    pub fn tenant_find_by_name(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        self.0.engine.read(|| tenants::find_by_name(&self.0.engine, name))
    }

    /// Creates a token, and returns its secret, which is not shown again. Fails with
    /// [`StoreError::NotFound`] if there is no such tenant, with [`StoreError::Full`] if the tenant
    /// already has the most valid tokens that it may have.
    pub fn token_create(&self, new: NewToken) -> Result<(Token, Secret), StoreError> {
        tokens::create(&self.0.engine, new)
    }

    /// Creates an admin token for the tenant `default` if there is no token at all; only once, even
    /// with several processes at the same time.
    pub fn first_token(&self) -> Result<Option<(Token, Secret)>, StoreError> {
        tokens::create_first(&self.0.engine)
    }

    /// The tokens of a tenant, or of all tenants; oldest first.
    pub fn token_list(&self, tenant: Option<TenantId>) -> Result<Vec<Token>, StoreError> {
        self.0.engine.read(|| tokens::list(&self.0.engine, tenant))
    }

    /// A page of a tenant's tokens, newest first. Blocks the thread.
    pub fn token_page(
        &self,
        tenant: TenantId,
        query: &PageQuery<TokenPlace>,
    ) -> Result<Page<Token>, StoreError> {
        self.0.engine.read(|| tokens::page(&self.0.engine, tenant, query))
    }

    /// Revokes a token, of that tenant or of any. A token that is already revoked stays unchanged.
    /// Fails with [`StoreError::NotFound`] if there is no such token.
    pub fn token_revoke(&self, tenant: Option<TenantId>, id: Uuid) -> Result<Token, StoreError> {
        tokens::revoke(&self.0.engine, tenant, id)
    }

    /// The token with that secret, even if it is expired or revoked.
    pub fn token_find(&self, hash: &SecretHash) -> Result<Option<Token>, StoreError> {
        tokens::find(&self.0.engine, hash)
    }
}
