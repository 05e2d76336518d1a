//! What an evaluation asks of the log: events and alerts from before what is in memory.

use std::convert::Infallible;
use std::time::Duration;

use super::episode::Episode;
use super::output::GroupKey;
use super::rule::{Field, Rule};
use crate::{EventFilter, MetadataFilter, MetadataPath, Record};

/// A question for events.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryQuery {
    /// They pass this filter.
    pub filter: EventFilter,
    /// Their ids are higher.
    pub after_id: i64,
    /// Their ids are lower.
    pub before_id: i64,
    /// At most this many; in any order.
    pub limit: usize,
}

/// The log and the alerts, as of the event that is taken in.
pub trait History {
    /// The error of a read.
    type Error;

    /// The events that a query asks for.
    fn records(&mut self, query: &HistoryQuery) -> Result<Vec<Record>, Self::Error>;

    /// The episodes of a group that are neither withdrawn nor merged, and that overlap a time, in
    /// microseconds.
    fn episodes(
        &mut self,
        rule: i64,
        group: &GroupKey,
        from: i64,
        until: i64,
    ) -> Result<Vec<Episode>, Self::Error>;

    /// The time that has passed since some moment: what rules cost is measured by it. Without it
    /// nothing is measured.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A log that has nothing from before.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHistory;

impl History for NoHistory {
    type Error = Infallible;

    fn records(&mut self, _: &HistoryQuery) -> Result<Vec<Record>, Infallible> {
        Ok(Vec::new())
    }

    fn episodes(
        &mut self,
        _: i64,
        _: &GroupKey,
        _: i64,
        _: i64,
    ) -> Result<Vec<Episode>, Infallible> {
        Ok(Vec::new())
    }
}

/// The rule's filter, narrowed to fields with these values. A user agent cannot be asked for: the
/// answer is filtered again.
pub(super) fn narrowed<'a>(
    rule: &Rule,
    values: impl Iterator<Item = (&'a Field, &'a str)>,
) -> EventFilter {
    let mut filter = rule.filter.clone();
    for (field, value) in values {
        let path = match field {
            Field::Device => {
                filter.device_ids = vec![value.to_owned()];
                continue;
            }
            Field::Application => {
                filter.application_ids = vec![value.to_owned()];
                continue;
            }
            Field::Address => {
                filter.ip_network = value.parse().ok().map(|ip: std::net::IpAddr| ip.into());
                continue;
            }
            Field::UserAgent => continue,
            Field::NetworkType => MetadataPath::new(vec!["network_type".to_owned()]),
            Field::Metadata(path) => Some(path.clone()),
        };
        if let Some(path) = path {
            filter.metadata.push(MetadataFilter { path, value: value.to_owned() });
        }
    }
    filter
}
