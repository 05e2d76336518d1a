//! Reads of presence: the tables and the tail, added up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use conn_log_core::Timestamp;

use super::PRESENCE;
use super::fold::{ApplicationState, DeviceState, PresenceFold};
use super::rows::{self, CountedApplication, DeviceConditions, NameRange};
use crate::derive::Derivation;
use crate::derive::dictionary::{self, Names};
use crate::derive::sessions::{self, ApplicationCount, Changes, Counting, OpenCount, SESSIONS};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// The data of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// The earliest timestamp of its events.
    pub first_seen: Timestamp,
    /// The latest.
    pub last_seen: Timestamp,
    /// Whether one of its sessions is open and not suspended.
    pub connected: bool,
    /// The application of the latest event.
    pub last_application_id: String,
    /// The address of the latest event that has one.
    pub last_ip_address: Option<IpAddr>,
    /// The status of the latest event.
    pub last_status: String,
    /// The number of its events.
    pub events: i64,
    /// The number of its events with another status than success.
    pub failures: i64,
    /// The number of its open sessions.
    pub open_sessions: i64,
}

/// The data of an application.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its id.
    pub application_id: String,
    /// The earliest timestamp of its events.
    pub first_seen: Timestamp,
    /// The latest.
    pub last_seen: Timestamp,
    /// The number of devices that used it.
    pub devices: i64,
    /// The number of devices with a session of it that is open and not suspended.
    pub connected_devices: i64,
    /// The number of its events.
    pub events: i64,
    /// The number of its events with another status than success.
    pub failures: i64,
    /// The number of its open sessions.
    pub open_sessions: i64,
}

/// A filter for devices. Every given condition must hold; within a repeatable one any value may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceFilter {
    /// Only connected devices, or only others.
    pub connected: Option<bool>,
    /// Only devices that used any of these applications; empty for all.
    pub application_ids: Vec<String>,
    /// Only devices whose latest event is at this time or later.
    pub seen_since: Option<Timestamp>,
    /// Only devices whose latest event is before this time.
    pub seen_until: Option<Timestamp>,
}

/// A device.
pub(crate) fn device_get(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    id: &str,
) -> Result<Option<Device>, StoreError> {
    read(derivation, tenant, |view, connection| {
        let mut states = rows::load_devices(connection, tenant, &[id])?;
        view.add_devices(&mut states, |name| name == id);
        Ok(view.devices(connection, states.into_iter().collect())?.pop())
    })
}

/// A page of the devices, by id.
pub(crate) fn device_list(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    filter: &DeviceFilter,
    query: &PageQuery<String>,
) -> Result<Page<Device>, StoreError> {
    let range = range_of(query);
    read(derivation, tenant, |view, connection| {
        let conditions = view.conditions(connection, filter)?;
        // Devices with events in the tail may drop out, and are checked one by one.
        let touched = view.touched(connection)?;
        let limit = range.limit.saturating_add(touched.len());
        let most = NameRange { limit, ..range.clone() };
        let mut states = rows::page_devices(connection, tenant, &conditions, &most)?;
        states.retain(|id, _| !touched.contains(id));
        let ids: Vec<&str> =
            touched.iter().map(String::as_str).filter(|name| range.reaches(name)).collect();
        let mut changed = rows::load_devices(connection, tenant, &ids)?;
        view.add_devices(&mut changed, |name| range.reaches(name));
        states.extend(view.holding(connection, changed, &conditions)?);
        let page = query.page(along(states, &range));
        Ok(Page { items: view.devices(connection, page.items)?, has_more: page.has_more })
    })
}

/// An application.
pub(crate) fn application_get(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    id: &str,
) -> Result<Option<Application>, StoreError> {
    read(derivation, tenant, |view, connection| {
        let mut states = rows::load_applications(connection, tenant, &[id])?;
        view.add_applications(connection, &mut states, |name| name == id)?;
        Ok(view.applications(connection, states.into_iter().collect())?.pop())
    })
}

