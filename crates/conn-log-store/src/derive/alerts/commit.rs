//! Writes alerts, the outbox of their changes, and the watermark, in one transaction.

use std::collections::{BTreeMap, HashMap};

use conn_log_core::alert::{Change, What, explain};
use conn_log_core::{Record, Timestamp};

use super::earlier::Earlier;
use super::events_path::events_path;
use crate::control::alerts::changes::append_alert_changes;
use crate::control::alerts::{
    Alert, AlertState, ChangeKind, NewAlertChange, StoredRule, heads, table,
};
use crate::engine::{
    AnyConnection, Engine, Home, KEYS_AT_ONCE, Micros, Position, drop_positions_in_txn,
    positions_of, set_position_in_txn,
};
use crate::error::StoreError;
use crate::log::heads as log_heads;
use crate::log::read::find_in;
use crate::tenant_id::TenantId;

/// The version of the watermark's meaning.
pub(super) const VERSION: i16 = 1;

/// A change of an alert, ready to be written.
pub(super) struct Prepared {
    /// Its explanation is not complete: [`complete`] adds two sentences.
    alert: Alert,
    what: What,
    at: Timestamp,
}

/// A transaction to make.
pub(super) struct Commit {
    pub(super) tenant: TenantId,
    pub(super) holder: String,
    pub(super) revision: i64,
    /// Alerts up to this number are in the table.
    pub(super) known_alerts: i64,
    pub(super) last_alert: i64,
    /// The position to move, and the watermark that the table must have.
    pub(super) position: Position,
    pub(super) stored: Option<i64>,
    /// Positions of rules that are slowed from now on.
    pub(super) slowed: Vec<Position>,
    /// The names of the positions that are not needed any more.
    pub(super) gone: Vec<String>,
    pub(super) changes: Vec<Prepared>,
}

/// Makes alerts of changes: with their explanations, which need the events.
pub(super) fn prepare(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rules: &[StoredRule],
    changes: Vec<Change>,
) -> Result<Vec<Prepared>, StoreError> {
    let mut earlier = Earlier::default();
    let mut before: HashMap<i64, String> = HashMap::new();
    for change in &changes {
        let Some(rule) = rules.iter().find(|rule| rule.id == change.rule) else { continue };
        let key = (rule.id, rule.version, change.group.hash);
        let said = earlier.note(&rule.rule, change, |limit| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            Ok(table::latest_in(connection, tenant, key, limit)?)
        })?;
        before.extend(said.map(|said| (change.episode.alert, said)));
    }
    // Of changes that are not told only the last one of each alert is written.
    let mut last: HashMap<i64, usize> = HashMap::new();
    for (place, change) in changes.iter().enumerate() {
        last.insert(change.episode.alert, place);
    }
    let is_written = |place: usize, change: &Change| {
        change.what != What::Extended { is_told: false }
            || last.get(&change.episode.alert) == Some(&place)
    };
    let changes: Vec<Change> = changes
        .into_iter()
        .enumerate()
        .filter(|(place, change)| is_written(*place, change))
        .map(|(_, change)| change)
        .collect();
    let ids = changes.iter().flat_map(|change| change.episode.evidence());
    let mut ids: Vec<i64> = ids.map(|mark| mark.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut records: BTreeMap<i64, Record> = BTreeMap::new();
    for some in ids.chunks(KEYS_AT_ONCE) {
        let found = find_in(connection, tenant, some, None)?;
        records.extend(found.into_iter().map(|record| (record.id, record)));
    }
    let mut prepared = Vec::with_capacity(changes.len());
    for change in changes {
        let Some(rule) = rules.iter().find(|rule| rule.id == change.rule) else { continue };
        let marks = change.episode.evidence();
        let evidence: Vec<Record> =
            marks.iter().filter_map(|mark| records.get(&mark.id).cloned()).collect();
        let before = before.get(&change.episode.alert).cloned();
        prepared.push(Prepared {
            alert: Alert { before, ..alert_of(rule, &change, &evidence) },
            what: change.what,
            at: Timestamp::from_micros(change.at),
        });
    }
    Ok(prepared)
}

/// Adds two sentences to an alert's explanation: on earlier alerts, and on the event that
/// contradicts it.
pub(super) fn complete(alert: &mut Alert, what: What) {
    if let Some(before) = &alert.before {
        alert.explanation = format!("{}; {before}", alert.explanation);
    }
    if let What::Withdrawn { by } = what
        && by > 0
    {
        alert.explanation = format!("{}; withdrawn: event {by} contradicts it", alert.explanation);
    }
}

