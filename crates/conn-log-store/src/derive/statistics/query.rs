//! Answers questions: from rollups if possible, else from events, and from the tail.
//!
//! If only the first of many groups are needed, their counts select them; then their other figures
//! are read.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use conn_log_core::{EventFilter, EventQuery, Order, Position, Start, Timestamp};

use super::STATISTICS;
use super::cells;
use super::counts;
use super::groups::{GroupKey, StatisticsAnswer};
use super::level::{ALL, BLOCK_DEVICES, HOUR, Level};
use super::plan::{Plan, Source, ladder};
use super::question::{EVENTS_MAX, ROWS_MAX, Sort, StatisticsError, StatisticsQuery};
use super::rows::{self, Bytes, Stretch};
use super::sum::{Cells, Groups};
use super::top;
use crate::derive::Derivation;
use crate::derive::dictionary::{self, DictionaryCache, Names};
use crate::derive::facts::{Fact, Facts};
use crate::derive::index::page;
use crate::engine::{AnyConnection, KEYS_AT_ONCE};
use crate::error::StoreError;
use crate::log::scan::Deadline;
use crate::tenant_id::TenantId;

/// Events in memory at a time.
const EVENTS_AT_ONCE: usize = 2_000;

/// Answers a question about events; the counts include the last event.
pub(crate) fn statistics(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    query: &StatisticsQuery,
) -> Result<StatisticsAnswer, StatisticsError> {
    let cache = &derivation.dictionary;
    let deadline = Deadline::after(derivation.engine.read_time_max());
    derivation.read(tenant, [STATISTICS], |connection, [watermark], tail, mut names| {
        dictionary::find(connection, tenant, cache, query.names(), &mut names)?;
        let tail = tail.past(watermark);
        let mut reading =
            Reading { connection, tenant, query, watermark, tail, names, cache, deadline };
        let figures = reading.groups()?.into_figures();
        let Reading { connection, names, .. } = reading;
        Ok(StatisticsAnswer::of(connection, tenant, figures, query.sort, names)?)
    })
}

/// Returns the texts that no event of a log has as the name of its device, application, type,
/// status or network. Empty if derived data cannot tell at present.
pub(crate) fn unknown_names(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    texts: &[String],
) -> Result<Vec<String>, StoreError> {
    let cache = &derivation.dictionary;
    let unknown = derivation.read(tenant, [STATISTICS], |connection, _, _, names| {
        Ok::<_, StoreError>(dictionary::unknown(connection, tenant, cache, texts, &names)?)
    });
    match unknown {
        Err(StoreError::Unavailable(_)) => Ok(Vec::new()),
        other => other,
    }
}

/// The state while an answer is computed.
struct Reading<'a> {
    connection: &'a mut AnyConnection,
    tenant: TenantId,
    query: &'a StatisticsQuery,
    watermark: i64,
    /// The events past the watermark.
    tail: &'a [Fact],
    names: Names,
    cache: &'a DictionaryCache,
    deadline: Deadline,
}

