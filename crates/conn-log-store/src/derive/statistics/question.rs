//! A question about events, and the reasons why it may have no answer.

use std::collections::BTreeSet;

use conn_log_core::Timestamp;

use super::calendar::{Calendar, Interval, Zone};
use super::codec::Damaged;
use super::tally::Dimensions;
use crate::derive::dictionary::Names;
use crate::engine::ReadError;
use crate::error::StoreError;

/// The dimensions that groups of events are split by.
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

/// The figure that groups of a step are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The number of events.
    Events,
    /// The number of events that failed.
    Failures,
    /// The share of events that failed.
    FailureRate,
    /// The number of distinct devices.
    Devices,
}

/// The order of groups within a step. Groups with equal figures are sorted by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The figure to sort by.
    pub by: Figure,
    /// Whether the largest comes first.
    pub descending: bool,
    /// Only that many groups of each step, 1 or more; `None` for all.
    pub limit: Option<usize>,
}

/// A question about events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatisticsQuery {
    /// Only timestamps from this time on.
    pub since: Option<Timestamp>,
    /// Only timestamps before this time.
    pub until: Option<Timestamp>,
    /// Any of these devices; empty for all.
    pub device_ids: Vec<String>,
    /// Any of these applications; empty for all.
    pub application_ids: Vec<String>,
    /// Any of these connection types; empty for all.
    pub connection_types: Vec<String>,
    /// Any of these statuses; empty for all.
    pub statuses: Vec<String>,
    /// The width of steps in time; `None` for one step for all time.
    pub interval: Option<Interval>,
    /// The time zone for the starts of steps of an hour or more.
    pub timezone: Zone,
    /// The dimensions of groups within a step.
    pub group_by: GroupBy,
    /// The order of groups within a step; `None` for the order of their keys.
    pub sort: Option<Sort>,
}

/// The reason why a question has no answer.
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
    /// No rollup is as fine as the question, and too many single events would have to be read.
    #[error(
        "steps below an hour by device, type, status or network look at single events, and so do days that begin \
         within an hour of UTC; at most {EVENTS_MAX}: take a larger interval, or a shorter span of time"
    )]
    TooManyEvents,
    /// Any error of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError for StatisticsError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            StatisticsError::Store(error) => Some(error),
            _ => None,
        }
    }
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

/// Limit of rows of an answer: some 30 MB of JSON.
pub const ROWS_MAX: usize = 100_000;

/// Limit of groups to compare for the first ones: some 100 MB of counts.
pub(super) const GROUPS_MAX: usize = 500_000;

/// Limit of events that one question reads singly: a few seconds' work.
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

    /// Whether the question filters or groups by device.
    pub(super) fn tells_devices(&self) -> bool {
        self.group_by.device_id || !self.device_ids.is_empty()
    }

    /// Whether the question filters or groups by application.
    pub(super) fn tells_applications(&self) -> bool {
        self.group_by.application_id || !self.application_ids.is_empty()
    }

    /// Whether the question filters or groups by type, status or network.
    pub(super) fn tells_kinds(&self) -> bool {
        let by = self.group_by;
        by.connection_type
            || by.status
            || by.network_type
            || !self.connection_types.is_empty()
            || !self.statuses.is_empty()
    }

    /// Whether the rows of level 1 are exactly the requested groups.
    pub(super) fn is_of_whole_hours(&self) -> bool {
        self.interval == Some(Interval::Hour)
            && self.group_by.application_id
            && !self.tells_devices()
            && !self.tells_kinds()
    }

    /// The time range of the question, half-open.
    pub(super) fn span(&self) -> (i64, i64) {
        let since = self.since.unwrap_or(Timestamp::MIN).micros();
        let until = self.until.map_or(i64::MAX, Timestamp::micros);
        (since, until.max(since))
    }
}

/// The names in a filter, as numbers; empty for all.
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
