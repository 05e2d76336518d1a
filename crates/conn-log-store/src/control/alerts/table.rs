//! The table of alerts: pages, and what people do with an alert.

use std::borrow::Cow;

use conn_log_core::Timestamp;
use conn_log_core::alert::Episode;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::Value;

use super::alert::{Alert, AlertQuery, AlertState};
use super::changes::{ChangeKind, NewAlertChange, append_alert_changes};
use crate::clock::now;
use crate::control::schema::alerts;
use crate::engine::{AnyConnection, Engine, Micros, upsert};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = alerts, treat_none_as_default_value = false)]
struct Row {
    tenant_id: i32,
    alert_id: i64,
    rule_id: i64,
    rule_version: i64,
    kind: String,
    severity: String,
    state: String,
    group_hash: i64,
    group_json: String,
    slot: i64,
    opened_by: i64,
    started_at: Micros,
    ended_at: Micros,
    detected_at: Micros,
    merged_into: Option<i64>,
    body: String,
}

/// What no query asks for.
#[derive(serde::Serialize, serde::Deserialize)]
struct Body<'a> {
    rule_name: Cow<'a, str>,
    explanation: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Cow<'a, str>>,
    events_path: Cow<'a, str>,
    note: Option<Cow<'a, str>>,
    episode: Cow<'a, Episode>,
}

impl Row {
    fn new(tenant: TenantId, alert: &Alert) -> Result<Self, StoreError> {
        let time = |micros| Micros(Timestamp::from_micros(micros));
        let episode = &alert.episode;
        Ok(Row {
            tenant_id: tenant.0,
            alert_id: alert.id,
            rule_id: alert.rule_id,
            rule_version: alert.rule_version,
            kind: alert.kind.clone(),
            severity: alert.severity.clone(),
            state: alert.state.name().to_owned(),
            group_hash: alert.group_hash,
            group_json: alert.group.clone(),
            slot: episode.slot,
            opened_by: episode.opened_by,
            started_at: time(episode.start),
            // One that goes on has not ended yet.
            ended_at: if episode.goes_on { Micros(Timestamp::MAX) } else { time(episode.end) },
            detected_at: time(episode.detected_at),
            merged_into: alert.merged_into,
            body: serde_json::to_string(&Body {
                rule_name: Cow::Borrowed(&alert.rule_name),
                explanation: Cow::Borrowed(&alert.explanation),
                before: alert.before.as_deref().map(Cow::Borrowed),
                events_path: Cow::Borrowed(&alert.events_path),
                note: alert.note.as_deref().map(Cow::Borrowed),
                episode: Cow::Borrowed(episode),
            })
            .map_err(StoreError::internal)?,
        })
    }
}

impl TryFrom<Row> for Alert {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let body: Body<'_> = serde_json::from_str(&row.body).map_err(StoreError::internal)?;
        Ok(Alert {
            id: row.alert_id,
            rule_id: row.rule_id,
            rule_version: row.rule_version,
            rule_name: body.rule_name.into_owned(),
            kind: row.kind,
            severity: row.severity,
            state: row.state.parse().map_err(StoreError::internal)?,
            group: row.group_json,
            group_hash: row.group_hash,
            episode: body.episode.into_owned(),
            merged_into: row.merged_into,
            explanation: body.explanation.into_owned(),
            before: body.before.map(Cow::into_owned),
            events_path: body.events_path.into_owned(),
            note: body.note.map(Cow::into_owned),
        })
    }
}

/// Writes alerts, new or known.
pub(crate) fn write_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    all: &[Alert],
) -> Result<(), StoreError> {
    let rows: Result<Vec<Row>, StoreError> =
        all.iter().map(|alert| Row::new(tenant, alert)).collect();
    let rows = rows?;
    upsert!(connection, alerts, &rows, key: (tenant_id, alert_id),
        kept: (rule_id, rule_version, kind, severity, group_hash, group_json, slot, opened_by,
            detected_at),
        set: (state, started_at, ended_at, merged_into, body));
    Ok(())
}

/// An alert.
pub(crate) fn find_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
) -> Result<Option<Alert>, StoreError> {
    let row: Option<Row> =
        alerts::table.find((tenant.0, id)).select(Row::as_select()).first(connection).optional()?;
    row.map(Alert::try_from).transpose()
}

