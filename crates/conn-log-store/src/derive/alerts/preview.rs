//! Previews: a rule over a time of the past. The same evaluation as the live one, and nothing is
//! stored.
//!
//! A rule by the events' own clock takes them in the order of their time, each as if it had been
//! registered then. So an import is as good as what was registered as it happened. A rule by
//! `created_at` takes them in the order of registration.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use conn_log_core::alert::{
    Change, Clock, Episode, GroupKey, History, HistoryQuery, Output, Rule, Watch, WatchedRule, What,
};
use conn_log_core::{EventQuery, Order, Position, Record, Start, Timestamp};

use super::commit::{alert_of, complete};
use super::earlier::Earlier;
use super::log_history::LogHistory;
use super::reading::Reader;
use crate::clock::now;
use crate::control::alerts::{Alert, AlertState, StoredRule};
use crate::derive::index;
use crate::engine::{AnyConnection, Engine, in_snapshot};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::read::find_in;
use crate::log::scan::Deadline;
use crate::tenant_id::TenantId;

/// Longest work on one preview. It answers what it got to.
const TIME_MAX: Duration = Duration::from_secs(8);

/// Events of one read.
const PAGE_EVENTS: usize = 2_000;

/// Limit of events of a preview: what the rule keeps of them is some hundred bytes each.
const EVENTS_MAX: u64 = 1_000_000;

/// What a rule would have raised.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The alerts, in the order in which they would have been raised.
    pub alerts: Vec<PreviewedAlert>,
    /// Events that passed the filter.
    pub events: u64,
    /// Whether all events of the time were taken in, in the order of the rule's clock.
    pub is_complete: bool,
    /// The id of the last event that was taken in.
    pub last_id: i64,
    /// The time taken.
    pub elapsed: Duration,
}

/// An alert that would have been raised. Its number counts within the preview.
pub type PreviewedAlert = Alert;

/// The log, and the alerts of the preview so far.
struct PreviewHistory<'a, 'b> {
    log: LogHistory<'a, 'b>,
    changes: &'a BTreeMap<i64, Change>,
    /// If events are taken in the order of their time: that of the event that is taken in.
    before: Option<Timestamp>,
}

impl History for PreviewHistory<'_, '_> {
    type Error = StoreError;

    fn records(&mut self, query: &HistoryQuery) -> Result<Vec<Record>, StoreError> {
        let Some(before) = self.before else { return self.log.records(query) };
        // What is earlier in this order may have a higher id.
        let mut query = HistoryQuery { before_id: i64::MAX, ..query.clone() };
        let until = query.filter.until.map_or(before, |until| until.min(before));
        query.filter.until = Some(until);
        self.log.records(&query)
    }

    fn episodes(
        &mut self,
        _: i64,
        group: &GroupKey,
        from: i64,
        until: i64,
    ) -> Result<Vec<Episode>, StoreError> {
        let is_asked = |change: &&Change| {
            let episode = &change.episode;
            change.group.json == group.json
                && episode.start <= until
                && (episode.goes_on || from <= episode.end)
                && !matches!(change.what, What::Withdrawn { .. } | What::MergedInto(_))
        };
        let found = self.changes.values().filter(is_asked);
        Ok(found.map(|change| change.episode.clone()).collect())
    }
}

