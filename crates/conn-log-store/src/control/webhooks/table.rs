//! The table of webhooks: creates, lists, changes and deletes them.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::time::Duration;

use conn_log_core::Timestamp;
use diesel::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::failing::end_alert_in_txn;
use super::{
    AlertFilter, DisabledReason, NewWebhook, Webhook, WebhookChange, WebhookFormat, WebhookSecret,
};
use crate::clock::{delta, now};
use crate::control::alerts::{ChangeKind, changes};
use crate::control::deliveries;
use crate::control::schema::{tenants, webhooks};
use crate::control::token::TokenPlace;
use crate::engine::{AnyConnection, Engine, Guid, JsonText, Micros, Tenants, numbers};
use crate::error::StoreError;
use crate::page::{Page, PageQuery};
use crate::tenant_id::TenantId;

/// Limit of webhooks of a tenant. Each is looked at about once a second.
const WEBHOOKS_MAX: i64 = 100;

/// How long the secret before a rotation signs too.
const ROTATION: Duration = Duration::from_hours(24);

const NONE_SUCH: StoreError = StoreError::NotFound("webhook");

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = webhooks, treat_none_as_default_value = false)]
struct Row {
    tenant_id: i32,
    id: Guid,
    url: String,
    format: String,
    filter: JsonText<'static>,
    routing_key: Option<String>,
    secret: String,
    secret_before: Option<String>,
    secret_before_until: Option<Micros>,
    position: i64,
    delivery_last: i64,
    disabled_at: Option<Micros>,
    disabled_reason: Option<String>,
    failing_since: Option<Micros>,
    failed_at: Option<Micros>,
    created_at: Micros,
}

/// Creates a webhook, under the lock for control. It is told of the changes that come after. Fails
/// with [`StoreError::Full`] if the tenant has the most webhooks that it may have.
pub(crate) fn create_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    new: NewWebhook,
    secret: WebhookSecret,
) -> Result<Webhook, StoreError> {
    let owner: Option<i32> =
        tenants::table.find(tenant.0).select(tenants::id).first(connection).optional()?;
    if owner.is_none() {
        return Err(StoreError::NotFound("tenant"));
    }
    let of_tenant = webhooks::table.filter(webhooks::tenant_id.eq(tenant.0));
    let count: i64 = of_tenant.count().get_result(connection)?;
    if count >= WEBHOOKS_MAX {
        return Err(StoreError::Full("webhook"));
    }
    let created_at = now();
    let webhook = Webhook {
        tenant,
        id: Uuid::new_v4(),
        url: new.url,
        format: new.format,
        changes: new.changes,
        filter: new.filter,
        routing_key: new.routing_key,
        secret,
        secret_before: None,
        disabled: (!new.enabled).then_some((created_at, DisabledReason::Request)),
        failing_since: None,
        failed_at: None,
        position: changes::last_id(connection, tenant)?,
        delivery_last: 0,
        created_at,
    };
    diesel::insert_into(webhooks::table).values(Row::from(&webhook)).execute(connection)?;
    Ok(webhook)
}

/// A page of a tenant's webhooks, newest first.
pub(crate) fn list(
    engine: &Engine,
    tenant: TenantId,
    query: &PageQuery<TokenPlace>,
) -> Result<Page<Webhook>, StoreError> {
    // A tenant has so few that a page is cut out of all of them.
    let rows: Vec<Row> = webhooks::table
        .filter(webhooks::tenant_id.eq(tenant.0))
        .select(Row::as_select())
        .load(&mut *engine.reader_of(tenant)?)?;
    let all: Result<Vec<Webhook>, _> = rows.into_iter().map(Webhook::try_from).collect();
    Ok(query.page_of_all(all?, Webhook::place))
}

/// A tenant's webhook.
pub(crate) fn find_in(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: Uuid,
) -> Result<Webhook, StoreError> {
    let row: Option<Row> = webhooks::table
        .find((tenant.0, Guid(id)))
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    row.ok_or(NONE_SUCH)?.try_into()
}

/// A tenant's webhook, locked until the transaction ends: no other process makes deliveries for it.
pub(crate) fn lock_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: Uuid,
) -> Result<Webhook, StoreError> {
    diesel::update(webhooks::table.find((tenant.0, Guid(id))))
        .set(webhooks::position.eq(webhooks::position))
        .execute(connection)?;
    find_in(connection, tenant, id)
}

