//! Presence in its tables: reads states, adds to them and writes them back.

use std::collections::BTreeMap;

use conn_log_core::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use foldhash::HashSet;

use super::fold::{ApplicationState, DeviceState, PresenceFold};
use crate::derive::dictionary::Names;
use crate::derive::schema::{application_devices, applications, devices};
use crate::engine::{
    AnyConnection, Instant, Ip, KEYS_AT_ONCE, Micros, MultiBackend, clear_some, upsert,
};
use crate::tenant_id::TenantId;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = devices, treat_none_as_default_value = false)]
struct DeviceRow {
    tenant_id: i32,
    device_id: String,
    number: i32,
    first_seen: Micros,
    last_seen: Micros,
    last_event: i64,
    last_application_id: String,
    last_status: String,
    ip_address: Option<Ip>,
    ip_seen: Option<Micros>,
    ip_event: Option<i64>,
    events: i64,
    failures: i64,
}

impl DeviceRow {
    fn new(tenant: TenantId, device_id: String, number: i32, state: DeviceState) -> Self {
        DeviceRow {
            tenant_id: tenant.0,
            device_id,
            number,
            first_seen: Micros(state.first_seen),
            last_seen: Micros(state.last.0),
            last_event: state.last.1,
            last_application_id: state.last_application,
            last_status: state.last_status,
            ip_address: state.ip_address.map(|(_, address)| Ip(address)),
            ip_seen: state.ip_address.map(|((at, _), _)| Micros(at)),
            ip_event: state.ip_address.map(|((_, event), _)| event),
            events: state.events,
            failures: state.failures,
        }
    }

    fn into_state(self) -> (String, DeviceState) {
        let position = |at: Option<Micros>, event: Option<i64>| Some((at?.0, event?));
        let state = DeviceState {
            first_seen: self.first_seen.0,
            last: (self.last_seen.0, self.last_event),
            last_application: self.last_application_id,
            last_status: self.last_status,
            ip_address: position(self.ip_seen, self.ip_event)
                .zip(self.ip_address.map(|address| address.0)),
            events: self.events,
            failures: self.failures,
        };
        (self.device_id, state)
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = applications, treat_none_as_default_value = false)]
struct ApplicationRow {
    tenant_id: i32,
    application_id: String,
    first_seen: Micros,
    last_seen: Micros,
    devices: i64,
    events: i64,
    failures: i64,
}

/// An application, with the number of its devices.
pub(super) type CountedApplication = (ApplicationState, i64);

impl ApplicationRow {
    fn into_state(self) -> (String, CountedApplication) {
        let state = ApplicationState {
            first_seen: self.first_seen.0,
            last_seen: self.last_seen.0,
            events: self.events,
            failures: self.failures,
        };
        (self.application_id, (state, self.devices))
    }
}

#[derive(Insertable)]
#[diesel(table_name = application_devices, treat_none_as_default_value = false)]
struct PairRow {
    tenant_id: i32,
    application: i32,
    device: i32,
}

/// Adds a fold to the tables.
pub(super) fn add_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    fold: PresenceFold,
    names: &Names,
) -> QueryResult<()> {
    let new = new_pairs(connection, tenant, fold.pairs)?;
    let pair = |(application, device): &(i32, i32)| PairRow {
        tenant_id: tenant.0,
        application: *application,
        device: *device,
    };
    let rows: Vec<PairRow> = new.iter().map(pair).collect();
    upsert!(
        connection,
        application_devices,
        &rows,
        key: (tenant_id, application, device),
        set: ()
    );
    add_devices_in_txn(connection, tenant, fold.devices, names)?;
    let mut new_devices: BTreeMap<i32, i64> = BTreeMap::new();
    for (application, _) in &new {
        *new_devices.entry(*application).or_default() += 1;
    }
    let new_devices = |id: &str| new_devices.get(&names.number(id)).copied().unwrap_or(0);
    add_applications_in_txn(connection, tenant, fold.applications, new_devices)
}

fn add_devices_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    seen: BTreeMap<String, DeviceState>,
    names: &Names,
) -> QueryResult<()> {
    let ids: Vec<&str> = seen.keys().map(String::as_str).collect();
    let mut states = load_devices(connection, tenant, &ids)?;
    let mut rows = Vec::with_capacity(seen.len());
    for (id, seen) in seen {
        let state = match states.remove(&id) {
            Some(mut state) => {
                state.add(seen);
                state
            }
            None => seen,
        };
        let number = names.number(&id);
        rows.push(DeviceRow::new(tenant, id, number, state));
    }
    upsert!(
        connection,
        devices,
        &rows,
        key: (tenant_id, device_id),
        kept: (number),
        set: (
            first_seen,
            last_seen,
            last_event,
            last_application_id,
            last_status,
            ip_address,
            ip_seen,
            ip_event,
            events,
            failures
        )
    );
    Ok(())
}