/// A page of the applications, by id.
pub(crate) fn application_list(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    query: &PageQuery<String>,
) -> Result<Page<Application>, StoreError> {
    let range = range_of(query);
    read(derivation, tenant, |view, connection| {
        let mut states = rows::page_applications(connection, tenant, &range)?;
        let known = view.fold.applications.keys().map(String::as_str);
        let beyond: Vec<&str> = known.filter(|name| range.reaches(name)).collect();
        states.extend(rows::load_applications(connection, tenant, &beyond)?);
        view.add_applications(connection, &mut states, |name| range.reaches(name))?;
        let page = query.page(along(states, &range));
        Ok(Page { items: view.applications(connection, page.items)?, has_more: page.has_more })
    })
}

fn read<T>(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    read: impl FnOnce(&mut View<'_>, &mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let quiet_since = derivation.quiet_since();
    derivation.read(tenant, [PRESENCE, SESSIONS], |connection, marks, tail, names| {
        let [presence, sessions] = marks;
        let changes = sessions::changes(
            connection,
            tenant,
            tail.past(sessions),
            derivation.session_timeout,
            || false,
        )?;
        let fold = PresenceFold::of(tail.past(presence), &names);
        read(&mut View { derivation, tenant, names, fold, changes, quiet_since }, connection)
    })
}

fn range_of(query: &PageQuery<String>) -> NameRange {
    NameRange {
        from: query.position(),
        is_backwards: query.is_backwards(),
        limit: query.limit.saturating_add(1),
    }
}

/// Puts names in the order of the range.
fn along<T>(states: BTreeMap<String, T>, range: &NameRange) -> Vec<(String, T)> {
    if range.is_backwards {
        states.into_iter().rev().collect()
    } else {
        states.into_iter().collect()
    }
}

/// The tail of one snapshot, folded.
struct View<'a> {
    derivation: &'a Derivation,
    tenant: TenantId,
    names: Names,
    fold: PresenceFold,
    changes: Changes,
    quiet_since: Option<Timestamp>,
}