/// Runs a rule over the events of a time, by the rule's clock.
pub(crate) fn preview(
    engine: &Engine,
    tenant: TenantId,
    rule: Rule,
    since: Timestamp,
    until: Timestamp,
) -> Result<Preview, StoreError> {
    let begun = Instant::now();
    let connection = &mut *engine.reader_of(tenant)?;
    let size = heads::bounds(connection, tenant)?.size;
    let stored = StoredRule {
        id: 0,
        version: 0,
        rule,
        after_id: 0,
        started_at: since,
        created_at: since,
        updated_at: since,
    };
    let watched =
        WatchedRule { number: 0, rule: stored.rule.clone(), after_id: 0, since: since.micros() };
    let is_by_event = stored.rule.clock() == Clock::Event;
    let mut run = Run {
        is_by_event,
        watch: Watch::new(vec![watched]),
        output: Output::after(0),
        changes: BTreeMap::new(),
        earlier: Earlier::default(),
        before: BTreeMap::new(),
    };
    let mut filter = stored.rule.filter().clone();
    if is_by_event {
        filter.since = filter.since.max(Some(since));
        filter.until = Some(filter.until.map_or(until, |other| other.min(until)));
    }
    let order = if is_by_event { Order::TimestampAscending } else { Order::IdAscending };
    let (mut start, mut last_id) = (Start::First, 0);
    let (mut events, mut is_complete) = (0, false);
    while events < EVENTS_MAX && begun.elapsed() < TIME_MAX {
        let query = EventQuery { filter: filter.clone(), order, start, limit: PAGE_EVENTS };
        let left = TIME_MAX.saturating_sub(begun.elapsed());
        let page =
            in_snapshot(connection, engine.read_time_max(), engine.plans_by_key(), |connection| {
                index::page(connection, tenant, &query, Some(size), Deadline::after(left))
            });
        let page = match page {
            Err(StoreError::QueryTimeout) => break,
            page => page?,
        };
        run.watch.tidy();
        let mut is_in_time = true;
        for record in page.records {
            let (timestamp, id) = (record.event.fields().timestamp, record.id);
            if is_by_event || (since..until).contains(&record.created_at) {
                let left = TIME_MAX.saturating_sub(begun.elapsed());
                match run.take(connection, engine, tenant, record, left) {
                    Err(StoreError::QueryTimeout) => {
                        is_in_time = false;
                        break;
                    }
                    taken => taken?,
                }
                events += 1;
                run.note(&stored.rule)?;
            }
            last_id = id;
            start = Start::After(Position { timestamp, id });
        }
        if !is_in_time {
            break;
        }
        if !page.has_more {
            is_complete = true;
            break;
        }
    }
    if is_complete {
        run.watch.judge_end(until, now(), &mut run.output);
        run.note(&stored.rule)?;
    }
    let alerts = alerts(connection, tenant, &stored, run.changes, &mut run.before)?;
    Ok(Preview { alerts, events, is_complete, last_id, elapsed: begun.elapsed() })
}

/// A preview while it runs.
struct Run {
    /// Whether events are taken in the order of their time, each as registered then.
    is_by_event: bool,
    watch: Watch,
    output: Output,
    /// The last change of each alert.
    changes: BTreeMap<i64, Change>,
    earlier: Earlier,
    /// The sentence on earlier alerts, for each alert's id.
    before: BTreeMap<i64, String>,
}

impl Run {
    fn take(
        &mut self,
        connection: &mut AnyConnection,
        engine: &Engine,
        tenant: TenantId,
        mut record: Record,
        left: Duration,
    ) -> Result<(), StoreError> {
        let before = self.is_by_event.then(|| record.event.fields().timestamp);
        record.created_at = before.unwrap_or(record.created_at);
        let rules = HashMap::new();
        let (time_max, plans) = (left.min(engine.read_time_max()), engine.plans_by_key());
        let mut reader = Reader { connection, tenant, time_max, plans, rules: &rules };
        let log = LogHistory::new(&mut reader);
        let mut history = PreviewHistory { log, changes: &self.changes, before };
        self.watch.take(&record, &mut history, &mut self.output)
    }

    fn note(&mut self, rule: &Rule) -> Result<(), StoreError> {
        for change in self.output.changes.drain(..) {
            let alert = change.episode.alert;
            let before = self.earlier.note(rule, &change, |_| Ok(Vec::new()))?;
            self.before.extend(before.map(|before| (alert, before)));
            self.changes.insert(alert, change);
        }
        Ok(())
    }
}

fn alerts(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rule: &StoredRule,
    changes: BTreeMap<i64, Change>,
    before: &mut BTreeMap<i64, String>,
) -> Result<Vec<Alert>, StoreError> {
    let mut alerts = Vec::new();
    for change in changes.into_values() {
        if matches!(change.what, What::MergedInto(_)) {
            continue;
        }
        let ids: Vec<i64> = change.episode.evidence().iter().map(|mark| mark.id).collect();
        let mut evidence = find_in(connection, tenant, &ids, None)?;
        // In the order of their time.
        evidence.sort_by_key(|record| ids.iter().position(|id| *id == record.id));
        let mut alert = alert_of(rule, &change, &evidence);
        alert.before = before.remove(&alert.id);
        complete(&mut alert, change.what);
        alert.state = match change.what {
            What::Withdrawn { .. } => AlertState::Withdrawn,
            What::Ended => AlertState::Resolved,
            _ => AlertState::Open,
        };
        alerts.push(alert);
    }
    Ok(alerts)
}