/// The enabled webhooks of these tenants.
pub(crate) fn all_enabled(
    connection: &mut AnyConnection,
    tenants: Tenants<'_>,
) -> Result<Vec<Webhook>, StoreError> {
    let mut rows = webhooks::table
        .filter(webhooks::disabled_at.is_null())
        .select(Row::as_select())
        .into_boxed();
    if let Some(tenants) = tenants {
        rows = rows.filter(webhooks::tenant_id.eq_any(numbers(tenants)));
    }
    let rows: Vec<Row> = rows.load(connection)?;
    rows.into_iter().map(Webhook::try_from).collect()
}

/// Changes a webhook as `change` says. One that is enabled again is told of the changes that come after; one that is
/// disabled has its pending deliveries cancelled.
pub(crate) fn update<E: Send + 'static>(
    engine: &Engine,
    tenant: TenantId,
    id: Uuid,
    change: impl FnOnce(&Webhook) -> Result<WebhookChange, E> + Clone + Send + 'static,
) -> Result<Result<Webhook, E>, StoreError> {
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            let mut webhook = lock_in_txn(connection, tenant, id)?;
            let change = match change(&webhook) {
                Ok(change) => change,
                Err(error) => return Ok(Err(error)),
            };
            let time = now();
            webhook.url = change.url.unwrap_or(webhook.url);
            webhook.format = change.format.unwrap_or(webhook.format);
            webhook.changes = change.changes.unwrap_or(webhook.changes);
            webhook.filter = change.filter.unwrap_or(webhook.filter);
            webhook.routing_key = change.routing_key.unwrap_or(webhook.routing_key);
            diesel::update(webhooks::table.find((tenant.0, Guid(id))))
                .set((
                    webhooks::url.eq(&webhook.url),
                    webhooks::format.eq(webhook.format.name()),
                    webhooks::filter.eq(json(&webhook.changes, &webhook.filter)),
                    webhooks::routing_key.eq(&webhook.routing_key),
                ))
                .execute(connection)?;
            match (change.enabled, webhook.disabled.is_some()) {
                (Some(true), true) => {
                    enable_in_txn(connection, tenant, id)?;
                    end_alert_in_txn(connection, tenant, id, "the webhook was enabled again")?;
                }
                (Some(false), false) => {
                    let reason = DisabledReason::Request;
                    disable_in_txn(connection, Disable { tenant, webhook: id, reason, at: time })?;
                }
                _ => {}
            }
            find_in(connection, tenant, id).map(Ok)
        })
    })
}

fn enable_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    id: Uuid,
) -> Result<(), StoreError> {
    let position = changes::last_id(connection, tenant)?;
    diesel::update(webhooks::table.find((tenant.0, Guid(id))))
        .set((
            webhooks::disabled_at.eq(None::<Micros>),
            webhooks::disabled_reason.eq(None::<String>),
            webhooks::failing_since.eq(None::<Micros>),
            webhooks::position.eq(position),
        ))
        .execute(connection)?;
    Ok(())
}

/// What disables a webhook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disable {
    pub(crate) tenant: TenantId,
    pub(crate) webhook: Uuid,
    pub(crate) reason: DisabledReason,
    pub(crate) at: Timestamp,
}

/// Disables a webhook, and cancels its pending deliveries.
pub(crate) fn disable_in_txn(
    connection: &mut AnyConnection,
    Disable { tenant, webhook, reason, at }: Disable,
) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find((tenant.0, Guid(webhook))))
        .set((
            webhooks::disabled_at.eq(Some(Micros(at))),
            webhooks::disabled_reason.eq(Some(reason.name())),
        ))
        .execute(connection)?;
    Ok(deliveries::cancel_all_in_txn(connection, tenant, webhook, at)?)
}

/// Gives a webhook a new secret. The one before it signs too for a day; a still older one no more.
pub(crate) fn rotate_secret(
    engine: &Engine,
    tenant: TenantId,
    id: Uuid,
) -> Result<Webhook, StoreError> {
    let secret = WebhookSecret::generate().map_err(StoreError::internal)?;
    engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            let webhook = lock_in_txn(connection, tenant, id)?;
            diesel::update(webhooks::table.find((tenant.0, Guid(id))))
                .set((
                    webhooks::secret.eq(secret.reveal()),
                    webhooks::secret_before.eq(Some(webhook.secret.reveal())),
                    webhooks::secret_before_until.eq(Some(Micros(now().plus(delta(ROTATION))))),
                ))
                .execute(connection)?;
            find_in(connection, tenant, id)
        })
    })
}