diesel::define_sql_function! {
    /// A text in which all of another text is replaced, byte by byte on both databases.
    fn replace(text: Text, replaced: Text, by: Text) -> Text;
}

/// A page of the alerts, newest first.
pub(crate) fn page(
    engine: &Engine,
    tenant: TenantId,
    filter: &AlertQuery,
    query: &PageQuery<i64>,
) -> Result<Page<Alert>, StoreError> {
    let mut select = alerts::table
        .filter(alerts::tenant_id.eq(tenant.0))
        .select(Row::as_select())
        .limit(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
        .into_boxed();
    if !filter.rule_ids.is_empty() {
        select = select.filter(alerts::rule_id.eq_any(filter.rule_ids.clone()));
    }
    if !filter.kinds.is_empty() {
        select = select.filter(alerts::kind.eq_any(filter.kinds.clone()));
    }
    if !filter.severities.is_empty() {
        select = select.filter(alerts::severity.eq_any(filter.severities.clone()));
    }
    if !filter.states.is_empty() {
        let names: Vec<String> = filter.states.iter().map(|s| s.name().to_owned()).collect();
        select = select.filter(alerts::state.eq_any(names));
    }
    if let Some(group) = &filter.group {
        match serde_json::from_str::<Value>(group) {
            // The members of an object are sorted, as in the table.
            Ok(object @ Value::Object(_)) => {
                select = select.filter(alerts::group_json.eq(object.to_string()));
            }
            _ => {
                let value = Value::from(group.as_str()).to_string();
                // Without the text it is another one. Unlike LIKE this heeds the case on both
                // databases, and takes a text of any length.
                let without = replace(alerts::group_json, format!(":{value}"), "");
                select = select.filter(without.ne(alerts::group_json));
            }
        }
    }
    if let Some(since) = filter.since {
        select = select.filter(alerts::started_at.ge(Micros(since)));
    }
    if let Some(until) = filter.until {
        select = select.filter(alerts::started_at.lt(Micros(until)));
    }
    let from = query.position();
    if query.is_backwards() {
        select = select.order(alerts::alert_id.asc());
        if let Some(id) = from {
            select = select.filter(alerts::alert_id.gt(id));
        }
    } else {
        select = select.order(alerts::alert_id.desc());
        if let Some(id) = from {
            select = select.filter(alerts::alert_id.lt(id));
        }
    }
    let rows: Vec<Row> = select.load(&mut *engine.reader_of(tenant)?)?;
    let found: Result<Vec<Alert>, StoreError> = rows.into_iter().map(Alert::try_from).collect();
    Ok(query.page(found?))
}

/// The alerts of a rule's version that may still change: those that ended at that time or later,
/// and are neither withdrawn nor merged.
pub(crate) fn recent_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    (rule, version): (i64, i64),
    ended_since: Timestamp,
) -> Result<Vec<Alert>, StoreError> {
    let rows: Vec<Row> = alerts::table
        .filter(alerts::tenant_id.eq(tenant.0))
        .filter(alerts::rule_id.eq(rule))
        .filter(alerts::rule_version.eq(version))
        .filter(alerts::ended_at.ge(Micros(ended_since)))
        .filter(alerts::state.ne(AlertState::Withdrawn.name()))
        .filter(alerts::merged_into.is_null())
        .order(alerts::alert_id)
        .select(Row::as_select())
        .load(connection)?;
    rows.into_iter().map(Alert::try_from).collect()
}

/// The episodes of a group that overlap a time and were opened after that event.
pub(crate) fn of_group_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    (rule, version, group_hash): (i64, i64, i64),
    after_id: i64,
    (from, until): (Timestamp, Timestamp),
) -> Result<Vec<Episode>, StoreError> {
    let rows: Vec<Row> = alerts::table
        .filter(alerts::tenant_id.eq(tenant.0))
        .filter(alerts::rule_id.eq(rule))
        .filter(alerts::rule_version.eq(version))
        .filter(alerts::group_hash.eq(group_hash))
        .filter(alerts::opened_by.gt(after_id))
        .filter(alerts::ended_at.ge(Micros(from)))
        .filter(alerts::started_at.le(Micros(until)))
        .filter(alerts::state.ne(AlertState::Withdrawn.name()))
        .filter(alerts::merged_into.is_null())
        .order(alerts::alert_id)
        .select(Row::as_select())
        .load(connection)?;
    let alerts: Result<Vec<Alert>, StoreError> = rows.into_iter().map(Alert::try_from).collect();
    Ok(alerts?.into_iter().map(|alert| alert.episode).collect())
}

