//! Questions: rollups where they can answer, events where they cannot, and the tail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use conn_log_core::{EventFilter, EventQuery, Order, Position, Start, Timestamp};

use super::STATISTICS;
use super::cells::{self, CellKey, DAY, HOUR, Level, MINUTE, RowKey, Sum};
use super::figures::Figures;
use super::groups::{GroupKey, StatisticsAnswer};
use super::rows::{self, Stretch};
use super::tally::{Dimensions, Tally};
use crate::derive::Derivation;
use crate::derive::dictionary::{self, DictionaryCache, Names};
use crate::derive::facts::{Fact, Facts};
use crate::derive::index::page;
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::scan::Deadline;
use crate::tenant_id::TenantId;

/// The width of the answer's steps in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// A minute.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
    /// A day, UTC.
    Day,
}

impl Interval {
    fn micros(self) -> i64 {
        match self {
            Interval::Minute => MINUTE,
            Interval::FiveMinutes => 5 * MINUTE,
            Interval::Hour => HOUR,
            Interval::Day => DAY,
        }
    }
}

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
    /// Groups within a step.
    pub group_by: GroupBy,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// The answer would have too many rows.
    #[error("the answer has more than {ROWS_MAX} rows: take a larger interval or fewer groups")]
    TooManyRows,
    /// No rollup is as fine as the question, and too many events would have to be looked at.
    #[error(
        "steps below an hour by device, type, status or network look at single events, at most \
         {EVENTS_MAX}: take interval 1h or more, or a shorter span of time"
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

/// Rows of an answer: some 30 MB of JSON.
const ROWS_MAX: usize = 100_000;

/// Events that one question looks at singly: a few seconds' work.
const EVENTS_MAX: usize = 500_000;

/// Events in memory at a time.
const EVENTS_AT_ONCE: usize = 2_000;

/// Answers a question about events, exact to the last one.
pub(crate) fn statistics(
    derivation: &Arc<Derivation>,
    tenant: TenantId,
    query: &StatisticsQuery,
) -> Result<StatisticsAnswer, StatisticsError> {
    let cache = &derivation.dictionary;
    let deadline = Deadline::after(derivation.engine.read_time_max());
    derivation.read(tenant, [STATISTICS], |connection, [watermark], tail, mut names| {
        dictionary::find(connection, tenant, cache, query.names(), &mut names)?;
        let mut answer = Answer::new(tenant, query, watermark, &names, deadline);
        answer.add_facts(tail.past(watermark))?;
        answer.add_log(connection, &mut names, cache)?;
        Ok(StatisticsAnswer::of(connection, tenant, answer.groups(), names)?)
    })
}

impl StatisticsQuery {
    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.device_ids, &self.application_ids, &self.connection_types, &self.statuses]
            .into_iter()
            .flatten()
    }

    /// The level whose rows answer the question; `None` where only events can.
    fn level(&self) -> Option<Level> {
        let by = self.group_by;
        let of_device = by.device_id || !self.device_ids.is_empty();
        let of_kinds = by.connection_type
            || by.status
            || by.network_type
            || !self.connection_types.is_empty()
            || !self.statuses.is_empty();
        let is_fine = matches!(self.interval, Some(Interval::Minute | Interval::FiveMinutes));
        match (is_fine, of_device, of_kinds) {
            (false, false, _) => Some(Level::ApplicationHour),
            (false, true, _) => Some(Level::DeviceDay),
            (true, false, false) => Some(Level::ApplicationMinutes),
            (true, ..) => None,
        }
    }

    /// Whether the rows of level 1 are the groups asked for.
    fn is_of_whole_rows(&self) -> bool {
        let only = GroupBy { application_id: true, ..GroupBy::default() };
        self.interval == Some(Interval::Hour)
            && self.group_by == only
            && self.level() == Some(Level::ApplicationHour)
            && self.connection_types.is_empty()
            && self.statuses.is_empty()
    }

    fn span(&self) -> (i64, i64) {
        let since = self.since.unwrap_or(Timestamp::MIN).micros();
        let until = self.until.map_or(i64::MAX / 2, Timestamp::micros);
        (since, until.max(since))
    }
}

/// The names that a filter takes, as numbers; empty for all.
struct Filter {
    devices: BTreeSet<u32>,
    applications: BTreeSet<u32>,
    connection_types: BTreeSet<u32>,
    statuses: BTreeSet<u32>,
}

