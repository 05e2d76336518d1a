//! Makes the evaluation of a log's rules go on after a start: the events of their memory are read
//! again, and the alerts that may still change.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use conn_log_core::alert::{Kind, Watch, WatchedRule};
use conn_log_core::{EventFilter, Order, Record, Timestamp};
use diesel::prelude::*;

use super::evaluation::Evaluation;
use super::slowed::Slowed;
use super::strand::{self, Strand};
use crate::control::alerts::heads::Head;
use crate::control::alerts::{StoredRule, rules, table};
use crate::engine::{AnyConnection, Dialect, Home, Micros, positions_of};
use crate::error::StoreError;
use crate::log::heads;
use crate::log::key;
use crate::log::read::find;
use crate::log::scan::{Rows, Scan};
use crate::log::schema::events;
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// The name of the watermark in the table of positions.
pub(super) const ALERTS: &str = "alerts";

/// Limit of events that are read again: half a minute's work. Rules with a longer memory begin
/// anew, and know less of the time before.
const RECALL_EVENTS_MAX: i64 = 2_000_000;

/// Events of one read.
const READ_EVENTS: i64 = 4_000;

/// An event's time is no more than this ahead of the time at which it was stored.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// The evaluation of a log's enabled rules as of its watermarks. `None` without such rules.
pub(super) fn recall(
    connection: &mut AnyConnection,
    tenant: TenantId,
    head: &Head,
    wait_max: Duration,
) -> Result<Option<Evaluation>, StoreError> {
    let all = rules::all_in(connection, tenant)?;
    let rules: Vec<StoredRule> = all.into_iter().filter(|rule| rule.rule.is_enabled()).collect();
    if rules.is_empty() {
        return Ok(None);
    }
    let positions = positions_of(connection, tenant, Home::Durable)?;
    let stored = positions.iter().find(|p| p.name == ALERTS).map(|p| p.watermark);
    let first_id = heads::bounds(connection, tenant)?.first_id;
    let begin = rules.iter().map(|rule| rule.after_id).min().unwrap_or(0);
    let watermark = stored.unwrap_or(0).max(begin).max(first_id - 1);
    // A rule that was slowed, and has not caught up, goes on where it was.
    let slowed_at = |rule: &StoredRule| {
        let name = strand::name_of(rule.id);
        let own = positions.iter().find(|p| p.name == name && p.setting == rule.version)?;
        let goes_on = own.watermark.max(rule.after_id).max(first_id - 1) < watermark;
        goes_on.then_some(own.watermark)
    };
    let mut gone: Vec<String> = positions.iter().map(|p| p.name.clone()).collect();
    gone.retain(|name| strand::is_of_rule(name));
    let (mut keeping_up, mut slowed) = (Vec::new(), Vec::new());
    for rule in &rules {
        match slowed_at(rule) {
            None => keeping_up.push(rule),
            Some(own) => {
                let at = own.max(rule.after_id).max(first_id - 1);
                let watch = recall_watch(connection, tenant, &[rule], (first_id, at))?;
                let strand = Strand::of_rule((rule.id, rule.version), watch, at, Some(own));
                gone.retain(|name| *name != strand.name);
                slowed.push(Slowed::new(rule.id, strand));
            }
        }
    }
    let watch = recall_watch(connection, tenant, &keeping_up, (first_id, watermark))?;
    let main = Strand::of_all(watch, watermark, stored);
    let evaluation = Evaluation::new(head, rules, main, slowed, gone);
    Ok(Some(evaluation.standing_back_for(wait_max)))
}

/// Some rules as of a watermark.
fn recall_watch(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rules: &[&StoredRule],
    (first_id, watermark): (i64, i64),
) -> Result<Watch, StoreError> {
    let watched = rules.iter().map(|rule| WatchedRule {
        number: rule.id,
        rule: rule.rule.clone(),
        after_id: rule.after_id,
        since: rule.started_at.micros(),
    });
    let mut watch = Watch::new(watched.collect());
    let clock = created_at(connection, tenant, Span { first: 1, last: watermark })?;
    if let Some(clock) = clock.filter(|_| !rules.is_empty()) {
        let span = (first_id, watermark);
        let earliest = recall_events(connection, tenant, rules, &mut watch, span, clock)?;
        for rule in rules {
            recall_alerts(connection, tenant, rule, &mut watch, earliest)?;
        }
    }
    Ok(watch)
}

