//! Notifications: the outbox of alerts, webhooks, deliveries and silences.

use conn_log_core::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::Store;
use crate::control::{
    Attempt, Attempted, ClaimedDelivery, Created, Delivery, DeliveryKey, DeliveryLag,
    DeliveryState, NewAlertChange, NewSilence, NewWebhook, Once, Recorded, Redelivered, Silence,
    TokenPlace, Webhook, WebhookChange, WebhookSecret, alerts, deliveries, silences, webhooks,
};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Webhooks. Each of these blocks the thread.
impl Store {
    /// Appends changes of alerts to a tenant's outbox.
    pub fn alert_changes_append(
        &self,
        tenant: TenantId,
        changes: Vec<NewAlertChange>,
    ) -> Result<(), StoreError> {
        self.0.engine.write_of(tenant, move |connection| {
            connection.in_txn(|connection| {
                alerts::changes::append_alert_changes(connection, tenant, &changes)
            })
        })?;
        self.0.signals.wake_for_alert_change(tenant);
        Ok(())
    }

    /// Changes after each transaction of this process that appended to an outbox. What other
    /// processes append must be looked for.
    pub fn alert_changes_signal(&self) -> watch::Receiver<u64> {
        self.0.signals.alert_changes()
    }

    /// Creates a webhook. It is told of the changes that come after. Fails with
    /// [`StoreError::Full`] if the tenant has the most webhooks that it may have.
    pub fn webhook_create(&self, tenant: TenantId, new: NewWebhook) -> Result<Webhook, StoreError> {
        self.webhook_create_once(tenant, new, None)?.into_new()
    }

    /// The same, once for a request with an idempotency key.
    pub fn webhook_create_once(
        &self,
        tenant: TenantId,
        new: NewWebhook,
        once: Option<Once<Webhook>>,
    ) -> Result<Created<Webhook>, StoreError> {
        let secret = WebhookSecret::generate().map_err(StoreError::internal)?;
        self.create_once(tenant, once, move |connection| {
            webhooks::create_in_txn(connection, tenant, new, secret)
        })
    }

    /// A webhook. Fails with [`StoreError::NotFound`] if the tenant has no such webhook; so do the
    /// functions below.
    pub fn webhook_get(&self, tenant: TenantId, id: Uuid) -> Result<Webhook, StoreError> {
        self.0.engine.read(|| webhooks::find_in(&mut *self.0.engine.reader_of(tenant)?, tenant, id))
    }

    /// A page of a tenant's webhooks, newest first.
    pub fn webhook_list(
        &self,
        tenant: TenantId,
        query: &PageQuery<TokenPlace>,
    ) -> Result<Page<Webhook>, StoreError> {
        self.0.engine.read(|| webhooks::list(&self.0.engine, tenant, query))
    }

    /// Changes a webhook as `change` says. One that is enabled again is told of the changes that
    /// come after; one that is disabled has its pending deliveries cancelled.
    pub fn webhook_update<E: Send + 'static>(
        &self,
        tenant: TenantId,
        id: Uuid,
        change: impl FnOnce(&Webhook) -> Result<WebhookChange, E> + Clone + Send + 'static,
    ) -> Result<Result<Webhook, E>, StoreError> {
        webhooks::update(&self.0.engine, tenant, id, change)
    }

    /// Gives a webhook a new secret. The one before it signs too for a day.
    pub fn webhook_rotate_secret(&self, tenant: TenantId, id: Uuid) -> Result<Webhook, StoreError> {
        webhooks::rotate_secret(&self.0.engine, tenant, id)
    }

    /// Deletes a webhook with its deliveries, if `check` lets it.
    pub fn webhook_delete<E: Send + 'static>(
        &self,
        tenant: TenantId,
        id: Uuid,
        check: impl FnOnce(&Webhook) -> Result<(), E> + Clone + Send + 'static,
    ) -> Result<Result<(), E>, StoreError> {
        webhooks::delete(&self.0.engine, tenant, id, check)
    }

    /// Makes a delivery of a test, which is attempted once.
    pub fn webhook_test(&self, tenant: TenantId, id: Uuid) -> Result<Delivery, StoreError> {
        deliveries::test(&self.0.engine, tenant, id)
    }

    /// The number of lanes: sets of tenants that are told of alerts apart, so that a node of a
    /// distributed database holds up its own tenants only. One on other databases.
    pub fn lanes(&self) -> usize {
        self.0.engine.lanes().count()
    }

    /// The enabled webhooks of the tenants of a lane, from 0 on.
    pub fn webhooks_enabled(&self, lane: usize) -> Result<Vec<Webhook>, StoreError> {
        self.0.engine.in_lane(lane, webhooks::all_enabled)
    }
}