/// An alert as the ones after it look back at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Queryable)]
pub(crate) struct Opening {
    /// The event that opened it.
    pub(crate) opened_by: i64,
    pub(crate) alert_id: i64,
    pub(crate) slot: i64,
    pub(crate) started_at: Micros,
    /// Whether it is neither withdrawn nor merged.
    pub(crate) stands: bool,
}

/// The latest alerts of a group, by the events that opened them, at most `limit`.
pub(crate) fn latest_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    (rule, version, group_hash): (i64, i64, i64),
    limit: i64,
) -> QueryResult<Vec<Opening>> {
    let stands = alerts::state.ne(AlertState::Withdrawn.name()).and(alerts::merged_into.is_null());
    alerts::table
        .filter(alerts::tenant_id.eq(tenant.0))
        .filter(alerts::rule_id.eq(rule))
        .filter(alerts::rule_version.eq(version))
        .filter(alerts::group_hash.eq(group_hash))
        .order((alerts::opened_by.desc(), alerts::slot.desc()))
        .limit(limit)
        .select((alerts::opened_by, alerts::alert_id, alerts::slot, alerts::started_at, stands))
        .load(connection)
}

/// Which alerts have ended because nobody looks after them any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) rule: i64,
    pub(crate) version: i64,
    /// The only group, by its hash; `None` for all.
    pub(crate) group_hash: Option<i64>,
    /// Why, for people.
    pub(crate) why: &'a str,
}

/// Ends the alerts that go on until something ends them, because nothing will. Call it under the
/// lock for control.
pub(crate) fn end_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    ending: Ending<'_>,
) -> Result<(), StoreError> {
    let mut select = alerts::table
        .filter(alerts::tenant_id.eq(tenant.0))
        .filter(alerts::rule_id.eq(ending.rule))
        .filter(alerts::rule_version.eq(ending.version))
        .filter(alerts::ended_at.eq(Micros(Timestamp::MAX)))
        .filter(alerts::state.ne(AlertState::Withdrawn.name()))
        .order(alerts::alert_id)
        .select(Row::as_select())
        .into_boxed();
    if let Some(hash) = ending.group_hash {
        select = select.filter(alerts::group_hash.eq(hash));
    }
    let rows: Vec<Row> = select.load(connection)?;
    if rows.is_empty() {
        return Ok(());
    }
    let at = now();
    let (mut ended, mut outbox) = (Vec::new(), Vec::new());
    for row in rows {
        let mut alert = Alert::try_from(row)?;
        let is_told = alert.state < AlertState::Resolved;
        alert.state = AlertState::Resolved;
        alert.episode.goes_on = false;
        alert.episode.end = at.micros().max(alert.episode.start);
        alert.explanation = format!("{}; {}", alert.explanation, ending.why);
        if is_told {
            let kind = ChangeKind::Resolved;
            outbox.push(NewAlertChange { kind, at, alert: alert.to_json() });
        }
        ended.push(alert);
    }
    write_in_txn(connection, tenant, &ended)?;
    append_alert_changes(connection, tenant, &outbox)?;
    connection.announce_in_txn(&[tenant])?;
    Ok(())
}

/// Notes what a person did with an alert. An alert in that state, or in a later one, stays as it
/// is. Fails with [`StoreError::NotFound`].
pub(crate) fn settle(
    engine: &Engine,
    tenant: TenantId,
    id: i64,
    state: AlertState,
    note: Option<String>,
) -> Result<Alert, StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            connection.lock_control_of_in_txn(tenant)?;
            let found = find_in(connection, tenant, id)?;
            let mut alert = found.ok_or(StoreError::NotFound("alert"))?;
            if alert.state >= state {
                return Ok(alert);
            }
            alert.state = state;
            alert.note = note.or(alert.note);
            write_in_txn(connection, tenant, std::slice::from_ref(&alert))?;
            let kind = match state {
                AlertState::Acknowledged => ChangeKind::Acknowledged,
                _ => ChangeKind::Resolved,
            };
            let change = NewAlertChange { kind, at: now(), alert: alert.to_json() };
            append_alert_changes(connection, tenant, &[change])?;
            connection.announce_in_txn(&[tenant])?;
            Ok(alert)
        })
    })
}
