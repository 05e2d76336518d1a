//! Questions to the facade about derived data: devices, applications, sessions and statistics.

use super::Store;
use crate::derive::presence::{self, Application, Device, DeviceFilter};
use crate::derive::sessions::{self, Session, SessionFilter, SessionPlace};
use crate::derive::statistics::{self, StatisticsAnswer, StatisticsError, StatisticsQuery};
use crate::derive::{Pace, Progress, UnknownFollower, index};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

impl Store {
    /// A device. Blocks the thread.
    pub fn device_get(&self, tenant: TenantId, id: &str) -> Result<Option<Device>, StoreError> {
        self.0.engine.read(|| presence::device_get(&self.0.derivation, tenant, id))
    }

    /// A page of the devices, by id. Blocks the thread.
    pub fn device_list(
        &self,
        tenant: TenantId,
        filter: &DeviceFilter,
        query: &PageQuery<String>,
    ) -> Result<Page<Device>, StoreError> {
        self.0.engine.read(|| presence::device_list(&self.0.derivation, tenant, filter, query))
    }

    /// An application. Blocks the thread.
    pub fn application_get(
        &self,
        tenant: TenantId,
        id: &str,
    ) -> Result<Option<Application>, StoreError> {
        self.0.engine.read(|| presence::application_get(&self.0.derivation, tenant, id))
    }

    /// A page of the applications, by id. Blocks the thread.
    pub fn application_list(
        &self,
        tenant: TenantId,
        query: &PageQuery<String>,
    ) -> Result<Page<Application>, StoreError> {
        self.0.engine.read(|| presence::application_list(&self.0.derivation, tenant, query))
    }

    /// A page of the sessions, newest first. Blocks the thread.
    pub fn session_list(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        query: &PageQuery<SessionPlace>,
    ) -> Result<Page<Session>, StoreError> {
        self.0.engine.read(|| sessions::session_list(&self.0.derivation, tenant, filter, query))
    }

    /// Answers a question about events; the counts include the last event. Blocks the thread.
    pub fn statistics(
        &self,
        tenant: TenantId,
        query: &StatisticsQuery,
    ) -> Result<StatisticsAnswer, StatisticsError> {
        self.0.engine.read(|| statistics::statistics(&self.0.derivation, tenant, query))
    }

    /// Returns the texts that no event of a log has as the name of its device, application,
    /// connection type, status or network: a filter with such a text is likely mistyped. Blocks the
    /// thread.
    pub fn names_unknown(
        &self,
        tenant: TenantId,
        texts: &[String],
    ) -> Result<Vec<String>, StoreError> {
        self.0.engine.read(|| statistics::unknown_names(&self.0.derivation, tenant, texts))
    }

    /// Makes a follower of the log, such as `presence` or `index`, delete a tenant's data and build
    /// it again in the background. Meanwhile reads of this data help with the work, or fail and
    /// must be tried again later. Blocks the thread.
    pub fn rebuild(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Result<(), UnknownFollower>, StoreError> {
        self.0.derivation.rebuild(tenant, name)
    }

    /// Makes the followers of a tenant's log, the index excepted, take in up to that many more
    /// events each. The store's own thread does this as events come. Blocks the thread.
    pub fn projections_step(
        &self,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Progress, StoreError> {
        let events_max = i64::try_from(events_max).unwrap_or(i64::MAX);
        let reader = &mut *self.0.engine.reader_of(tenant)?;
        self.0.derivation.step(reader, tenant, Pace::Patient, events_max)
    }

    /// Events of a tenant's log that one of its followers has not taken in. Blocks the thread.
    pub fn behind(&self, tenant: TenantId, name: &str) -> Result<i64, StoreError> {
        self.0.derivation.behind(tenant, name)
    }

    /// Events of a tenant's log that the slowest of its followers, the index excepted, has not
    /// taken in. Blocks the thread.
    pub fn projections_behind(&self, tenant: TenantId) -> Result<i64, StoreError> {
        self.0.derivation.behind_slowest(tenant, Pace::Patient)
    }

    /// Events of a tenant's log that the index does not have yet; reads go through these one by
    /// one. Blocks the thread.
    pub fn index_lag(&self, tenant: TenantId) -> Result<i64, StoreError> {
        self.behind(tenant, index::INDEX)
    }
}