/// Deletes a webhook, if `check` lets it. Its deliveries are deleted after it, some at a time.
pub(crate) fn delete<E: Send + 'static>(
    engine: &Engine,
    tenant: TenantId,
    id: Uuid,
    check: impl FnOnce(&Webhook) -> Result<(), E> + Clone + Send + 'static,
) -> Result<Result<(), E>, StoreError> {
    let deleted = engine.write_of(tenant, move |connection| {
        connection.in_txn(|connection| {
            if let Err(error) = check(&lock_in_txn(connection, tenant, id)?) {
                return Ok(Err(error));
            }
            diesel::delete(webhooks::table.find((tenant.0, Guid(id)))).execute(connection)?;
            end_alert_in_txn(connection, tenant, id, "the webhook was deleted")?;
            Ok(Ok(()))
        })
    })?;
    if deleted.is_ok() {
        deliveries::clear(engine, tenant, id)?;
    }
    Ok(deleted)
}

/// Moves the position of a locked webhook, and counts new deliveries.
pub(crate) fn move_position_in_txn(
    connection: &mut AnyConnection,
    webhook: &Webhook,
    position: i64,
    deliveries: i64,
) -> QueryResult<()> {
    diesel::update(webhooks::table.find((webhook.tenant.0, Guid(webhook.id))))
        .set((
            webhooks::position.eq(position),
            webhooks::delivery_last.eq(webhook.delivery_last + deliveries),
        ))
        .execute(connection)?;
    Ok(())
}

/// The table's JSON of the changes that a webhook is told of.
fn json(changes: &[ChangeKind], filter: &AlertFilter) -> JsonText<'static> {
    let mut json = filter.to_json();
    json["change"] = changes.iter().map(|kind| kind.name()).collect();
    JsonText(Cow::Owned(json.to_string()))
}

impl Webhook {
    /// Its position in the list.
    pub fn place(&self) -> TokenPlace {
        TokenPlace { created_at: self.created_at, id: self.id }
    }
}

impl From<&Webhook> for Row {
    fn from(webhook: &Webhook) -> Self {
        let before = webhook.secret_before.as_ref();
        Row {
            tenant_id: webhook.tenant.0,
            id: Guid(webhook.id),
            url: webhook.url.clone(),
            format: webhook.format.name().to_owned(),
            filter: json(&webhook.changes, &webhook.filter),
            routing_key: webhook.routing_key.clone(),
            secret: webhook.secret.reveal().to_owned(),
            secret_before: before.map(|(secret, _)| secret.reveal().to_owned()),
            secret_before_until: before.map(|(_, until)| Micros(*until)),
            position: webhook.position,
            delivery_last: webhook.delivery_last,
            disabled_at: webhook.disabled.map(|(at, _)| Micros(at)),
            disabled_reason: webhook.disabled.map(|(_, reason)| reason.name().to_owned()),
            failing_since: webhook.failing_since.map(Micros),
            failed_at: webhook.failed_at.map(Micros),
            created_at: Micros(webhook.created_at),
        }
    }
}

impl TryFrom<Row> for Webhook {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let reason = row.disabled_reason.as_deref().map(DisabledReason::from_str).transpose();
        let filter: Value = serde_json::from_str(&row.filter.0).map_err(StoreError::internal)?;
        let kinds = filter["change"].as_array().into_iter().flatten();
        let changes: Result<_, _> =
            kinds.map(|kind| kind.as_str().unwrap_or_default().parse()).collect();
        let before = row.secret_before.map(WebhookSecret::of_text);
        Ok(Webhook {
            tenant: TenantId(row.tenant_id),
            id: row.id.0,
            url: row.url,
            format: WebhookFormat::from_str(&row.format).map_err(StoreError::internal)?,
            changes: changes.map_err(StoreError::internal)?,
            filter: AlertFilter::of_json(&filter),
            routing_key: row.routing_key,
            secret: WebhookSecret::of_text(row.secret),
            secret_before: before.zip(row.secret_before_until.map(|time| time.0)),
            disabled: row.disabled_at.map(|time| time.0).zip(reason.map_err(StoreError::internal)?),
            failing_since: row.failing_since.map(|time| time.0),
            failed_at: row.failed_at.map(|time| time.0),
            position: row.position,
            delivery_last: row.delivery_last,
            created_at: row.created_at.0,
        })
    }
}
