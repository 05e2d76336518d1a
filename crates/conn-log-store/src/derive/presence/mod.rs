//! Presence of devices and applications: first and last event, present state, and counts.

mod fold;
mod read;
mod rows;

pub use read::{Application, Device, DeviceFilter};
pub(crate) use read::{application_get, application_list, device_get, device_list};

use super::dictionary::Names;
use super::facts::Fact;
use super::follower::{Follower, Input, TakesFacts};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

pub(super) const PRESENCE: &str = "presence";

/// The follower for presence.
pub(super) struct Presence;

impl Follower for Presence {
    fn name(&self) -> &'static str {
        PRESENCE
    }

    fn version(&self) -> i16 {
        1
    }

    fn input(&self) -> Input<'_> {
        Input::Facts(self)
    }

    fn clear_some_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
    ) -> Result<bool, StoreError> {
        Ok(rows::clear_some_in_txn(connection, tenant)?)
    }
}

impl TakesFacts for Presence {
    fn take_in_txn(
        &self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        facts: &[Fact],
        names: &Names,
    ) -> Result<(), StoreError> {
        let fold = fold::PresenceFold::of(facts, names);
        Ok(rows::add_in_txn(connection, tenant, fold, names)?)
    }
}
