//! Folds facts into presence: the state of each device and application.
//!
//! Both states are sums: `of` makes one from a fact, `add` adds two, in any order and grouping. So
//! a late event changes only the fields that depend on it. Nothing here does I/O.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use conn_log_core::Timestamp;
use foldhash::{HashMap, HashSet};

use crate::derive::dictionary::Names;
use crate::derive::facts::{Fact, TimePosition};

/// The state of a device. `N` is a name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeviceState<N = String> {
    pub(crate) first_seen: Timestamp,
    /// The latest event.
    pub(crate) last: TimePosition,
    pub(crate) last_application: N,
    pub(crate) last_status: N,
    /// The address of the latest event that has one, with that event's position.
    pub(crate) ip_address: Option<(TimePosition, IpAddr)>,
    pub(crate) events: i64,
    pub(crate) failures: i64,
}

/// The state of an application, without its devices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApplicationState {
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) events: i64,
    pub(crate) failures: i64,
}

/// The presence data of some facts.
#[derive(Debug, Default)]
pub(crate) struct PresenceFold {
    pub(crate) devices: BTreeMap<String, DeviceState>,
    pub(crate) applications: BTreeMap<String, ApplicationState>,
    /// The number pairs of application and device that occurred together.
    pub(crate) pairs: HashSet<(i32, i32)>,
}

impl<N> DeviceState<N> {
    /// Adds a state of the same device.
    pub(crate) fn add(&mut self, other: Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        if other.last > self.last {
            self.last = other.last;
            self.last_application = other.last_application;
            self.last_status = other.last_status;
        }
        self.ip_address = later(self.ip_address, other.ip_address);
        self.events += other.events;
        self.failures += other.failures;
    }
}

impl DeviceState<i32> {
    fn of(fact: &Fact) -> Self {
        DeviceState {
            first_seen: fact.timestamp,
            last: fact.position(),
            last_application: fact.application,
            last_status: fact.status,
            ip_address: fact.ip_address.map(|address| (fact.position(), address)),
            events: 1,
            failures: i64::from(!fact.is_success),
        }
    }

    fn named(self, names: &Names) -> DeviceState {
        DeviceState {
            first_seen: self.first_seen,
            last: self.last,
            last_application: names.text(self.last_application).to_owned(),
            last_status: names.text(self.last_status).to_owned(),
            ip_address: self.ip_address,
            events: self.events,
            failures: self.failures,
        }
    }
}

/// The value with the later position.
fn later<T>(
    one: Option<(TimePosition, T)>,
    other: Option<(TimePosition, T)>,
) -> Option<(TimePosition, T)> {
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
            failures: i64::from(!fact.is_success),
        }
    }

    /// Adds a state of the same application.
    pub(crate) fn add(&mut self, other: &Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.events += other.events;
        self.failures += other.failures;
    }
}

impl PresenceFold {
    pub(crate) fn of(facts: &[Fact], names: &Names) -> Self {
        let mut devices: HashMap<i32, DeviceState<i32>> = HashMap::default();
        let mut applications: HashMap<i32, ApplicationState> = HashMap::default();
        let mut pairs = HashSet::default();
        for fact in facts {
            match devices.entry(fact.device) {
                Entry::Occupied(mut known) => known.get_mut().add(DeviceState::of(fact)),
                Entry::Vacant(place) => {
                    place.insert(DeviceState::of(fact));
                }
            }
            match applications.entry(fact.application) {
                Entry::Occupied(mut known) => known.get_mut().add(&ApplicationState::of(fact)),
                Entry::Vacant(place) => {
                    place.insert(ApplicationState::of(fact));
                }
            }
            pairs.insert((fact.application, fact.device));
        }
        let text = |number| names.text(number).to_owned();
        let devices = devices.into_iter().map(|(id, device)| (text(id), device.named(names)));
        let applications = applications.into_iter().map(|(id, state)| (text(id), state));
        PresenceFold { devices: devices.collect(), applications: applications.collect(), pairs }
    }
}