impl Reading<'_> {
    /// The groups of the answer.
    fn groups(&mut self) -> Result<Groups, StatisticsError> {
        let Some((sort, limit)) = self.query.sort.and_then(|sort| Some((sort, sort.limit?))) else {
            let mut groups = Groups::full(self.query, &self.names, None);
            self.add_all(&mut groups)?;
            return Ok(groups);
        };
        if !self.query.group_by.device_id {
            let mut groups = Groups::full(self.query, &self.names, None);
            self.add_all(&mut groups)?;
            groups.retain(&self.first(&groups, sort, limit)?);
            return Ok(groups);
        }
        let mut counts = Groups::counts(self.query, &self.names);
        self.add_all(&mut counts)?;
        let first = self.first(&counts, sort, limit)?;
        drop(counts);
        if first.is_empty() {
            return Ok(Groups::full(self.query, &self.names, None));
        }
        let devices: BTreeSet<u32> = first.iter().map(|(_, of)| of.device).collect();
        let mut groups = Groups::full(self.query, &self.names, Some(first));
        groups.filter.devices = devices;
        self.add_all(&mut groups)?;
        Ok(groups)
    }

    /// The first groups of each step.
    fn first(
        &mut self,
        groups: &Groups,
        sort: Sort,
        limit: usize,
    ) -> Result<HashSet<GroupKey>, StatisticsError> {
        let ranks = groups.ranks();
        let first = top::first(self.connection, self.tenant, ranks, sort, limit, &mut self.names)?;
        if first.len() > ROWS_MAX {
            return Err(StatisticsError::TooManyRows);
        }
        Ok(first.into_iter().collect())
    }

    /// Adds all events of the question: from the tail and from the rollups.
    fn add_all(&mut self, groups: &mut Groups) -> Result<(), StatisticsError> {
        groups.add_facts(self.tail)?;
        let Some((first, last)) = rows::extent(self.connection, self.tenant)? else {
            return Ok(());
        };
        let (since, until) = self.query.span();
        let (since, until) = (since.max(first), until.min(last));
        if since >= until {
            return Ok(());
        }
        let sources = ladder(self.query, groups.counts_only());
        let plan = Plan::of(self.query.calendar(), sources, since, until);
        self.add_events(groups, &plan.events)?;
        for (source, stretches) in plan.rows {
            for (since, until) in stretches {
                self.add_rows(groups, source, since, until)?;
            }
        }
        Ok(())
    }

    fn add_rows(
        &mut self,
        groups: &mut Groups,
        source: Source,
        since: i64,
        until: i64,
    ) -> Result<(), StatisticsError> {
        let (level, bytes) = match source {
            Source::Cells(level) => (level, Bytes::Cells),
            Source::DeviceDays => (Level::DeviceDay, Bytes::Whole),
        };
        // The row that contains the start of the range.
        let first = level.start(since);
        let stretch = Stretch { level, since: first, until, leads: leads(level, groups), bytes };
        if level == Level::ApplicationHour && self.query.is_of_whole_hours() {
            return self.add_whole_hours(groups, &stretch);
        }
        let deadline = self.deadline;
        rows::each_row(self.connection, self.tenant, &stretch, |row, bytes| {
            deadline.check()?;
            if groups.is_beside(row) {
                return Ok(());
            }
            match source {
                Source::Cells(level) if level.is_of_counts() => {
                    counts::each(&bytes, |device, counts| {
                        groups.add_counts(row.start, device, counts)
                    })
                }
                Source::Cells(_) => {
                    cells::add_row(row, &bytes, &mut Cells { groups, row, since, until })
                }
                Source::DeviceDays => {
                    cells::add_whole(row, &bytes, &mut Cells { groups, row, since, until })
                }
            }
        })
    }

    /// Takes the rows of level 1 as the groups, except for groups that events were added to.
    fn add_whole_hours(
        &mut self,
        groups: &mut Groups,
        stretch: &Stretch,
    ) -> Result<(), StatisticsError> {
        let rows = rows::hours(self.connection, self.tenant, stretch, ROWS_MAX + 1)?;
        let mut mixed = Vec::new();
        for (row, figures) in rows {
            mixed.extend(groups.finish(row, figures)?);
        }
        for row in mixed {
            let found =
                rows::load(self.connection, self.tenant, row.level, row.start, &[row.lead])?;
            for stored in found.into_values() {
                let (since, until) = (row.start, row.start + HOUR);
                cells::add_row(row, &stored.cells, &mut Cells { groups, row, since, until })?;
            }
        }
        Ok(())
    }

    /// Adds single events of the log, up to the watermark.
    fn add_events(
        &mut self,
        groups: &mut Groups,
        stretches: &[(i64, i64)],
    ) -> Result<(), StatisticsError> {
        let mut count = 0;
        for (since, until) in stretches {
            let mut query = self.event_query(*since, *until);
            loop {
                let page = page(self.connection, self.tenant, &query, None, self.deadline)?;
                count += page.records.len();
                if count > EVENTS_MAX {
                    return Err(StatisticsError::TooManyEvents);
                }
                if let Some(last) = page.records.last() {
                    let timestamp = last.event.fields().timestamp;
                    query.start = Start::After(Position { timestamp, id: last.id });
                }
                // Events past the watermark are added from the tail.
                let taken_in = page.records.iter().filter(|record| record.id <= self.watermark);
                let facts = Facts::of(taken_in);
                let (names, found) = (facts.names(), &mut self.names);
                dictionary::find(self.connection, self.tenant, self.cache, names, found)?;
                groups.add_facts(&facts.numbered(&self.names))?;
                if !page.has_more {
                    break;
                }
            }
        }
        Ok(())
    }

    fn event_query(&self, since: i64, until: i64) -> EventQuery {
        let filter = EventFilter {
            device_ids: self.query.device_ids.clone(),
            application_ids: self.query.application_ids.clone(),
            connection_types: self.query.connection_types.clone(),
            statuses: self.query.statuses.clone(),
            since: Some(Timestamp::from_micros(since)),
            until: Some(Timestamp::from_micros(until)),
            ..EventFilter::default()
        };
        let (order, start) = (Order::TimestampAscending, Start::First);
        EventQuery { filter, order, start, limit: EVENTS_AT_ONCE }
    }
}

/// The leads of the rows of a level that hold the groups; `None` for all.
fn leads(level: Level, groups: &Groups) -> Option<Vec<u32>> {
    let (devices, applications) = (&groups.filter.devices, &groups.filter.applications);
    let some = |numbers: &BTreeSet<u32>| numbers.iter().copied().collect::<Vec<_>>();
    let leads = match level {
        Level::Hour => vec![ALL],
        Level::Day if !groups.tells_applications() => vec![ALL],
        Level::Day | Level::ApplicationHour | Level::ApplicationMinutes => some(applications),
        Level::DeviceDay => some(devices),
        Level::DevicesHour | Level::DevicesDay => {
            let blocks: BTreeSet<u32> = devices.iter().map(|d| d / BLOCK_DEVICES).collect();
            some(&blocks)
        }
    };
    // If there are very many leads, reading all rows is as quick.
    (!leads.is_empty() && leads.len() <= KEYS_AT_ONCE).then_some(leads)
}
