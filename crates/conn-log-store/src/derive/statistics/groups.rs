//! An answer: groups and their figures, in the order of the contract.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use conn_log_core::Timestamp;

use super::figures::Figures;
use super::question::Sort;
use super::tally::Dimensions;
use super::top::Rank;
use crate::derive::dictionary::{self, Names};
use crate::engine::AnyConnection;
use crate::tenant_id::TenantId;

/// A group's key: the start of its step, in microseconds since 1970, and its dimensions.
pub(super) type GroupKey = (Option<i64>, Dimensions);

/// The answer to a question about events: its groups, sorted by their starts and then by their keys
/// or by the requested figure. Some 200 bytes each.
#[derive(Debug)]
pub struct StatisticsAnswer {
    groups: Vec<(GroupKey, Figures)>,
    names: Names,
}

/// One group's figures. A key that the question does not group by is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatisticsRow<'a> {
    /// The start of the step; `None` without an interval.
    pub start: Option<Timestamp>,
    /// The application.
    pub application_id: Option<&'a str>,
    /// The device.
    pub device_id: Option<&'a str>,
    /// The connection type.
    pub connection_type: Option<&'a str>,
    /// The status.
    pub status: Option<&'a str>,
    /// The type of network; `None` also for events that have none.
    pub network_type: Option<&'a str>,
    /// The figures.
    pub figures: &'a Figures,
}

impl StatisticsAnswer {
    /// Sorts the groups, and keeps their names.
    pub(super) fn of(
        connection: &mut AnyConnection,
        tenant: TenantId,
        mut groups: Vec<(GroupKey, Figures)>,
        sort: Option<Sort>,
        mut names: Names,
    ) -> diesel::QueryResult<Self> {
        let numbers: BTreeSet<i32> = groups
            .iter()
            .flat_map(|((_, of), _)| keys_of(*of))
            .filter_map(|number| i32::try_from(number).ok().filter(|number| *number > 0))
            .collect();
        dictionary::find_texts(connection, tenant, numbers.iter().copied(), &mut names)?;
        let mut by_text: Vec<i32> = numbers.into_iter().collect();
        by_text.sort_unstable_by_key(|number| names.text(*number));
        // Groups without a name come first.
        let places: HashMap<u32, u32> =
            by_text.iter().map(|number| number.unsigned_abs()).zip(1..).collect();
        let place = |number| places.get(&number).copied().unwrap_or(0);
        groups.sort_by_cached_key(|((start, of), _)| (*start, keys_of(*of).map(place)));
        if let Some(sort) = sort {
            // The sort is stable: groups with equal figures stay in the order of their keys.
            groups.sort_by(|one, other| {
                let order = one.0.0.cmp(&other.0.0);
                order.then_with(|| sort.compare(Rank::from(&one.1), Rank::from(&other.1)))
            });
        }
        Ok(StatisticsAnswer { groups, names })
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are no groups: no event matches the question.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups at some indexes, counted from 0; indexes past the end are left out.
    pub fn rows(&self, places: Range<usize>) -> impl Iterator<Item = StatisticsRow<'_>> {
        let end = places.end.min(self.len());
        self.groups[places.start.min(end)..end].iter().map(|((start, of), figures)| StatisticsRow {
            start: start.map(Timestamp::from_micros),
            application_id: self.text(of.application),
            device_id: self.text(of.device),
            connection_type: self.text(of.connection_type),
            status: self.text(of.status),
            network_type: self.text(of.network_type),
            figures,
        })
    }

    fn text(&self, number: u32) -> Option<&str> {
        let number = i32::try_from(number).ok().filter(|number| *number > 0)?;
        Some(self.names.text(number))
    }
}

/// The dimensions in the order of the keys.
pub(super) fn keys_of(of: Dimensions) -> [u32; 5] {
    [of.application, of.device, of.connection_type, of.status, of.network_type]
}