impl View<'_> {
    /// A name that is not in the log gets a number that no application has.
    fn conditions(
        &mut self,
        connection: &mut AnyConnection,
        filter: &DeviceFilter,
    ) -> Result<DeviceConditions, StoreError> {
        let ids: Vec<&str> = filter.application_ids.iter().map(String::as_str).collect();
        Ok(DeviceConditions {
            connected: filter.connected,
            applications: self.numbers(connection, &ids)?,
            seen_since: filter.seen_since,
            seen_until: filter.seen_until,
            quiet_since: self.quiet_since,
        })
    }

    /// The devices with events in the tail.
    fn touched(&mut self, connection: &mut AnyConnection) -> Result<BTreeSet<String>, StoreError> {
        let sessions = self.changes.before.iter().chain(&self.changes.after);
        let devices: BTreeSet<i32> = sessions.map(|session| session.device).collect();
        dictionary::find_texts(connection, self.tenant, devices.iter().copied(), &mut self.names)?;
        let names = devices.iter().map(|device| self.names.text(*device).to_owned());
        Ok(names.chain(self.fold.devices.keys().cloned()).collect())
    }

    /// The devices out of these, with the tail added, that the conditions hold for.
    fn holding(
        &mut self,
        connection: &mut AnyConnection,
        states: BTreeMap<String, DeviceState>,
        conditions: &DeviceConditions,
    ) -> Result<BTreeMap<String, DeviceState>, StoreError> {
        let ids: Vec<&str> = states.keys().map(String::as_str).collect();
        let numbers = self.numbers(connection, &ids)?;
        let open = self.counting().by_device(connection, &numbers)?;
        let applications = &conditions.applications;
        let mut users = rows::users_of(connection, self.tenant, applications, &numbers)?;
        let of_tail = self.fold.pairs.iter();
        users.extend(of_tail.filter(|(a, _)| applications.contains(a)).map(|(_, device)| *device));
        let holds = |state: &DeviceState, number: &i32| {
            let is_connected = open.get(number).is_some_and(|count| count.connected > 0);
            let at = state.last.0;
            conditions.connected.is_none_or(|connected| is_connected == connected)
                && (applications.is_empty() || users.contains(number))
                && conditions.seen_since.is_none_or(|since| at >= since)
                && conditions.seen_until.is_none_or(|until| at < until)
        };
        let states = states.into_iter().zip(numbers);
        let held = states.filter(|((_, state), number)| holds(state, number));
        Ok(held.map(|(state, _)| state).collect())
    }

    fn counting(&self) -> Counting<'_> {
        let View { tenant, changes, quiet_since, .. } = self;
        Counting { tenant: *tenant, changes, quiet_since: *quiet_since }
    }

    /// Adds the tail to its devices, and adds the devices that are only in the tail.
    fn add_devices(
        &self,
        states: &mut BTreeMap<String, DeviceState>,
        is_wanted: impl Fn(&str) -> bool,
    ) {
        for (id, seen) in &self.fold.devices {
            if is_wanted(id) {
                match states.get_mut(id) {
                    Some(state) => state.add(seen.clone()),
                    None => {
                        states.insert(id.clone(), seen.clone());
                    }
                }
            }
        }
    }

    /// Adds the tail to applications in the same way.
    fn add_applications(
        &self,
        connection: &mut AnyConnection,
        states: &mut BTreeMap<String, CountedApplication>,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let pairs = self.fold.pairs.iter().copied();
        let pairs = pairs.filter(|(application, _)| is_wanted(self.names.text(*application)));
        let mut new: HashMap<i32, i64> = HashMap::new();
        for (application, _) in rows::new_pairs(connection, self.tenant, pairs)? {
            *new.entry(application).or_default() += 1;
        }
        for (id, seen) in &self.fold.applications {
            if is_wanted(id) {
                let nothing = || (ApplicationState { events: 0, failures: 0, ..seen.clone() }, 0);
                let (state, devices) = states.entry(id.clone()).or_insert_with(nothing);
                state.add(seen);
                *devices += new.get(&self.names.number(id)).copied().unwrap_or(0);
            }
        }
        Ok(())
    }

    fn devices(
        &mut self,
        connection: &mut AnyConnection,
        states: Vec<(String, DeviceState)>,
    ) -> Result<Vec<Device>, StoreError> {
        let ids: Vec<&str> = states.iter().map(|(id, _)| id.as_str()).collect();
        let numbers = self.numbers(connection, &ids)?;
        let open = self.counting().by_device(connection, &numbers)?;
        let devices = states.into_iter().zip(numbers).map(|((device_id, state), number)| {
            let OpenCount { open, connected } = open.get(&number).copied().unwrap_or_default();
            Device {
                device_id,
                first_seen: state.first_seen,
                last_seen: state.last.0,
                connected: connected > 0,
                last_application_id: state.last_application,
                last_ip_address: state.ip_address.map(|(_, address)| address),
                last_status: state.last_status,
                events: state.events,
                failures: state.failures,
                open_sessions: open,
            }
        });
        Ok(devices.collect())
    }

    fn applications(
        &mut self,
        connection: &mut AnyConnection,
        states: Vec<(String, CountedApplication)>,
    ) -> Result<Vec<Application>, StoreError> {
        let ids: Vec<&str> = states.iter().map(|(id, _)| id.as_str()).collect();
        let numbers = self.numbers(connection, &ids)?;
        let open = self.counting().by_application(connection, &numbers)?;
        let applications = states.into_iter().zip(numbers).map(|((id, counted), number)| {
            let (state, devices) = counted;
            let ApplicationCount { open, connected_devices } =
                open.get(&number).copied().unwrap_or_default();
            Application {
                application_id: id,
                first_seen: state.first_seen,
                last_seen: state.last_seen,
                devices,
                connected_devices,
                events: state.events,
                failures: state.failures,
                open_sessions: open,
            }
        });
        Ok(applications.collect())
    }

    /// The numbers of the names. Names that are only in the tail keep their numbers.
    fn numbers(
        &mut self,
        connection: &mut AnyConnection,
        ids: &[&str],
    ) -> Result<Vec<i32>, StoreError> {
        let cache = &self.derivation.dictionary;
        dictionary::find(connection, self.tenant, cache, ids, &mut self.names)?;
        Ok(ids.iter().map(|id| self.names.number(id)).collect())
    }
}
