//! Sums in construction: the groups of a question, from rows and from events.

use std::collections::HashSet;

use foldhash::HashMap;

use super::calendar::{Calendar, Step};
use super::cells::{CellKey, Part, Sum};
use super::counts::Counts;
use super::figures::Figures;
use super::groups::GroupKey;
use super::level::{ALL, Level, RowKey};
use super::question::{Filter, GROUPS_MAX, GroupBy, ROWS_MAX, StatisticsError, StatisticsQuery};
use super::tally::{Dimensions, Single, Tally};
use super::top::Rank;
use crate::derive::dictionary::Names;
use crate::derive::facts::Fact;

/// The groups of a question.
pub(super) struct Groups {
    pub(super) filter: Filter,
    by: GroupBy,
    calendar: Calendar,
    span: (i64, i64),
    /// The step of the last instant: rows and events come nearly in the order of time.
    step: Step,
    part: Part,
    /// Only these groups; `None` for all.
    only: Option<HashSet<GroupKey>>,
    tallies: HashMap<GroupKey, Tally>,
    /// Groups that consist of one row of a rollup.
    finished: Vec<(GroupKey, Figures)>,
    groups_max: usize,
}

impl Groups {
    /// Groups with all figures; only those of `only` if it is given.
    pub(super) fn full(
        query: &StatisticsQuery,
        names: &Names,
        only: Option<HashSet<GroupKey>>,
    ) -> Self {
        Groups {
            filter: Filter::new(query, names),
            by: query.group_by,
            calendar: query.calendar(),
            span: query.span(),
            step: Step { start: 0, end: 0 },
            part: Part::Full,
            only,
            tallies: HashMap::default(),
            finished: Vec::new(),
            groups_max: ROWS_MAX,
        }
    }

    /// Groups with only the counts of events and failures.
    pub(super) fn counts(query: &StatisticsQuery, names: &Names) -> Self {
        Groups { part: Part::Counts, groups_max: GROUPS_MAX, ..Self::full(query, names, None) }
    }

    pub(super) fn counts_only(&self) -> bool {
        self.part == Part::Counts
    }

    fn key(&mut self, micros: i64, of: Dimensions) -> GroupKey {
        if !self.step.contains(micros) {
            self.step = self.calendar.step(micros);
        }
        let start = self.calendar.interval.map(|_| self.step.start);
        let by = self.by;
        let only = |is_wanted: bool, number| if is_wanted { number } else { 0 };
        let dimensions = Dimensions {
            application: only(by.application_id, of.application),
            device: only(by.device_id, of.device),
            connection_type: only(by.connection_type, of.connection_type),
            status: only(by.status, of.status),
            network_type: only(by.network_type, of.network_type),
        };
        (start, dimensions)
    }

    fn group(
        &mut self,
        micros: i64,
        of: Dimensions,
    ) -> Result<Option<&mut Tally>, StatisticsError> {
        let key = self.key(micros, of);
        if self.only.as_ref().is_some_and(|only| !only.contains(&key)) {
            return Ok(None);
        }
        if self.len() >= self.groups_max && !self.tallies.contains_key(&key) {
            return Err(self.too_many());
        }
        Ok(Some(self.tallies.entry(key).or_default()))
    }

    fn too_many(&self) -> StatisticsError {
        if self.counts_only() {
            StatisticsError::TooManyGroups
        } else {
            StatisticsError::TooManyRows
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tallies.len() + self.finished.len()
    }

    /// Adds those of the events that match the question.
    pub(super) fn add_facts(&mut self, facts: &[Fact]) -> Result<(), StatisticsError> {
        let (since, until) = self.span;
        for fact in facts {
            let (micros, of) = (fact.timestamp.micros(), Dimensions::of(fact));
            if !(since..until).contains(&micros) || !self.filter.holds(of) {
                continue;
            }
            let counts_only = self.counts_only();
            match self.group(micros, of)? {
                Some(tally) if counts_only => {
                    tally.add_counts(Counts { events: 1, failures: u64::from(!fact.is_success) });
                }
                Some(tally) => {
                    tally.add_single(Single::of(fact));
                    tally.devices.insert(of.device);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Adds a device's counts of the row that begins at an instant.
    pub(super) fn add_counts(
        &mut self,
        micros: i64,
        device: u32,
        counts: Counts,
    ) -> Result<(), StatisticsError> {
        let of = Dimensions { device, ..Dimensions::default() };
        if self.filter.holds(of)
            && let Some(tally) = self.group(micros, of)?
        {
            tally.add_counts(counts);
        }
        Ok(())
    }

    /// Takes a row of level 1 as a complete group. Gives it back if events were added to that
    /// group.
    pub(super) fn finish(
        &mut self,
        row: RowKey,
        figures: Figures,
    ) -> Result<Option<RowKey>, StatisticsError> {
        let of = Dimensions { application: row.lead, ..Dimensions::default() };
        let key = self.key(row.start, of);
        if self.tallies.contains_key(&key) {
            return Ok(Some(row));
        }
        if self.len() >= self.groups_max {
            return Err(self.too_many());
        }
        self.finished.push((key, figures));
        Ok(None)
    }

    /// The rank of each group.
    pub(super) fn ranks(&self) -> Vec<(GroupKey, Rank)> {
        let tallies = self.tallies.iter().map(|(key, tally)| (*key, Rank::from(tally)));
        let finished = self.finished.iter().map(|(key, figures)| (*key, Rank::from(figures)));
        tallies.chain(finished).collect()
    }

    /// Keeps only some groups.
    pub(super) fn retain(&mut self, groups: &HashSet<GroupKey>) {
        self.tallies.retain(|key, _| groups.contains(key));
        self.finished.retain(|(key, _)| groups.contains(key));
    }

    /// The figures of each group, in any order.
    pub(super) fn into_figures(self) -> Vec<(GroupKey, Figures)> {
        let mut groups = self.finished;
        groups.extend(self.tallies.iter().map(|(key, tally)| (*key, Figures::of(tally))));
        groups
    }

    pub(super) fn tells_applications(&self) -> bool {
        self.by.application_id || !self.filter.applications.is_empty()
    }

    /// Whether a row repeats events of other rows of its level: a day has a row of all events, and
    /// one row for each application.
    pub(super) fn is_beside(&self, row: RowKey) -> bool {
        row.level == Level::Day && self.tells_applications() == (row.lead == ALL)
    }
}

/// The cells of a row within a range of time.
pub(super) struct Cells<'a> {
    pub(super) groups: &'a mut Groups,
    pub(super) row: RowKey,
    pub(super) since: i64,
    pub(super) until: i64,
}

impl Sum<StatisticsError> for Cells<'_> {
    fn tally(&mut self, cell: CellKey) -> Result<Option<&mut Tally>, StatisticsError> {
        let at = self.row.start + i64::from(cell.grain) * self.row.level.grain();
        if !(self.since..self.until).contains(&at) || !self.groups.filter.holds(cell.dimensions) {
            return Ok(None);
        }
        self.groups.group(at, cell.dimensions)
    }

    fn part(&self) -> Part {
        self.groups.part
    }
}
