//! Objects that are created once for a request with an idempotency key.

use super::Store;
use crate::control::once::{self, Created, Once, OnceKey, Repeated};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

impl Store {
    /// What became of the request that used a key before, if there was one within the window
    /// (`StoreOptions::idempotency_window`). Blocks the thread.
    pub fn once_find(
        &self,
        tenant: TenantId,
        key: &OnceKey,
    ) -> Result<Option<Repeated>, StoreError> {
        let window = self.0.options.idempotency_window;
        self.0.engine.read(|| once::find(&self.0.engine, tenant, key, window))
    }

    /// Creates an object and keeps the key, in one transaction under the lock for control.
    pub(super) fn create_once<T: Clone + Send + 'static>(
        &self,
        tenant: TenantId,
        once: Option<Once<T>>,
        create: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<Created<T>, StoreError> {
        let window = self.0.options.idempotency_window;
        self.0.engine.write_of(tenant, move |connection| {
            connection.in_txn(|connection| {
                once::create_in_txn(connection, tenant, once.as_ref(), window, create)
            })
        })
    }
}
