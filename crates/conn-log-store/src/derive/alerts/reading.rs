//! Reads what a late event needs of the log, in pieces that each end soon.
//!
//! A piece is a page of events within a part of the wanted time, from the latest event on. A piece
//! that takes too long is tried again with half of its time.

use std::collections::HashMap;
use std::time::Duration;

use conn_log_core::alert::{Episode, Findings, Want, Watch};
use conn_log_core::{EventQuery, Order, Position, Start, Timestamp};

use super::recall::Known;
use crate::control::alerts::table;
use crate::derive::index;
use crate::engine::{AnyConnection, Plans, in_snapshot};
use crate::error::StoreError;
use crate::log::scan::Deadline;
use crate::tenant_id::TenantId;

/// Events of one page: some megabytes.
const PAGE_EVENTS: usize = 10_000;

/// Longest time of one piece.
const PIECE_TIME_MAX: Duration = Duration::from_millis(250);

/// A piece of this many microseconds of the log, and shorter ones, may take as long as any read.
const PIECE_MIN: i64 = 1_000_000;

/// Events are no more than this ahead of the clock, in microseconds.
const AHEAD_MAX: i64 = 86_400_000_000;

/// A want while it is read.
pub(super) struct Reading {
    want: Want,
    findings: Findings,
    alerts: Option<Vec<Episode>>,
    /// What lies at this time or later was read, in microseconds.
    read_from: i64,
    /// The time of a piece, in microseconds.
    piece: i64,
    /// The last event of the page before, within the same piece.
    position: Option<Position>,
    /// Whether events were left out.
    is_cut: bool,
}

/// What reads are made with.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a mut AnyConnection,
    pub(super) tenant: TenantId,
    pub(super) time_max: Duration,
    pub(super) plans: Plans,
    /// The rules, by their ids.
    pub(super) rules: &'a HashMap<i64, Known>,
}

impl Reading {
    pub(super) fn new(want: Want, now: Timestamp) -> Self {
        let read_from = if want.has_events() {
            want.until.min(now.micros().saturating_add(AHEAD_MAX)).max(want.from)
        } else {
            want.from
        };
        let piece = read_from.saturating_sub(want.from);
        Reading {
            want,
            findings: Findings::default(),
            alerts: None,
            read_from,
            piece,
            position: None,
            is_cut: false,
        }
    }

    /// The events that are kept so far.
    pub(super) fn len(&self) -> usize {
        self.findings.len()
    }

    pub(super) fn is_done(&self) -> bool {
        self.alerts.is_some()
    }

    /// Leaves out what was not read yet.
    pub(super) fn cut(&mut self) {
        self.is_cut |= self.has_more();
        self.read_from = self.want.from;
    }

    fn has_more(&self) -> bool {
        self.read_from > self.want.from && !self.want.is_met_by(&self.findings)
    }

    /// Hands over what was read.
    pub(super) fn grant(self, watch: &mut Watch) {
        watch.grant(self.want, self.findings, self.is_cut, self.alerts.unwrap_or_default());
    }

    /// Reads the next piece.
    pub(super) fn advance(
        &mut self,
        reader: &mut Reader<'_>,
        watch: &Watch,
    ) -> Result<(), StoreError> {
        if !self.has_more() {
            self.alerts = Some(self.read_alerts(reader)?);
            return Ok(());
        }
        let from = self.read_from.saturating_sub(self.piece).max(self.want.from);
        let query = EventQuery {
            filter: self.want.filter_within(from, self.read_from),
            order: Order::TimestampDescending,
            start: self.position.map_or(Start::First, Start::After),
            limit: PAGE_EVENTS,
        };
        let is_shortest = self.piece <= PIECE_MIN;
        let deadline = Deadline::after(if is_shortest { reader.time_max } else { PIECE_TIME_MAX });
        let (tenant, last) = (reader.tenant, Some(self.want.before_id - 1));
        let page = in_snapshot(reader.connection, reader.time_max, reader.plans, |connection| {
            index::page(connection, tenant, &query, last, deadline)
        });
        let page = match page {
            Err(StoreError::QueryTimeout) => {
                if is_shortest {
                    self.is_cut = true;
                    (self.read_from, self.position) = (from, None);
                } else {
                    self.piece = (self.piece / 2).max(PIECE_MIN);
                }
                return Ok(());
            }
            page => page?,
        };
        let position = page
            .records
            .last()
            .map(|record| Position { timestamp: record.event.fields().timestamp, id: record.id });
        let mut records = page.records;
        records.retain(|record| record.id > self.want.after_id);
        watch.collect(&self.want, &records, &mut self.findings);
        if page.has_more {
            self.position = position;
        } else {
            (self.read_from, self.position) = (from, None);
            self.piece = self.piece.saturating_mul(2);
        }
        Ok(())
    }

    fn read_alerts(&self, reader: &mut Reader<'_>) -> Result<Vec<Episode>, StoreError> {
        let (Some((group, from, until)), Some(known)) =
            (self.want.alerts(), reader.rules.get(&self.want.rule))
        else {
            return Ok(Vec::new());
        };
        let time = Timestamp::from_micros;
        let span =
            (time(from.saturating_sub(known.cooldown)), time(until.saturating_add(known.cooldown)));
        let key = (self.want.rule, known.version, group.hash);
        table::of_group_in(reader.connection, reader.tenant, key, known.opened_after, span)
    }
}
