//! The table of rules.

use std::borrow::Cow;

use conn_log_core::Timestamp;
use conn_log_core::alert::Rule;
use diesel::prelude::*;
use serde_json::{Map, Value};

use super::heads;
use super::table::{Ending, end_in_txn};
use crate::clock::now;
use crate::control::schema::alert_rules;
use crate::engine::{AnyConnection, Engine, JsonText, Micros};
use crate::error::StoreError;
use crate::log::heads as log_heads;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Limit of rules of a tenant: each looks at every event that its filter's types and statuses let
/// pass.
const RULES_MAX: i64 = 1_000;

/// A rule of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRule {
    /// Its number in the tenant: 1, 2, 3 …
    pub id: i64,
    /// Grows with each change of what it finds; alerts name theirs.
    pub version: i64,
    /// The rule.
    pub rule: Rule,
    /// It looks at events with higher ids only.
    pub after_id: i64,
    /// The time at which this version began.
    pub started_at: Timestamp,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time of its last change.
    pub updated_at: Timestamp,
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = alert_rules, primary_key(tenant_id, rule_id))]
struct Row {
    tenant_id: i32,
    rule_id: i64,
    version: i64,
    is_enabled: bool,
    after_id: i64,
    definition: JsonText<'static>,
    started_at: Micros,
    created_at: Micros,
    updated_at: Micros,
}

impl Row {
    fn new(tenant: TenantId, rule: &StoredRule) -> Self {
        Row {
            tenant_id: tenant.0,
            rule_id: rule.id,
            version: rule.version,
            is_enabled: rule.rule.is_enabled(),
            after_id: rule.after_id,
            definition: JsonText(Cow::Owned(Value::Object(rule.rule.to_json()).to_string())),
            started_at: Micros(rule.started_at),
            created_at: Micros(rule.created_at),
            updated_at: Micros(rule.updated_at),
        }
    }
}

impl TryFrom<Row> for StoredRule {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let object: Map<String, Value> =
            serde_json::from_str(&row.definition.0).map_err(StoreError::internal)?;
        let rule = Rule::from_json(object).map_err(|faults| {
            let fault = faults.into_iter().next();
            let why = fault.map_or_else(String::new, |f| format!("{}: {}", f.pointer, f.detail));
            StoreError::internal(format!("rule {} is not valid: {why}", row.rule_id))
        })?;
        Ok(StoredRule {
            id: row.rule_id,
            version: row.version,
            rule,
            after_id: row.after_id,
            started_at: row.started_at.0,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        })
    }
}

/// Creates rules, under the lock for control. A rule whose name the tenant has already is left out
/// if `is_missing_only`. Fails with [`StoreError::Full`] at the limit.
pub(crate) fn create_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    rules: Vec<Rule>,
    is_missing_only: bool,
) -> Result<Vec<StoredRule>, StoreError> {
    let known = all_in(connection, tenant)?;
    let size = log_heads::bounds(connection, tenant)?.size;
    let head = heads::get_in_txn(connection, tenant)?;
    let mut last = head.rules;
    let mut created = Vec::new();
    for rule in rules {
        if is_missing_only && known.iter().any(|other| other.rule.name() == rule.name()) {
            continue;
        }
        if known.len() + created.len() >= usize::try_from(RULES_MAX).unwrap_or(usize::MAX) {
            return Err(StoreError::Full("rule"));
        }
        last += 1;
        let now = now();
        let stored = StoredRule {
            id: last,
            version: 1,
            rule,
            after_id: size,
            started_at: now,
            created_at: now,
            updated_at: now,
        };
        diesel::insert_into(alert_rules::table)
            .values(Row::new(tenant, &stored))
            .execute(connection)?;
        created.push(stored);
    }
    if !created.is_empty() {
        heads::change_in_txn(connection, tenant, last)?;
    }
    Ok(created)
}