impl Filter {
    fn new(query: &StatisticsQuery, names: &Names) -> Self {
        let set =
            |texts: &[String]| texts.iter().map(|text| names.number(text).unsigned_abs()).collect();
        Filter {
            devices: set(&query.device_ids),
            applications: set(&query.application_ids),
            connection_types: set(&query.connection_types),
            statuses: set(&query.statuses),
        }
    }

    fn holds(&self, of: Dimensions) -> bool {
        let any = |set: &BTreeSet<u32>, number| set.is_empty() || set.contains(&number);
        any(&self.devices, of.device)
            && any(&self.applications, of.application)
            && any(&self.connection_types, of.connection_type)
            && any(&self.statuses, of.status)
    }
}

/// The cells of a row that an answer is about.
struct CellsOfAnswer<'w, 'a> {
    answer: &'w mut Answer<'a>,
    row: RowKey,
    since: i64,
    until: i64,
}

impl Sum<StatisticsError> for CellsOfAnswer<'_, '_> {
    fn tally(&mut self, cell: CellKey) -> Result<Option<&mut Tally>, StatisticsError> {
        let at = self.row.start + i64::from(cell.grain) * self.row.level.grain();
        let is_wanted =
            (self.since..self.until).contains(&at) && self.answer.filter.holds(cell.dimensions);
        is_wanted.then(|| self.answer.group(at, cell.dimensions)).transpose()
    }

    fn counts_devices(&self) -> bool {
        true
    }
}

/// An answer in the making.
struct Answer<'a> {
    tenant: TenantId,
    query: &'a StatisticsQuery,
    watermark: i64,
    filter: Filter,
    tallies: BTreeMap<GroupKey, Tally>,
    /// Groups that are one row of a rollup, and nothing else.
    finished: Vec<(GroupKey, Figures)>,
    /// Events looked at singly.
    events: usize,
    deadline: Deadline,
}

impl<'a> Answer<'a> {
    fn new(
        tenant: TenantId,
        query: &'a StatisticsQuery,
        watermark: i64,
        names: &Names,
        deadline: Deadline,
    ) -> Self {
        Answer {
            events: 0,
            deadline,
            tenant,
            query,
            watermark,
            filter: Filter::new(query, names),
            tallies: BTreeMap::new(),
            finished: Vec::new(),
        }
    }

    fn key(&self, micros: i64, of: Dimensions) -> GroupKey {
        let by = self.query.group_by;
        let only = |is_wanted: bool, number| if is_wanted { number } else { 0 };
        let start = self.query.interval.map(|interval| {
            let width = interval.micros();
            micros.div_euclid(width) * width
        });
        let dimensions = Dimensions {
            application: only(by.application_id, of.application),
            device: only(by.device_id, of.device),
            connection_type: only(by.connection_type, of.connection_type),
            status: only(by.status, of.status),
            network_type: only(by.network_type, of.network_type),
        };
        (start, dimensions)
    }

    fn group(&mut self, micros: i64, of: Dimensions) -> Result<&mut Tally, StatisticsError> {
        let key = self.key(micros, of);
        if self.tallies.len() + self.finished.len() >= ROWS_MAX && !self.tallies.contains_key(&key)
        {
            return Err(StatisticsError::TooManyRows);
        }
        Ok(self.tallies.entry(key).or_default())
    }

    /// Adds those of the events that the question is about.
    fn add_facts(&mut self, facts: &[Fact]) -> Result<(), StatisticsError> {
        let (since, until) = self.query.span();
        for fact in facts {
            let (micros, of) = (fact.timestamp.micros(), Dimensions::of(fact));
            if (since..until).contains(&micros) && self.filter.holds(of) {
                let tally = self.group(micros, of)?;
                tally.add_fact(fact);
                tally.devices.insert(of.device);
            }
        }
        Ok(())
    }

    /// Adds what the projection has taken in.
    fn add_log(
        &mut self,
        connection: &mut AnyConnection,
        names: &mut Names,
        cache: &DictionaryCache,
    ) -> Result<(), StatisticsError> {
        let (since, until) = self.query.span();
        let Some(level) = self.query.level() else {
            return self.add_events(connection, since, until, names, cache);
        };
        let grain = level.grain();
        let first = self.query.since.map_or(i64::MIN / 2, |_| {
            since.div_euclid(grain).saturating_add(i64::from(since.rem_euclid(grain) > 0)) * grain
        });
        let last = self.query.until.map_or(i64::MAX / 2, |_| until.div_euclid(grain) * grain);
        if first >= last {
            return self.add_events(connection, since, until, names, cache);
        }
        if self.query.since.is_some() && since < first {
            self.add_events(connection, since, first, names, cache)?;
        }
        if self.query.until.is_some() && last < until {
            self.add_events(connection, last, until, names, cache)?;
        }
        self.add_rollups(connection, level, first, last)
    }