/// The alert of a change, as it is before people have done anything with it. Its explanation is to
/// be completed.
pub(super) fn alert_of(rule: &StoredRule, change: &Change, evidence: &[Record]) -> Alert {
    let group = &change.group;
    let explanation = explain(&rule.rule, &group.json, &change.episode, evidence);
    Alert {
        id: change.episode.alert,
        rule_id: rule.id,
        rule_version: rule.version,
        rule_name: rule.rule.name().to_owned(),
        kind: rule.rule.kind().name().to_owned(),
        severity: rule.rule.severity().name().to_owned(),
        state: AlertState::Open,
        group: group.json.clone(),
        group_hash: group.hash,
        explanation,
        before: None,
        events_path: events_path(&rule.rule, &group.json, &change.episode),
        episode: change.episode.clone(),
        merged_into: None,
        note: None,
    }
}

impl Commit {
    /// Writes it. Returns false, and writes nothing, if another process or another revision of the
    /// rules has come in between.
    pub(super) fn run(self, engine: &Engine) -> Result<bool, StoreError> {
        engine.write(move |connection| {
            connection.begin()?;
            let written = self.write_in_txn(connection);
            match written {
                Ok(true) => {
                    if let Err(error) = connection.commit() {
                        connection.rollback().ok();
                        return Err(error.into());
                    }
                    Ok(true)
                }
                other => {
                    connection.rollback().ok();
                    other
                }
            }
        })
    }

    fn write_in_txn(self, connection: &mut AnyConnection) -> Result<bool, StoreError> {
        let (tenant, revision) = (self.tenant, self.revision);
        if !self.changes.is_empty() {
            // Before the head row: people who change an alert take this lock first, too.
            connection.lock_control_of_in_txn(tenant)?;
        }
        let is_ours =
            heads::move_in_txn(connection, tenant, &self.holder, revision, self.last_alert)?;
        let positions = positions_of(connection, tenant, Home::Durable)?;
        let stored = positions.into_iter().find(|one| one.name == self.position.name);
        if !is_ours || stored.map(|position| position.watermark) != self.stored {
            return Ok(false);
        }
        let mut alerts: BTreeMap<i64, Alert> = BTreeMap::new();
        let mut outbox = Vec::new();
        for Prepared { alert, what, at } in self.changes {
            let id = alert.id;
            let known = match alerts.remove(&id) {
                None if id <= self.known_alerts => table::find_in(connection, tenant, id)?,
                known => known,
            };
            let (alert, kind) = changed(alert, known, what);
            outbox.extend(kind.map(|kind| NewAlertChange { kind, at, alert: alert.to_json() }));
            alerts.insert(id, alert);
        }
        let alerts: Vec<Alert> = alerts.into_values().collect();
        table::write_in_txn(connection, tenant, &alerts)?;
        if !outbox.is_empty() {
            append_alert_changes(connection, tenant, &outbox)?;
            connection.announce_in_txn(&[tenant])?;
        }
        // A rule that is slowed has its own position before the others move past it.
        for position in self.slowed.into_iter().chain([self.position]) {
            set_position_in_txn(connection, Home::Durable, position)?;
        }
        if !self.gone.is_empty() {
            drop_positions_in_txn(connection, tenant, Home::Durable, &self.gone)?;
        }
        Ok(true)
    }
}

/// The alert after a change, with what people have done with it before, and the kind of the
/// message.
fn changed(new: Alert, known: Option<Alert>, what: What) -> (Alert, Option<ChangeKind>) {
    let mut alert = new;
    if let Some(known) = known {
        alert.state = known.state;
        alert.note = known.note;
        alert.merged_into = known.merged_into;
        alert.before = known.before;
        // The rule may have another name by now; the alert keeps its own.
        alert.rule_name = known.rule_name;
        alert.severity = known.severity;
    }
    let kind = match what {
        What::Opened => Some(ChangeKind::Opened),
        What::Extended { is_told } => is_told.then_some(ChangeKind::Extended),
        What::MergedInto(other) => {
            alert.merged_into = Some(other);
            alert.state = alert.state.max(AlertState::Resolved);
            Some(ChangeKind::Resolved)
        }
        What::Withdrawn { .. } => {
            alert.state = AlertState::Withdrawn;
            Some(ChangeKind::Withdrawn)
        }
        What::Ended => {
            alert.state = alert.state.max(AlertState::Resolved);
            Some(ChangeKind::Resolved)
        }
    };
    complete(&mut alert, what);
    (alert, kind)
}

/// Sees to it that no event is stored at an earlier time than `now` any more, if the log still ends
/// at the watermark. Returns whether it does.
pub(super) fn advance_clock(
    engine: &Engine,
    tenant: TenantId,
    watermark: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    engine.write(move |connection| {
        connection.in_txn(|connection| {
            let mut head = log_heads::lock_in_txn(connection, tenant)?;
            if head.size > watermark {
                return Ok(false);
            }
            head.created_at_last = head.created_at_last.max(Micros(now));
            log_heads::move_in_txn(connection, &head)?;
            Ok(true)
        })
    })
}