/// Replaces a rule by what `change` makes of it. If its version is evaluated no more, its alerts that
/// go on have ended. Fails with [`StoreError::NotFound`].
pub(crate) fn change<E: Send + 'static>(
    engine: &Engine,
    tenant: TenantId,
    id: i64,
    change: impl FnOnce(&StoredRule) -> Result<Rule, E> + Clone + Send + 'static,
) -> Result<Result<StoredRule, E>, StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            connection.lock_control_of_in_txn(tenant)?;
            let old = find_in(connection, tenant, id)?.ok_or(StoreError::NotFound("rule"))?;
            let rule = match change(&old) {
                Ok(rule) => rule,
                Err(error) => return Ok(Err(error)),
            };
            if rule == old.rule {
                return Ok(Ok(old));
            }
            let now = now();
            let is_other = !rule.finds_the_same_as(&old.rule);
            let begins = is_other || (rule.is_enabled() && !old.rule.is_enabled());
            let why = match (is_other, rule.is_enabled()) {
                (true, _) => Some("the rule was changed"),
                (false, false) => Some("the rule was disabled"),
                (false, true) => None,
            };
            if let Some(why) = why {
                let ending = Ending { rule: id, version: old.version, group_hash: None, why };
                end_in_txn(connection, tenant, ending)?;
            }
            let size = log_heads::bounds(connection, tenant)?.size;
            let new = StoredRule {
                version: old.version + i64::from(is_other),
                rule,
                after_id: if begins { size } else { old.after_id },
                started_at: if begins { now } else { old.started_at },
                updated_at: now,
                ..old
            };
            diesel::update(alert_rules::table.find((tenant.0, id)))
                .set(Row::new(tenant, &new))
                .execute(connection)?;
            let head = heads::get_in_txn(connection, tenant)?;
            heads::change_in_txn(connection, tenant, head.rules)?;
            Ok(Ok(new))
        })
    })
}

/// Deletes a rule, if `check` lets it. Its alerts stay; those that go on have ended. Fails with
/// [`StoreError::NotFound`].
pub(crate) fn delete<E: Send + 'static>(
    engine: &Engine,
    tenant: TenantId,
    id: i64,
    check: impl FnOnce(&StoredRule) -> Result<(), E> + Clone + Send + 'static,
) -> Result<Result<(), E>, StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            connection.lock_control_of_in_txn(tenant)?;
            let old = find_in(connection, tenant, id)?.ok_or(StoreError::NotFound("rule"))?;
            if let Err(error) = check(&old) {
                return Ok(Err(error));
            }
            diesel::delete(alert_rules::table.find((tenant.0, id))).execute(connection)?;
            let why = "the rule was deleted";
            let ending = Ending { rule: id, version: old.version, group_hash: None, why };
            end_in_txn(connection, tenant, ending)?;
            let head = heads::get_in_txn(connection, tenant)?;
            heads::change_in_txn(connection, tenant, head.rules)?;
            Ok(Ok(()))
        })
    })
}

/// A rule.
pub(crate) fn get(
    engine: &Engine,
    tenant: TenantId,
    id: i64,
) -> Result<Option<StoredRule>, StoreError> {
    find_in(&mut *engine.reader_of(tenant)?, tenant, id)
}

/// A page of the rules, newest first.
pub(crate) fn page(
    engine: &Engine,
    tenant: TenantId,
    query: &PageQuery<i64>,
) -> Result<Page<StoredRule>, StoreError> {
    let mut select = alert_rules::table
        .filter(alert_rules::tenant_id.eq(tenant.0))
        .select(Row::as_select())
        .limit(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
        .into_boxed();
    let from = query.position();
    if query.is_backwards() {
        select = select.order(alert_rules::rule_id.asc());
        if let Some(id) = from {
            select = select.filter(alert_rules::rule_id.gt(id));
        }
    } else {
        select = select.order(alert_rules::rule_id.desc());
        if let Some(id) = from {
            select = select.filter(alert_rules::rule_id.lt(id));
        }
    }
    let rows: Vec<Row> = select.load(&mut *engine.reader_of(tenant)?)?;
    let rules: Result<Vec<StoredRule>, StoreError> =
        rows.into_iter().map(StoredRule::try_from).collect();
    Ok(query.page(rules?))
}

/// All rules of a tenant, by id.
pub(crate) fn all_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
) -> Result<Vec<StoredRule>, StoreError> {
    let rows: Vec<Row> = alert_rules::table
        .filter(alert_rules::tenant_id.eq(tenant.0))
        .order(alert_rules::rule_id)
        .select(Row::as_select())
        .load(connection)?;
    rows.into_iter().map(StoredRule::try_from).collect()
}

fn find_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: i64,
) -> Result<Option<StoredRule>, StoreError> {
    let row: Option<Row> = alert_rules::table
        .find((tenant.0, id))
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    row.map(StoredRule::try_from).transpose()
}
