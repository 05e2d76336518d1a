//! Counts of open sessions, and of the devices that they connect.

use std::collections::BTreeSet;

use conn_log_core::Timestamp;
use diesel::dsl::{count, count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use foldhash::{HashMap, HashMapExt as _};

use super::rows::Changes;
use super::state::{IS_OPEN, SessionState};
use crate::derive::schema::sessions;
use crate::engine::{AnyConnection, KEYS_AT_ONCE, Micros, MultiBackend};
use crate::tenant_id::TenantId;

/// Open sessions of one device, or of one device with one application.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::derive) struct OpenCount {
    pub(in crate::derive) open: i64,
    /// Those that are not suspended.
    pub(in crate::derive) connected: i64,
}

/// Open sessions of an application.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::derive) struct ApplicationCount {
    pub(in crate::derive) open: i64,
    pub(in crate::derive) connected_devices: i64,
}

/// The input of the counts: the table, and the changes by the tail.
pub(in crate::derive) struct Counting<'a> {
    pub(in crate::derive) tenant: TenantId,
    pub(in crate::derive) changes: &'a Changes,
    /// Sessions without an event after this time have timed out.
    pub(in crate::derive) quiet_since: Option<Timestamp>,
}

/// The open sessions of a tenant, as a query.
macro_rules! open {
    ($counting:expr) => {
        sessions::table
            .filter(sessions::tenant_id.eq($counting.tenant.0))
            .filter(is_open($counting.quiet_since))
    };
}

/// The condition of the partial indexes: without a time-out, these hold exactly the counted
/// sessions.
fn is_open(quiet_since: Option<Timestamp>) -> IsOpen {
    let is_unended = sql::<Bool>(IS_OPEN);
    match quiet_since {
        None => Box::new(is_unended),
        Some(quiet) => Box::new(is_unended.and(sessions::last_at.gt(Micros(quiet)))),
    }
}

type IsOpen = Box<dyn BoxableExpression<sessions::table, MultiBackend, SqlType = Bool>>;

impl Counting<'_> {
    /// Counts for each of those devices.
    pub(in crate::derive) fn by_device(
        &self,
        connection: &mut AnyConnection,
        devices: &[i32],
    ) -> QueryResult<HashMap<i32, OpenCount>> {
        let mut counts: HashMap<i32, OpenCount> = HashMap::new();
        for some in devices.chunks(KEYS_AT_ONCE) {
            let rows: Vec<(i32, bool, i64)> = open!(self)
                .filter(sessions::device.eq_any(some.iter().copied()))
                .group_by((sessions::device, sessions::is_suspended))
                .select((sessions::device, sessions::is_suspended, count_star()))
                .load(connection)?;
            for (device, is_suspended, count) in rows {
                counts.entry(device).or_default().add(is_suspended, count);
            }
        }
        self.add_changes(&mut counts, |session| Some(session.device));
        Ok(counts)
    }

    /// Counts for each of those applications.
    pub(in crate::derive) fn by_application(
        &self,
        connection: &mut AnyConnection,
        applications: &[i32],
    ) -> QueryResult<HashMap<i32, ApplicationCount>> {
        let mut counts: HashMap<i32, ApplicationCount> = HashMap::new();
        let of = || sessions::application.eq_any(applications.iter().copied());
        let open: Vec<(i32, i64)> = open!(self)
            .filter(of())
            .group_by(sessions::application)
            .select((sessions::application, count_star()))
            .load(connection)?;
        for (application, count) in open {
            counts.entry(application).or_default().open = count;
        }
        let devices: Vec<(i32, i64)> = open!(self)
            .filter(of())
            .filter(sessions::is_suspended.eq(false))
            .group_by(sessions::application)
            .select((sessions::application, count(sessions::device).aggregate_distinct()))
            .load(connection)?;
        for (application, count) in devices {
            counts.entry(application).or_default().connected_devices = count;
        }
        for (session, sign) in self.changed() {
            if session.is_open(self.quiet_since) {
                counts.entry(session.application).or_default().open += sign;
            }
        }
        for (application, change) in self.device_changes(connection, applications)? {
            counts.entry(application).or_default().connected_devices += change;
        }
        Ok(counts)
    }

    /// The number of devices that the tail adds to the connected ones of each of those
    /// applications.
    fn device_changes(
        &self,
        connection: &mut AnyConnection,
        applications: &[i32],
    ) -> QueryResult<HashMap<i32, i64>> {
        let wanted: BTreeSet<i32> = applications.iter().copied().collect();
        let pair_of = |session: &SessionState| {
            let pair = (session.application, session.device);
            wanted.contains(&session.application).then_some(pair)
        };
        let pairs = self.changed().filter_map(|(session, _)| pair_of(session));
        let devices: BTreeSet<i32> = pairs.map(|(_, device)| device).collect();
        let devices: Vec<i32> = devices.into_iter().collect();
        let mut before: HashMap<(i32, i32), OpenCount> = HashMap::new();
        for some in devices.chunks(KEYS_AT_ONCE) {
            let rows: Vec<(i32, i32, i64)> = open!(self)
                .filter(sessions::device.eq_any(some.iter().copied()))
                .filter(sessions::is_suspended.eq(false))
                .group_by((sessions::application, sessions::device))
                .select((sessions::application, sessions::device, count_star()))
                .load(connection)?;
            for (application, device, count) in rows {
                before.entry((application, device)).or_default().add(false, count);
            }
        }
        let mut after = before.clone();
        self.add_changes(&mut after, pair_of);
        let mut changes: HashMap<i32, i64> = HashMap::new();
        for (pair, count) in &after {
            let was = before.get(pair).is_some_and(|count| count.connected > 0);
            let change = i64::from(count.connected > 0) - i64::from(was);
            *changes.entry(pair.0).or_default() += change;
        }
        changes.retain(|application, _| wanted.contains(application));
        Ok(changes)
    }

    /// Adds the tail's changes to the counts of open sessions.
    fn add_changes<K: std::hash::Hash + Eq>(
        &self,
        counts: &mut HashMap<K, OpenCount>,
        of: impl Fn(&SessionState) -> Option<K>,
    ) {
        for (session, sign) in self.changed() {
            if session.is_open(self.quiet_since)
                && let Some(key) = of(session)
            {
                let is_suspended = !session.is_connected(self.quiet_since);
                counts.entry(key).or_default().add(is_suspended, sign);
            }
        }
    }

    /// Sessions that the tail removes, and those that it adds.
    fn changed(&self) -> impl Iterator<Item = (&SessionState, i64)> {
        let before = self.changes.before.iter().map(|session| (session, -1));
        before.chain(self.changes.after.iter().map(|session| (session, 1)))
    }
}

impl OpenCount {
    fn add(&mut self, is_suspended: bool, count: i64) {
        self.open += count;
        if !is_suspended {
            self.connected += count;
        }
    }
}