fn add_applications_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    seen: BTreeMap<String, ApplicationState>,
    new_devices: impl Fn(&str) -> i64,
) -> QueryResult<()> {
    let ids: Vec<&str> = seen.keys().map(String::as_str).collect();
    let mut states = load_applications(connection, tenant, &ids)?;
    let mut rows = Vec::with_capacity(seen.len());
    for (id, seen) in seen {
        let (state, known) = match states.remove(&id) {
            Some((mut state, devices)) => {
                state.add(&seen);
                (state, devices)
            }
            None => (seen, 0),
        };
        rows.push(ApplicationRow {
            tenant_id: tenant.0,
            devices: known + new_devices(&id),
            application_id: id,
            first_seen: Micros(state.first_seen),
            last_seen: Micros(state.last_seen),
            events: state.events,
            failures: state.failures,
        });
    }
    upsert!(
        connection,
        applications,
        &rows,
        key: (tenant_id, application_id),
        set: (first_seen, last_seen, devices, events, failures)
    );
    Ok(())
}

/// The pairs of application and device that are not in the table.
pub(super) fn new_pairs(
    connection: &mut AnyConnection,
    tenant: TenantId,
    pairs: impl IntoIterator<Item = (i32, i32)>,
) -> QueryResult<Vec<(i32, i32)>> {
    let mut by_application: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (application, device) in pairs {
        by_application.entry(application).or_default().push(device);
    }
    let mut new = Vec::new();
    for (application, mut devices) in by_application {
        devices.sort_unstable();
        for some in devices.chunks(KEYS_AT_ONCE) {
            let known: Vec<i32> = application_devices::table
                .filter(application_devices::tenant_id.eq(tenant.0))
                .filter(application_devices::application.eq(application))
                .filter(application_devices::device.eq_any(some.iter().copied()))
                .select(application_devices::device)
                .load(connection)?;
            let known: HashSet<i32> = known.into_iter().collect();
            let unknown = some.iter().filter(|device| !known.contains(device));
            new.extend(unknown.map(|device| (application, *device)));
        }
    }
    Ok(new)
}

/// Reads those devices that are in the table.
pub(super) fn load_devices(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ids: &[&str],
) -> QueryResult<BTreeMap<String, DeviceState>> {
    let mut found = BTreeMap::new();
    for some in ids.chunks(KEYS_AT_ONCE) {
        let rows: Vec<DeviceRow> = devices::table
            .filter(devices::tenant_id.eq(tenant.0))
            .filter(devices::device_id.eq_any(some.iter().copied()))
            .select(DeviceRow::as_select())
            .load(connection)?;
        found.extend(rows.into_iter().map(DeviceRow::into_state));
    }
    Ok(found)
}

/// Reads those applications that are in the table.
pub(super) fn load_applications(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ids: &[&str],
) -> QueryResult<BTreeMap<String, CountedApplication>> {
    let mut found = BTreeMap::new();
    for some in ids.chunks(KEYS_AT_ONCE) {
        let rows: Vec<ApplicationRow> = applications::table
            .filter(applications::tenant_id.eq(tenant.0))
            .filter(applications::application_id.eq_any(some.iter().copied()))
            .select(ApplicationRow::as_select())
            .load(connection)?;
        found.extend(rows.into_iter().map(ApplicationRow::into_state));
    }
    Ok(found)
}

/// The start, the direction and the limit of a page of names.
#[derive(Clone, Debug)]
pub(super) struct NameRange {
    pub(super) from: Option<String>,
    pub(super) is_backwards: bool,
    pub(super) limit: usize,
}

impl NameRange {
    /// Whether a name lies in the range.
    pub(super) fn reaches(&self, name: &str) -> bool {
        self.from
            .as_deref()
            .is_none_or(|from| if self.is_backwards { name < from } else { name > from })
    }
}