/// Recalls events, and returns the time of the earliest, or of the clock.
fn recall_events(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rules: &[&StoredRule],
    watch: &mut Watch,
    (first_id, watermark): (i64, i64),
    clock: Timestamp,
) -> Result<Timestamp, StoreError> {
    let memory = rules.iter().map(|rule| rule.rule.memory_micros()).max().unwrap_or(0);
    let from = clock.plus(-TimeDelta::microseconds(memory) - AHEAD_MAX);
    let after = rules.iter().map(|rule| rule.after_id).min().unwrap_or(0);
    let least = first_id.max(after + 1).max(watermark - RECALL_EVENTS_MAX);
    let first = first_since(connection, tenant, Span { first: least, last: watermark }, from)?;
    let mut earliest = clock.plus(-TimeDelta::microseconds(memory));
    let mut next = first;
    while next <= watermark {
        let span = Span { first: next, last: watermark.min(next + READ_EVENTS - 1) };
        for record in read(connection, tenant, span)? {
            earliest = earliest.min(record.event.fields().timestamp);
            watch.recall(&record);
        }
        next = span.last + 1;
    }
    if let Some(oldest) = created_at(connection, tenant, Span { first: 1, last: first })? {
        watch.knows_since(first, oldest.plus(AHEAD_MAX));
    }
    Ok(earliest)
}

fn recall_alerts(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rule: &StoredRule,
    watch: &mut Watch,
    earliest: Timestamp,
) -> Result<(), StoreError> {
    // A hit with the earliest event can join an episode that ended a cooldown before: a day at most.
    let since = earliest.plus(-TimeDelta::days(2));
    let has_sessions = matches!(rule.rule.kind(), Kind::LongSession { .. });
    let opened_after = opened_after(rule);
    for alert in table::recent_in(connection, tenant, (rule.id, rule.version), since)? {
        if alert.episode.opened_by <= opened_after {
            continue;
        }
        let first = alert.episode.evidence().first().map(|mark| mark.id);
        let first = match first.filter(|_| has_sessions) {
            Some(id) => find(connection, tenant, id)?,
            None => None,
        };
        watch.remember(rule.id, &alert.group, alert.episode, first.as_ref());
    }
    Ok(())
}

/// The events of a span, in the order of the log.
pub(super) fn read(
    connection: &mut AnyConnection,
    tenant: TenantId,
    span: Span,
) -> Result<Vec<Record>, StoreError> {
    let filter = EventFilter::default();
    let scan = Scan {
        tenant,
        filter: &filter,
        order: Order::IdAscending,
        position: None,
        last: None,
        created: None,
    };
    scan.read(connection, Rows::Within(span), usize::try_from(span.len()).unwrap_or(usize::MAX))
}

/// `created_at` of the last event of a span.
fn created_at(
    connection: &mut AnyConnection,
    tenant: TenantId,
    span: Span,
) -> Result<Option<Timestamp>, StoreError> {
    let dialect = Dialect::from(&mut *connection);
    let found: Option<Micros> = events::table
        .filter(key::within(tenant, span, dialect))
        .order(key::order(dialect).desc())
        .select(events::created_at)
        .first(connection)
        .optional()?;
    Ok(found.map(|time| time.0))
}

/// The first id of a span whose event was stored at that time or later: `created_at` never goes
/// back within a log.
fn first_since(
    connection: &mut AnyConnection,
    tenant: TenantId,
    span: Span,
    time: Timestamp,
) -> Result<i64, StoreError> {
    let (mut low, mut high) = (span.first, span.last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // The last event up to the middle, because that one may be removed.
        let at = created_at(connection, tenant, Span { first: span.first, last: middle })?;
        if at.is_some_and(|at| at >= time) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// What of a rule's alerts the evaluation goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) version: i64,
    /// Alerts that were opened by this event or an earlier one have ended for good.
    pub(super) opened_after: i64,
    /// In microseconds.
    pub(super) cooldown: i64,
}

/// What the evaluation goes on with, by the rules' ids.
pub(super) fn known(rules: &[StoredRule]) -> HashMap<i64, Known> {
    let known = |rule: &StoredRule| Known {
        version: rule.version,
        opened_after: opened_after(rule),
        cooldown: rule.rule.cooldown_micros(),
    };
    rules.iter().map(|rule| (rule.id, known(rule))).collect()
}

/// A rule that is enabled again begins anew, and what went on when it was disabled has ended then.
fn opened_after(rule: &StoredRule) -> i64 {
    match rule.rule.kind() {
        Kind::Silence { .. } | Kind::LongSession { .. } => rule.after_id,
        _ => i64::MIN,
    }
}
