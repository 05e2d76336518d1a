//! A question about events, and why it may have no answer.

use std::collections::BTreeSet;

use conn_log_core::Timestamp;

use super::calendar::{Calendar, Interval, Zone};
use super::codec::Damaged;
use super::tally::Dimensions;
use crate::derive::dictionary::Names;
use crate::error::StoreError;

/// What groups are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "any combination is a question")]
pub struct GroupBy {
    /// By application.
    pub application_id: bool,
    /// By device.
    pub device_id: bool,
    /// By connection type.
    pub connection_type: bool,
    /// By status.
    pub status: bool,
    /// By `metadata.network_type`.
    pub network_type: bool,
}

/// The figure that groups of a step are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// How many events.
    Events,
    /// How many of them failed.
    Failures,
    /// Failures among events.
    FailureRate,
    /// How many distinct devices.
    Devices,
}

/// The order of groups within a step. Ties go by keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By which figure.
    pub by: Figure,
    /// The largest first.
    pub descending: bool,
    /// Only that many of each step, 1 or more; all without.
    pub limit: Option<usize>,
}

/// A question about events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatisticsQuery {
    /// Timestamps from here on.
    pub since: Option<Timestamp>,
    /// Timestamps before this.
    pub until: Option<Timestamp>,
    /// Any of these devices; empty for all.
    pub device_ids: Vec<String>,
    /// Any of these applications; empty for all.
    pub application_ids: Vec<String>,
    /// Any of these connection types; empty for all.
    pub connection_types: Vec<String>,
    /// Any of these statuses; empty for all.
    pub statuses: Vec<String>,
    /// Steps in time; without, all time is one.
    pub interval: Option<Interval>,
    /// Where steps of an hour or more begin.
    pub timezone: Zone,
    /// Groups within a step.
    pub group_by: GroupBy,
    /// The order of groups within a step; by keys without.
    pub sort: Option<Sort>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// The answer would have too many rows.
    #[error("the answer has more than {ROWS_MAX} rows: take a larger interval or fewer groups")]
    TooManyRows,
    /// Too many groups would have to be compared.
    #[error(
        "more than {GROUPS_MAX} groups are to be compared: take a larger interval or fewer groups"
    )]
    TooManyGroups,
    /// No rollup is as fine as the question, and too many events would have to be looked at.
    #[error(
        "steps below an hour by device, type, status or network look at single events, and so do days that begin \
         within an hour of UTC; at most {EVENTS_MAX}: take a larger interval, or a shorter span of time"
    )]
    TooManyEvents,
    /// Anything that the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for StatisticsError {
    fn from(error: diesel::result::Error) -> Self {
        StatisticsError::Store(error.into())
    }
}

impl From<Damaged> for StatisticsError {
    fn from(damaged: Damaged) -> Self {
        diesel::result::Error::from(damaged).into()
    }
}

/// Rows of an answer: some 30 MB of JSON.
pub const ROWS_MAX: usize = 100_000;

/// Groups of which the first ones are sought: some 100 MB of counts.
pub(super) const GROUPS_MAX: usize = 500_000;

/// Events that one question looks at singly: a few seconds' work.
pub(super) const EVENTS_MAX: usize = 500_000;

impl StatisticsQuery {
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        [&self.device_ids, &self.application_ids, &self.connection_types, &self.statuses]
            .into_iter()
            .flatten()
    }

    pub(super) fn calendar(&self) -> Calendar {
        Calendar { interval: self.interval, zone: self.timezone }
    }

    /// Whether events of different devices are told apart.
    pub(super) fn tells_devices(&self) -> bool {
        self.group_by.device_id || !self.device_ids.is_empty()
    }

    /// Whether events of different applications are told apart.
    pub(super) fn tells_applications(&self) -> bool {
        self.group_by.application_id || !self.application_ids.is_empty()
    }

    /// Whether events of different types, statuses or networks are told apart.
    pub(super) fn tells_kinds(&self) -> bool {
        let by = self.group_by;
        by.connection_type
            || by.status
            || by.network_type
            || !self.connection_types.is_empty()
            || !self.statuses.is_empty()
    }

    /// Whether the rows of level 1 are the groups asked for.
    pub(super) fn is_of_whole_hours(&self) -> bool {
        self.interval == Some(Interval::Hour)
            && self.group_by.application_id
            && !self.tells_devices()
            && !self.tells_kinds()
    }

    /// From when until when, half-open.
    pub(super) fn span(&self) -> (i64, i64) {
        let since = self.since.unwrap_or(Timestamp::MIN).micros();
        let until = self.until.map_or(i64::MAX, Timestamp::micros);
        (since, until.max(since))
    }
}

/// The names that a filter takes, as numbers; empty for all.
pub(super) struct Filter {
    pub(super) devices: BTreeSet<u32>,
    pub(super) applications: BTreeSet<u32>,
    connection_types: BTreeSet<u32>,
    statuses: BTreeSet<u32>,
}

impl Filter {
    pub(super) fn new(query: &StatisticsQuery, names: &Names) -> Self {
        let set =
            |texts: &[String]| texts.iter().map(|text| names.number(text).unsigned_abs()).collect();
        Filter {
            devices: set(&query.device_ids),
            applications: set(&query.application_ids),
            connection_types: set(&query.connection_types),
            statuses: set(&query.statuses),
        }
    }

    pub(super) fn holds(&self, of: Dimensions) -> bool {
        let any = |set: &BTreeSet<u32>, number| set.is_empty() || set.contains(&number);
        any(&self.devices, of.device)
            && any(&self.applications, of.application)
            && any(&self.connection_types, of.connection_type)
            && any(&self.statuses, of.status)
    }
}
