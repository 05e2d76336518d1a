//! Rules and alerts.

use conn_log_core::Timestamp;
use conn_log_core::alert::Rule;

use super::Store;
use crate::control::alerts::{self, Alert, AlertQuery, AlertState, StoredRule, rules, table};
use crate::control::{AlertChange, Created, Once};
use crate::derive::alerts::{AlertingState, Preview, RuleState, preview};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Rules.
impl Store {
    /// Creates a rule. It looks at the events that come after it. Fails with [`StoreError::Full`] at
    /// the limit of rules. Blocks the thread.
    pub fn rule_create(&self, tenant: TenantId, rule: Rule) -> Result<StoredRule, StoreError> {
        self.rule_create_once(tenant, rule, None)?.into_new()
    }

    /// The same, once for a request with an idempotency key. Blocks the thread.
    pub fn rule_create_once(
        &self,
        tenant: TenantId,
        rule: Rule,
        once: Option<Once<StoredRule>>,
    ) -> Result<Created<StoredRule>, StoreError> {
        let created = self.create_once(tenant, once, move |connection| {
            let created = rules::create_in_txn(connection, tenant, vec![rule], false)?;
            created.into_iter().next().ok_or_else(|| StoreError::internal("no rule was created"))
        })?;
        self.0.signals.wake();
        Ok(created)
    }

    /// Creates those of the rules whose names the tenant does not have, and returns them. Blocks the
    /// thread.
    pub fn rule_install(
        &self,
        tenant: TenantId,
        rules: Vec<Rule>,
    ) -> Result<Vec<StoredRule>, StoreError> {
        let created = self.create_once(tenant, None, move |connection| {
            rules::create_in_txn(connection, tenant, rules, true)
        })?;
        self.0.signals.wake();
        created.into_new()
    }

    /// Replaces a rule by what `change` makes of it. If it then finds something else it has a new
    /// version, which looks at the events that come after it. Alerts that go on have ended if their
    /// version is evaluated no more. Fails with [`StoreError::NotFound`].
    /// Blocks the thread.
    pub fn rule_change<E: Send + 'static>(
        &self,
        tenant: TenantId,
        id: i64,
        change: impl FnOnce(&StoredRule) -> Result<Rule, E> + Clone + Send + 'static,
    ) -> Result<Result<StoredRule, E>, StoreError> {
        let changed = rules::change(&self.0.engine, tenant, id, change)?;
        self.0.signals.wake();
        Ok(changed)
    }

    /// Deletes a rule, if `check` lets it. Its alerts stay, and those that go on have ended. Fails
    /// with [`StoreError::NotFound`]. Blocks the thread.
    pub fn rule_delete<E: Send + 'static>(
        &self,
        tenant: TenantId,
        id: i64,
        check: impl FnOnce(&StoredRule) -> Result<(), E> + Clone + Send + 'static,
    ) -> Result<Result<(), E>, StoreError> {
        let deleted = rules::delete(&self.0.engine, tenant, id, check)?;
        self.0.signals.wake();
        Ok(deleted)
    }

    /// A rule. Blocks the thread.
    pub fn rule_get(&self, tenant: TenantId, id: i64) -> Result<Option<StoredRule>, StoreError> {
        self.0.engine.read(|| rules::get(&self.0.engine, tenant, id))
    }

    /// A page of the rules, newest first. Blocks the thread.
    pub fn rule_list(
        &self,
        tenant: TenantId,
        query: &PageQuery<i64>,
    ) -> Result<Page<StoredRule>, StoreError> {
        self.0.engine.read(|| rules::page(&self.0.engine, tenant, query))
    }

    /// How a rule fares. `None` if this process does not evaluate it.
    pub fn rule_state(&self, tenant: TenantId, id: i64) -> Option<RuleState> {
        self.0.alerting.state().rules.get(&(tenant, id)).copied()
    }

    /// Runs a rule over the events of a time of the past, for at most some seconds, and stores
    /// nothing. Blocks the thread.
    pub fn rule_preview(
        &self,
        tenant: TenantId,
        rule: Rule,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Preview, StoreError> {
        preview(&self.0.engine, tenant, rule, since, until)
    }

    /// How the evaluation of rules fares in this process.
    pub fn alerting_state(&self) -> AlertingState {
        self.0.alerting.state()
    }

    /// The evaluation of the first lane's rules, to be driven by a test.
    #[cfg(test)]
    pub(crate) fn rules_runner(
        &self,
        meter: Box<dyn crate::derive::alerts::Meter>,
    ) -> crate::derive::alerts::Runner {
        crate::derive::alerts::Runner::new(self.0.alerting.clone(), 0, meter)
    }
}

/// Alerts.
impl Store {
    /// An alert. Blocks the thread.
    pub fn alert_get(&self, tenant: TenantId, id: i64) -> Result<Option<Alert>, StoreError> {
        self.0.engine.read(|| table::find_in(&mut *self.0.engine.reader_of(tenant)?, tenant, id))
    }

    /// A page of the alerts, newest first. Blocks the thread.
    pub fn alert_list(
        &self,
        tenant: TenantId,
        filter: &AlertQuery,
        query: &PageQuery<i64>,
    ) -> Result<Page<Alert>, StoreError> {
        self.0.engine.read(|| table::page(&self.0.engine, tenant, filter, query))
    }

    /// Notes that a person has seen an alert, or that it is over. An alert in that state, or in a
    /// later one, stays as it is. Fails with [`StoreError::NotFound`]. Blocks the thread.
    pub fn alert_settle(
        &self,
        tenant: TenantId,
        id: i64,
        state: AlertState,
        note: Option<String>,
    ) -> Result<Alert, StoreError> {
        let settled = table::settle(&self.0.engine, tenant, id, state, note)?;
        self.0.signals.wake_for_alert_change(tenant);
        Ok(settled)
    }

    /// The changes of a tenant's alerts after a place in the outbox, at most `limit`. Blocks the
    /// thread.
    pub fn alert_changes_after(
        &self,
        tenant: TenantId,
        position: i64,
        limit: i64,
    ) -> Result<Vec<AlertChange>, StoreError> {
        self.0.engine.read(|| {
            alerts::changes::after(&mut *self.0.engine.reader_of(tenant)?, tenant, position, limit)
        })
    }

    /// The last place in a tenant's outbox; 0 for an empty one. Blocks the thread.
    pub fn alert_changes_last(&self, tenant: TenantId) -> Result<i64, StoreError> {
        self.0
            .engine
            .read(|| Ok(alerts::changes::last_id(&mut *self.0.engine.reader_of(tenant)?, tenant)?))
    }
}