/// Deliveries. Each of these blocks the thread.
impl Store {
    /// A page of a webhook's deliveries, newest first.
    pub fn delivery_list(
        &self,
        tenant: TenantId,
        webhook: Uuid,
        state: Option<DeliveryState>,
        query: &PageQuery<i64>,
    ) -> Result<Page<Delivery>, StoreError> {
        self.0.engine.read(|| deliveries::list(&self.0.engine, tenant, webhook, state, query))
    }

    /// A delivery and its attempts, the first first.
    pub fn delivery_get(&self, key: DeliveryKey) -> Result<(Delivery, Vec<Attempt>), StoreError> {
        self.0.engine.read(|| deliveries::find(&self.0.engine, key))
    }

    /// Makes a delivery pending again, whatever its state.
    pub fn delivery_redeliver(&self, key: DeliveryKey) -> Result<Delivery, StoreError> {
        deliveries::redeliver(&self.0.engine, key)
    }

    /// Makes pending what a webhook missed of the changes from `since` to before `until`: its
    /// failed and cancelled deliveries, and changes that it has no delivery of.
    pub fn deliveries_redeliver(
        &self,
        tenant: TenantId,
        webhook: Uuid,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Redelivered, StoreError> {
        deliveries::redeliver_all(&self.0.engine, tenant, webhook, since, until)
    }

    /// Makes deliveries of the changes that an enabled webhook has none of yet. Several processes
    /// may call it at the same time: each delivery is made once.
    pub fn deliveries_plan(&self, webhook: &Webhook, now: Timestamp) -> Result<(), StoreError> {
        let last = alerts::changes::last_id(
            &mut *self.0.engine.reader_of(webhook.tenant)?,
            webhook.tenant,
        )?;
        if last > webhook.position {
            while deliveries::plan(&self.0.engine, webhook.tenant, webhook.id, now)? {}
        }
        Ok(())
    }

    /// The ids of a webhook's deliveries that are due at that time, at most `limit`.
    pub fn deliveries_due(
        &self,
        webhook: &Webhook,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let connection = &mut *self.0.engine.reader_of(webhook.tenant)?;
        Ok(deliveries::due(connection, webhook.tenant, webhook.id, now, limit)?)
    }

    /// Claims deliveries of the tenants of one lane that are due, for a minute. Returns those that no
    /// other process has.
    pub fn deliveries_claim(
        &self,
        keys: Vec<DeliveryKey>,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        deliveries::claim(&self.0.engine, keys, now)
    }

    /// Records an attempt at a claimed delivery.
    pub fn delivery_record(
        &self,
        key: DeliveryKey,
        claim: Uuid,
        attempted: Attempted,
    ) -> Result<Recorded, StoreError> {
        deliveries::record(&self.0.engine, key, claim, attempted)
    }

    /// Deletes deliveries that ended 30 days ago or are more than 100,000 of a tenant, changes of
    /// alerts that are as old, and silences that are long over.
    pub fn deliveries_expire(&self, now: Timestamp) -> Result<(), StoreError> {
        deliveries::expire(&self.0.engine, now)
    }

    /// How far deliveries are behind.
    pub fn delivery_lag(&self) -> Result<DeliveryLag, StoreError> {
        deliveries::lag(&self.0.engine)
    }
}

/// Silences. Each of these blocks the thread.
impl Store {
    /// Creates a silence. Fails with [`StoreError::Full`] if the tenant has the most that it may
    /// have.
    pub fn silence_create(&self, tenant: TenantId, new: NewSilence) -> Result<Silence, StoreError> {
        self.silence_create_once(tenant, new, None)?.into_new()
    }

    /// The same, once for a request with an idempotency key.
    pub fn silence_create_once(
        &self,
        tenant: TenantId,
        new: NewSilence,
        once: Option<Once<Silence>>,
    ) -> Result<Created<Silence>, StoreError> {
        self.create_once(tenant, once, move |connection| {
            silences::create_in_txn(connection, tenant, new)
        })
    }

    /// A page of a tenant's silences, newest first, those that are over included.
    pub fn silence_list(
        &self,
        tenant: TenantId,
        query: &PageQuery<TokenPlace>,
    ) -> Result<Page<Silence>, StoreError> {
        self.0.engine.read(|| silences::list(&self.0.engine, tenant, query))
    }

    /// A silence. Fails with [`StoreError::NotFound`] if there is no such silence.
    pub fn silence_get(&self, tenant: TenantId, id: Uuid) -> Result<Silence, StoreError> {
        self.0.engine.read(|| silences::find(&self.0.engine, tenant, id))
    }

    /// Ends a silence at once. Fails with [`StoreError::NotFound`] if there is no such silence.
    pub fn silence_delete(&self, tenant: TenantId, id: Uuid) -> Result<(), StoreError> {
        silences::delete(&self.0.engine, tenant, id)
    }
}