/// Reads a page of one table by its name column.
macro_rules! page {
    ($connection:expr, $select:expr, $table:ident, $name:ident, $row:ident, $range:expr) => {{
        let range = $range;
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        let mut select = $select.select($row::as_select()).limit(limit);
        if let Some(from) = range.from.clone() {
            select = if range.is_backwards {
                select.filter($table::$name.lt(from))
            } else {
                select.filter($table::$name.gt(from))
            };
        }
        let rows: Vec<$row> = if range.is_backwards {
            select.order($table::$name.desc()).load($connection)?
        } else {
            select.order($table::$name.asc()).load($connection)?
        };
        Ok(rows.into_iter().map($row::into_state).collect())
    }};
}

/// Conditions on devices. The numbers stand for names.
#[derive(Clone, Debug)]
pub(super) struct DeviceConditions {
    pub(super) connected: Option<bool>,
    /// Only devices that used any of these applications; empty for all.
    pub(super) applications: Vec<i32>,
    pub(super) seen_since: Option<Timestamp>,
    pub(super) seen_until: Option<Timestamp>,
    /// Sessions without an event after this time have timed out.
    pub(super) quiet_since: Option<Timestamp>,
}

/// Reads up to that many devices of the range.
pub(super) fn page_devices(
    connection: &mut AnyConnection,
    tenant: TenantId,
    conditions: &DeviceConditions,
    range: &NameRange,
) -> QueryResult<BTreeMap<String, DeviceState>> {
    let mut select = devices::table.filter(devices::tenant_id.eq(tenant.0)).into_boxed();
    if let Some(connected) = conditions.connected {
        let is_connected = is_connected(conditions.quiet_since);
        select = if connected {
            select.filter(is_connected)
        } else {
            select.filter(diesel::dsl::not(is_connected))
        };
    }
    if !conditions.applications.is_empty() {
        let is_used = application_devices::table
            .filter(application_devices::tenant_id.eq(tenant.0))
            .filter(application_devices::application.eq_any(conditions.applications.clone()))
            .filter(application_devices::device.eq(devices::number));
        select = select.filter(diesel::dsl::exists(is_used));
    }
    if let Some(since) = conditions.seen_since {
        select = select.filter(devices::last_seen.ge(Micros(since)));
    }
    if let Some(until) = conditions.seen_until {
        select = select.filter(devices::last_seen.lt(Micros(until)));
    }
    page!(connection, select, devices, device_id, DeviceRow, range)
}

type IsConnected = Box<dyn BoxableExpression<devices::table, MultiBackend, SqlType = Bool>>;

/// Whether a device has a session that is open and not suspended: one index look-up for each
/// device.
fn is_connected(quiet_since: Option<Timestamp>) -> IsConnected {
    let of_device = sql::<Bool>(
        "EXISTS (SELECT 1 FROM sessions
            WHERE sessions.tenant_id = devices.tenant_id AND sessions.device = devices.number
                AND sessions.length = 32 AND NOT sessions.is_suspended",
    );
    match quiet_since {
        None => Box::new(of_device.sql(")")),
        Some(quiet) => Box::new(
            of_device.sql(" AND sessions.last_at > ").bind::<Instant, _>(Micros(quiet)).sql(")"),
        ),
    }
}

/// The devices out of these that used one of the applications, as far as the table knows.
pub(super) fn users_of(
    connection: &mut AnyConnection,
    tenant: TenantId,
    applications: &[i32],
    devices: &[i32],
) -> QueryResult<HashSet<i32>> {
    let mut found = HashSet::default();
    for some in devices.chunks(KEYS_AT_ONCE) {
        let known: Vec<i32> = application_devices::table
            .filter(application_devices::tenant_id.eq(tenant.0))
            .filter(application_devices::application.eq_any(applications.iter().copied()))
            .filter(application_devices::device.eq_any(some.iter().copied()))
            .select(application_devices::device)
            .load(connection)?;
        found.extend(known);
    }
    Ok(found)
}

/// Reads up to that many applications of the range.
pub(super) fn page_applications(
    connection: &mut AnyConnection,
    tenant: TenantId,
    range: &NameRange,
) -> QueryResult<BTreeMap<String, CountedApplication>> {
    let select = applications::table.filter(applications::tenant_id.eq(tenant.0)).into_boxed();
    page!(connection, select, applications, application_id, ApplicationRow, range)
}

/// Deletes some presence rows of a tenant; returns whether there may be more.
pub(super) fn clear_some_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> QueryResult<bool> {
    Ok(clear_some!(connection, devices, device_id: String, tenant)
        || clear_some!(connection, applications, application_id: String, tenant)
        || clear_some!(connection, application_devices, application: i32, tenant))
}