    fn add_rollups(
        &mut self,
        connection: &mut AnyConnection,
        level: Level,
        since: i64,
        until: i64,
    ) -> Result<(), StatisticsError> {
        let leads = match level {
            Level::DeviceDay => &self.filter.devices,
            Level::ApplicationHour | Level::ApplicationMinutes => &self.filter.applications,
        };
        let stretch = Stretch {
            level,
            // The row that the span begins in.
            since: since.div_euclid(level.span()).saturating_mul(level.span()),
            until,
            leads: (!leads.is_empty()).then(|| leads.iter().copied().collect()),
        };
        let tenant = self.tenant;
        if self.query.is_of_whole_rows() {
            return self.add_whole_rows(connection, &stretch);
        }
        rows::each_cells(connection, tenant, &stretch, |row, bytes| {
            self.deadline.check()?;
            cells::add_row(row, &bytes, &mut CellsOfAnswer { answer: self, row, since, until })
        })
    }

    /// The rows of level 1 are the groups themselves, but for those that events were added to.
    fn add_whole_rows(
        &mut self,
        connection: &mut AnyConnection,
        stretch: &Stretch,
    ) -> Result<(), StatisticsError> {
        let rows = rows::hours(connection, self.tenant, stretch, ROWS_MAX + 1)?;
        if rows.len() > ROWS_MAX {
            return Err(StatisticsError::TooManyRows);
        }
        let mut mixed = Vec::new();
        self.finished.reserve_exact(rows.len());
        for (row, figures) in rows {
            let of = Dimensions { application: row.lead, ..Dimensions::default() };
            let key = (Some(row.start), of);
            if self.tallies.contains_key(&key) {
                mixed.push(row);
            } else {
                self.finished.push((key, figures));
            }
        }
        if self.tallies.len() + self.finished.len() > ROWS_MAX {
            return Err(StatisticsError::TooManyRows);
        }
        for row in mixed {
            let found = rows::load(connection, self.tenant, row.level, row.start, &[row.lead])?;
            for bytes in found.into_values() {
                let (since, until) = (row.start, row.start + HOUR);
                cells::add_row(
                    row,
                    &bytes,
                    &mut CellsOfAnswer { answer: self, row, since, until },
                )?;
            }
        }
        Ok(())
    }

    /// Adds single events of the log, up to the watermark.
    fn add_events(
        &mut self,
        connection: &mut AnyConnection,
        since: i64,
        until: i64,
        names: &mut Names,
        cache: &DictionaryCache,
    ) -> Result<(), StatisticsError> {
        let filter = EventFilter {
            device_ids: self.query.device_ids.clone(),
            application_ids: self.query.application_ids.clone(),
            connection_types: self.query.connection_types.clone(),
            statuses: self.query.statuses.clone(),
            since: Some(Timestamp::from_micros(since)),
            until: Some(Timestamp::from_micros(until)),
            ..EventFilter::default()
        };
        let mut query = EventQuery {
            filter,
            order: Order::TimestampAscending,
            start: Start::First,
            limit: EVENTS_AT_ONCE,
        };
        loop {
            let page = page(connection, self.tenant, &query, None, self.deadline)?;
            self.events += page.records.len();
            if self.events > EVENTS_MAX {
                return Err(StatisticsError::TooManyEvents);
            }
            if let Some(last) = page.records.last() {
                let timestamp = last.event.fields().timestamp;
                query.start = Start::After(Position { timestamp, id: last.id });
            }
            // What is past the watermark is added from the tail.
            let taken_in = page.records.iter().filter(|record| record.id <= self.watermark);
            let facts = Facts::of(taken_in);
            dictionary::find(connection, self.tenant, cache, facts.names(), names)?;
            self.add_facts(&facts.numbered(names))?;
            if !page.has_more {
                return Ok(());
            }
        }
    }

    fn groups(self) -> Vec<(GroupKey, Figures)> {
        let mut groups = self.finished;
        groups.extend(self.tallies.iter().map(|(key, tally)| (*key, Figures::of(tally))));
        groups
    }
}
