//! The first groups of each step.

use std::cmp::Ordering;

use diesel::QueryResult;

use super::figures::Figures;
use super::groups::{GroupKey, keys_of};
use super::question::{Figure, Sort};
use super::tally::{Dimensions, Tally};
use crate::derive::dictionary::{self, Names};
use crate::engine::AnyConnection;
use crate::tenant_id::TenantId;

/// The rank of a group: the values that it is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) events: u64,
    pub(super) failures: u64,
    pub(super) devices: u64,
}

impl From<&Tally> for Rank {
    fn from(tally: &Tally) -> Self {
        let devices = tally.devices.len();
        Rank { events: tally.events, failures: tally.failures, devices }
    }
}

impl From<&Figures> for Rank {
    fn from(figures: &Figures) -> Self {
        let Figures { events, failures, devices, .. } = *figures;
        Rank { events, failures, devices }
    }
}

impl Sort {
    /// The order of two groups; equal groups are sorted by their keys.
    pub(super) fn compare(self, one: Rank, other: Rank) -> Ordering {
        let order = match self.by {
            Figure::Events => one.events.cmp(&other.events),
            Figure::Failures => one.failures.cmp(&other.failures),
            Figure::Devices => one.devices.cmp(&other.devices),
            Figure::FailureRate => rates(one, other),
        };
        if self.descending { order.reverse() } else { order }
    }
}

/// Compares two fractions without dividing.
fn rates(one: Rank, other: Rank) -> Ordering {
    let product = |failures: u64, events: u64| u128::from(failures) * u128::from(events);
    product(one.failures, other.events).cmp(&product(other.failures, one.events))
}

/// A group and its rank.
type Ranked = (GroupKey, Rank);

/// Selects the first `limit` groups of each step. Looks up names only of groups that tie for the
/// last places.
pub(super) fn first(
    connection: &mut AnyConnection,
    tenant: TenantId,
    mut groups: Vec<Ranked>,
    sort: Sort,
    limit: usize,
    names: &mut Names,
) -> QueryResult<Vec<GroupKey>> {
    groups.sort_unstable_by_key(|((start, _), _)| *start);
    let mut first = Vec::new();
    for step in groups.chunk_by_mut(|one, other| one.0.0 == other.0.0) {
        if step.len() <= limit {
            first.extend(step.iter().map(|(key, _)| *key));
            continue;
        }
        let compare = |one: &Ranked, other: &Ranked| sort.compare(one.1, other.1);
        let last = step.select_nth_unstable_by(limit - 1, compare).1.1;
        let before = |group: &&Ranked| sort.compare(group.1, last) == Ordering::Less;
        let ties = |group: &&Ranked| sort.compare(group.1, last) == Ordering::Equal;
        let kept = first.len();
        first.extend(step.iter().filter(before).map(|(key, _)| *key));
        let places = limit - (first.len() - kept);
        let tied: Vec<GroupKey> = step.iter().filter(ties).map(|(key, _)| *key).collect();
        first.extend(by_names(connection, tenant, tied, names)?.into_iter().take(places));
    }
    Ok(first)
}

/// Sorts groups of one step by their keys.
fn by_names(
    connection: &mut AnyConnection,
    tenant: TenantId,
    mut groups: Vec<GroupKey>,
    names: &mut Names,
) -> QueryResult<Vec<GroupKey>> {
    let numbers = groups.iter().flat_map(|(_, of)| keys_of(*of)).filter(|number| *number > 0);
    dictionary::find_texts(
        connection,
        tenant,
        numbers.filter_map(|n| i32::try_from(n).ok()),
        names,
    )?;
    // Groups without a name come first.
    let texts = |of: Dimensions| {
        keys_of(of).map(|number| (number > 0, i32::try_from(number).map_or("", |n| names.text(n))))
    };
    groups.sort_unstable_by(|one, other| texts(one.1).cmp(&texts(other.1)));
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_exactly() {
        let rank = |failures, events| Rank { events, failures, devices: 0 };
        assert_eq!(rates(rank(1, 3), rank(333_333_333, 1_000_000_000)), Ordering::Greater);
        assert_eq!(rates(rank(2, 6), rank(1, 3)), Ordering::Equal);
        assert_eq!(rates(rank(u64::MAX, u64::MAX), rank(1, 1)), Ordering::Equal);
    }
}
