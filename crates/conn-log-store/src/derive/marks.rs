//! The watermarks of followers in a log.

use std::collections::BTreeMap;

use super::follower::Follower;
use crate::engine::{
    AnyConnection, Home, Position, Tenants, positions, positions_of, set_position_in_txn,
};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// The watermark of a follower that begins again and still has rows to delete.
pub(super) const CLEARING: i64 = -1;

/// The watermark of each follower, or [`CLEARING`]. Followers whose data a newer program writes, or
/// a server with another setting, are left out.
pub(super) type Marks = BTreeMap<&'static str, i64>;

/// The marks of some followers in one log.
pub(super) fn marks<'a>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    followers: impl Iterator<Item = &'a dyn Follower>,
) -> Result<Marks, StoreError> {
    let followers: Vec<&dyn Follower> = followers.collect();
    let mut rows = Vec::new();
    for home in homes(&followers) {
        rows.extend(positions_of(connection, tenant, home)?);
    }
    Ok(of_rows(&rows, &followers))
}

/// The marks of some followers in the logs of these tenants, as far as they have any. Followers
/// are new to a log without marks.
pub(super) fn all_marks<'a>(
    connection: &mut AnyConnection,
    tenants: Tenants<'_>,
    followers: impl Iterator<Item = &'a dyn Follower>,
) -> Result<BTreeMap<TenantId, Marks>, StoreError> {
    let followers: Vec<&dyn Follower> = followers.collect();
    let mut by_tenant: BTreeMap<TenantId, Vec<Position>> = BTreeMap::new();
    for home in homes(&followers) {
        for row in positions(connection, home, tenants)? {
            by_tenant.entry(TenantId(row.tenant)).or_default().push(row);
        }
    }
    let of = |(tenant, rows): (TenantId, Vec<Position>)| (tenant, of_rows(&rows, &followers));
    Ok(by_tenant.into_iter().map(of).collect())
}

/// The marks of followers in a log without positions.
pub(super) fn of_new_log<'a>(followers: impl Iterator<Item = &'a dyn Follower>) -> Marks {
    followers.map(|follower| (follower.name(), 0)).collect()
}

fn homes(followers: &[&dyn Follower]) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    for follower in followers {
        if !homes.contains(&follower.home()) {
            homes.push(follower.home());
        }
    }
    homes
}

/// Version and setting of a follower: data of another one cannot be continued.
fn identity(follower: &dyn Follower) -> (i16, i64) {
    (follower.version(), follower.setting())
}

fn identity_of(row: &Position) -> (i16, i64) {
    (row.version, row.setting)
}

fn of_rows(rows: &[Position], followers: &[&dyn Follower]) -> Marks {
    let mark = |follower: &&dyn Follower| {
        let name = follower.name();
        match rows.iter().find(|row| row.name == name) {
            None => Some((name, 0)),
            Some(row) if row.version < follower.version() => Some((name, CLEARING)),
            Some(row) if identity_of(row) == identity(*follower) => Some((name, row.watermark)),
            Some(_) => None,
        }
    };
    followers.iter().filter_map(mark).collect()
}

/// Makes a follower begin again, by the next steps.
pub(super) fn restart_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    follower: &dyn Follower,
) -> Result<(), StoreError> {
    follower.hide_in_txn(connection, tenant)?;
    set_mark_in_txn(connection, tenant, follower, CLEARING, None)
}

/// Moves a follower's watermark. The anchor is the leaf hash of the event at the watermark.
pub(super) fn set_mark_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    follower: &dyn Follower,
    watermark: i64,
    anchor: Option<Vec<u8>>,
) -> Result<(), StoreError> {
    let position = Position {
        tenant: tenant.0,
        name: follower.name().to_owned(),
        version: follower.version(),
        setting: follower.setting(),
        watermark,
        anchor,
    };
    Ok(set_position_in_txn(connection, follower.home(), position)?)
}
