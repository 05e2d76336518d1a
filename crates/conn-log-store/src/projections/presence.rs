//! Presence, as a fold over facts: what is known of a device or an application so far.
//!
//! Both states are sums: `of` one fact, `add` two states, in any order and grouping. That is what
//! makes a late event change nothing that it should not. Nothing here does I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use conn_log_core::Timestamp;

use super::fact::{Fact, Place};

/// What is known of a device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeviceState {
    pub(crate) first_seen: Timestamp,
    /// The latest event.
    pub(crate) last: Place,
    pub(crate) last_application: String,
    pub(crate) last_status: String,
    /// The address of the latest event that has one, and that event's place.
    pub(crate) ip_address: Option<(Place, IpAddr)>,
    /// Whether the latest event that brings up or ends a connection brought one up, and its place.
    pub(crate) connected: Option<(Place, bool)>,
    pub(crate) events: i64,
    pub(crate) failures: i64,
}

/// What is known of an application, its devices aside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApplicationState {
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) events: i64,
    pub(crate) failures: i64,
}

/// What facts say about presence.
#[derive(Debug, Default)]
pub(crate) struct PresenceFold {
    pub(crate) devices: BTreeMap<String, DeviceState>,
    pub(crate) applications: BTreeMap<String, ApplicationState>,
    /// Application and device that were seen together.
    pub(crate) pairs: BTreeSet<(String, String)>,
}

/// Whether a fact says that its device is connected, or is not any more.
fn connection_of(fact: &Fact) -> Option<bool> {
    if !fact.is_success() {
        return None;
    }
    match fact.connection_type.as_str() {
        "established" | "resumed" => Some(true),
        "suspended" | "terminated" => Some(false),
        _ => None,
    }
}

impl DeviceState {
    fn of(fact: &Fact) -> Self {
        DeviceState {
            first_seen: fact.timestamp,
            last: fact.place(),
            last_application: fact.application.clone(),
            last_status: fact.status.clone(),
            ip_address: fact.ip_address.map(|address| (fact.place(), address)),
            connected: connection_of(fact).map(|connected| (fact.place(), connected)),
            events: 1,
            failures: i64::from(!fact.is_success()),
        }
    }

    /// Takes in what others have seen of the same device.
    pub(crate) fn add(&mut self, other: Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        if other.last > self.last {
            self.last = other.last;
            self.last_application = other.last_application;
            self.last_status = other.last_status;
        }
        self.ip_address = later(self.ip_address, other.ip_address);
        self.connected = later(self.connected, other.connected);
        self.events += other.events;
        self.failures += other.failures;
    }

    /// The same as adding the state of one fact, without making it.
    fn add_fact(&mut self, fact: &Fact) {
        let place = fact.place();
        self.first_seen = self.first_seen.min(fact.timestamp);
        if place > self.last {
            self.last = place;
            self.last_application.clone_from(&fact.application);
            self.last_status.clone_from(&fact.status);
        }
        self.ip_address = later(self.ip_address, fact.ip_address.map(|address| (place, address)));
        let connected = connection_of(fact).map(|connected| (place, connected));
        self.connected = later(self.connected, connected);
        self.events += 1;
        self.failures += i64::from(!fact.is_success());
    }
}

/// The one of the later place.
fn later<T>(one: Option<(Place, T)>, other: Option<(Place, T)>) -> Option<(Place, T)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 > one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

impl ApplicationState {
    fn of(fact: &Fact) -> Self {
        ApplicationState {
            first_seen: fact.timestamp,
            last_seen: fact.timestamp,
            events: 1,
            failures: i64::from(!fact.is_success()),
        }
    }

    /// Takes in what others have seen of the same application.
    pub(crate) fn add(&mut self, other: &Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.events += other.events;
        self.failures += other.failures;
    }
}

impl PresenceFold {
    pub(crate) fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut fold = PresenceFold::default();
        for fact in facts {
            match fold.devices.get_mut(&fact.device) {
                Some(device) => device.add_fact(fact),
                None => {
                    fold.devices.insert(fact.device.clone(), DeviceState::of(fact));
                }
            }
            match fold.applications.get_mut(&fact.application) {
                Some(application) => application.add(&ApplicationState::of(fact)),
                None => {
                    fold.applications.insert(fact.application.clone(), ApplicationState::of(fact));
                }
            }
            fold.pairs.insert((fact.application.clone(), fact.device.clone()));
        }
        fold
    }
}
