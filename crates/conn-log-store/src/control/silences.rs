//! Silences: alerts of which no webhook is told for a time. The alerts are recorded all the same.

use std::borrow::Cow;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::alerts::changes::scalar_text;
use super::schema::silences;
use super::token::TokenPlace;
use crate::clock::now;
use crate::engine::{AnyConnection, Engine, Guid, JsonText, Micros};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Limit of silences of a tenant. Each change of an alert is held against all of them.
const SILENCES_MAX: i64 = 1_000;

/// A silence to create.
#[derive(Clone, Debug)]
pub struct NewSilence {
    /// The rule of the alerts, as it stands in JSON; any rule if `None`.
    pub rule_id: Option<Value>,
    /// Fields that the group of the alerts has; any group if `None`.
    pub group: Option<Map<String, Value>>,
    /// The severity of the alerts; any if `None`.
    pub severity: Option<String>,
    /// The end of the silence.
    pub until: Timestamp,
    /// Why, for people.
    pub reason: String,
    /// The token that creates it.
    pub created_by: Uuid,
}

/// A silence.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Its id.
    pub id: Uuid,
    /// Its settings.
    pub settings: NewSilence,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Silence {
    /// Its position in the list.
    pub fn place(&self) -> TokenPlace {
        TokenPlace { created_at: self.created_at, id: self.id }
    }

    /// Whether an alert that changes at that time is silenced.
    pub fn covers(&self, alert: &Value, at: Timestamp) -> bool {
        let NewSilence { rule_id, group, severity, until, .. } = &self.settings;
        let has_rule = |id: &Value| scalar_text(id) == scalar_text(&alert["rule_id"]);
        let has_group = |group: &Map<String, Value>| {
            group.iter().all(|(name, value)| alert["group"][name] == group_text(value))
        };
        at < *until
            && rule_id.as_ref().is_none_or(has_rule)
            && group.as_ref().is_none_or(has_group)
            && severity.as_ref().is_none_or(|severity| alert["severity"] == severity.as_str())
    }
}

/// A value of a group as alerts have it: as a text, also numbers, true and false of the metadata.
fn group_text(value: &Value) -> String {
    let canonical = |value| serde_json_canonicalizer::to_string(value).ok();
    value.as_str().map(str::to_owned).or_else(|| canonical(value)).unwrap_or_default()
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = silences)]
struct Row {
    tenant_id: i32,
    id: Guid,
    matcher: JsonText<'static>,
    until: Micros,
    reason: String,
    created_by: Guid,
    created_at: Micros,
}

/// Creates a silence, under the lock for control. Fails with [`StoreError::Full`] if the tenant has
/// the most that it may have.
pub(crate) fn create_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    new: NewSilence,
) -> Result<Silence, StoreError> {
    let of_tenant = silences::table.filter(silences::tenant_id.eq(tenant.0));
    let count: i64 = of_tenant.count().get_result(connection)?;
    if count >= SILENCES_MAX {
        return Err(StoreError::Full("silence"));
    }
    let silence = Silence { id: Uuid::new_v4(), settings: new, created_at: now() };
    diesel::insert_into(silences::table).values(Row::new(tenant, &silence)).execute(connection)?;
    Ok(silence)
}

/// A page of a tenant's silences, newest first, those that are over included.
pub(crate) fn list(
    engine: &Engine,
    tenant: TenantId,
    query: &PageQuery<TokenPlace>,
) -> Result<Page<Silence>, StoreError> {
    let all = all_until(&mut *engine.reader_of(tenant)?, tenant, Timestamp::MIN)?;
    Ok(query.page_of_all(all, Silence::place))
}

/// A tenant's silence.
pub(crate) fn find(engine: &Engine, tenant: TenantId, id: Uuid) -> Result<Silence, StoreError> {
    let row: Option<Row> = silences::table
        .find((tenant.0, Guid(id)))
        .select(Row::as_select())
        .first(&mut *engine.reader_of(tenant)?)
        .optional()?;
    row.ok_or(StoreError::NotFound("silence"))?.try_into()
}

/// A tenant's silences that end at that time or later.
pub(crate) fn all_until(
    connection: &mut AnyConnection,
    tenant: TenantId,
    time: Timestamp,
) -> Result<Vec<Silence>, StoreError> {
    let rows: Vec<Row> = silences::table
        .filter(silences::tenant_id.eq(tenant.0))
        .filter(silences::until.ge(Micros(time)))
        .select(Row::as_select())
        .load(connection)?;
    rows.into_iter().map(Silence::try_from).collect()
}

/// Ends a silence at once.
pub(crate) fn delete(engine: &Engine, tenant: TenantId, id: Uuid) -> Result<(), StoreError> {
    let count = engine.write_of(tenant, move |connection| {
        Ok(diesel::delete(silences::table.find((tenant.0, Guid(id)))).execute(connection)?)
    })?;
    if count == 0 { Err(StoreError::NotFound("silence")) } else { Ok(()) }
}

/// Deletes a tenant's silences that ended before that time.
pub(crate) fn expire(
    connection: &mut AnyConnection,
    tenant: TenantId,
    time: Timestamp,
) -> QueryResult<usize> {
    let over = silences::table
        .filter(silences::tenant_id.eq(tenant.0))
        .filter(silences::until.lt(Micros(time)));
    diesel::delete(over).execute(connection)
}

impl Row {
    fn new(tenant: TenantId, silence: &Silence) -> Self {
        let NewSilence { rule_id, group, severity, until, reason, created_by } = &silence.settings;
        let matcher = json!({"rule_id": rule_id, "group": group, "severity": severity});
        Row {
            tenant_id: tenant.0,
            id: Guid(silence.id),
            matcher: JsonText(Cow::Owned(matcher.to_string())),
            until: Micros(*until),
            reason: reason.clone(),
            created_by: Guid(*created_by),
            created_at: Micros(silence.created_at),
        }
    }
}

impl TryFrom<Row> for Silence {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let matcher: Value = serde_json::from_str(&row.matcher.0).map_err(StoreError::internal)?;
        let given = |name: &str| Some(matcher[name].clone()).filter(|value| !value.is_null());
        Ok(Silence {
            id: row.id.0,
            settings: NewSilence {
                rule_id: given("rule_id"),
                group: matcher["group"].as_object().cloned(),
                severity: given("severity").as_ref().map(scalar_text),
                until: row.until.0,
                reason: row.reason,
                created_by: row.created_by.0,
            },
            created_at: row.created_at.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_matches_in_the_spelling_of_alerts() {
        let of = |group: Value| Silence {
            id: Uuid::nil(),
            settings: NewSilence {
                rule_id: None,
                group: group.as_object().cloned(),
                severity: None,
                until: Timestamp::MAX,
                reason: "test".to_owned(),
                created_by: Uuid::nil(),
            },
            created_at: Timestamp::EPOCH,
        };
        let alert =
            json!({"group": {"device_id": "d", "metadata.port": "443", "metadata.up": "true"}});
        for (group, covers) in [
            (json!({"device_id": "d"}), true),
            (json!({"device_id": "D"}), false),
            (json!({"metadata.port": 443.0}), true),
            (json!({"metadata.port": "443"}), true),
            (json!({"metadata.up": true, "device_id": "d"}), true),
            (json!({"metadata.up": false}), false),
            (json!({"ip_address": ""}), false),
        ] {
            assert_eq!(of(group.clone()).covers(&alert, Timestamp::EPOCH), covers, "{group}");
        }
    }
}
