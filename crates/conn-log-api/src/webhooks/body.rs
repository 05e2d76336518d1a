//! Reads a webhook's settings from a body.

use conn_log_core::alert::KINDS;
use conn_log_store::{
    AlertFilter, ChangeKind, NewWebhook, WEBHOOK_DISABLED, Webhook, WebhookChange, WebhookFormat,
};
use serde_json::Value;

use super::guard::Guard;
use crate::http::json_object::Members;
use crate::http::patch::Patch;
use crate::http::problem::Problem;

/// The severities of rules.
pub(crate) const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// The hosts of PagerDuty's Events API.
const PAGERDUTY_HOSTS: [&str; 2] = ["events.pagerduty.com", "events.eu.pagerduty.com"];

/// The name of a change in `events`.
pub(super) fn event_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Opened => "alert.opened",
        ChangeKind::Extended => "alert.extended",
        ChangeKind::Acknowledged => "alert.acknowledged",
        ChangeKind::Resolved => "alert.resolved",
        ChangeKind::Withdrawn => "alert.withdrawn",
    }
}

/// Reads a new webhook.
///
/// # Errors
/// 400 or 422 with all faults.
pub(super) fn read_new(mut members: Members<'_>, guard: &Guard) -> Result<NewWebhook, Problem> {
    if !members.has("url") {
        members.shape("/url".to_owned(), "missing", "this member is required");
    }
    let change = read_members(&mut members, &AlertFilter::default(), guard);
    let new = NewWebhook {
        url: change.url.unwrap_or_default(),
        format: change.format.unwrap_or(WebhookFormat::Standard),
        changes: change.changes.unwrap_or_else(|| ChangeKind::ALL.to_vec()),
        filter: change.filter.unwrap_or_default(),
        routing_key: change.routing_key.flatten(),
        enabled: change.enabled.unwrap_or(true),
    };
    check_together(&mut members, new.format, &new.url, new.routing_key.is_some());
    members.finish()?;
    Ok(new)
}

/// Reads the changes of a webhook: a member that is null gets its default. A merge patch changes only
/// the given members of the filter.
///
/// # Errors
/// 400 or 422 with all faults.
pub(super) fn read_change(
    mut members: Members<'_>,
    webhook: &Webhook,
    patch: Patch,
    guard: &Guard,
) -> Result<WebhookChange, Problem> {
    if members.take_null("url") {
        members.shape("/url".to_owned(), "null", "this member is required");
    }
    let defaults = WebhookChange {
        url: None,
        format: members.take_null("format").then_some(WebhookFormat::Standard),
        changes: members.take_null("events").then(|| ChangeKind::ALL.to_vec()),
        filter: members.take_null("filter").then(AlertFilter::default),
        routing_key: members.take_null("routing_key").then_some(None),
        enabled: members.take_null("enabled").then_some(true),
    };
    let none = AlertFilter::default();
    let filter = if patch == Patch::Merges { &webhook.filter } else { &none };
    let given = read_members(&mut members, filter, guard);
    let change = WebhookChange {
        url: given.url,
        format: given.format.or(defaults.format),
        changes: given.changes.or(defaults.changes),
        filter: given.filter.or(defaults.filter),
        routing_key: given.routing_key.or(defaults.routing_key),
        enabled: given.enabled.or(defaults.enabled),
    };
    let format = change.format.unwrap_or(webhook.format);
    let url = change.url.as_ref().unwrap_or(&webhook.url);
    let has_key = match &change.routing_key {
        Some(key) => key.is_some(),
        None => webhook.routing_key.is_some(),
    };
    check_together(&mut members, format, url, has_key);
    members.finish()?;
    Ok(change)
}

/// Reads the members that are given. `before` has the members of the filter that stay where none is
/// given.
fn read_members(members: &mut Members<'_>, before: &AlertFilter, guard: &Guard) -> WebhookChange {
    WebhookChange {
        url: members.text_as("url", |text| guard.check_url(text)),
        format: members.choice("format", WebhookFormat::ALL, WebhookFormat::name),
        changes: members.choices("events", ChangeKind::ALL, event_name),
        filter: members.object("filter", |filter| AlertFilter {
            rule_ids: list(filter, "rule_id", rule_id, &before.rule_ids),
            kinds: list(filter, "kind", kind, &before.kinds),
            severities: list(filter, "severity", severity, &before.severities),
        }),
        routing_key: members.label("routing_key").map(Some),
        enabled: members.flag("enabled"),
    }
}

/// A member of the filter: as before if it is not given, and empty if it is null.
fn list<T: Clone>(
    filter: &mut Members<'_>,
    name: &str,
    read: impl Fn(&Value) -> Result<T, &'static str>,
    before: &[T],
) -> Vec<T> {
    if filter.names().iter().any(|given| given == name) {
        filter.list(name, read).unwrap_or_default()
    } else {
        before.to_vec()
    }
}

/// Notes settings that can never work together: PagerDuty itself takes no event without its key. A
/// gateway before it may add one.
fn check_together(members: &mut Members<'_>, format: WebhookFormat, url: &str, has_key: bool) {
    let is_pagerduty = url::Url::parse(url).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        PAGERDUTY_HOSTS.contains(&host)
    });
    if format == WebhookFormat::PagerDuty && is_pagerduty && !has_key {
        members.missing_beside("routing_key", "format pagerduty and a URL of PagerDuty");
    }
}

/// The id of a rule.
pub(crate) fn rule_id(value: &Value) -> Result<Value, &'static str> {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|id| id > 0) => Ok(value.clone()),
        Value::String(text) if is_name(text) => Ok(value.clone()),
        _ => Err("the id of a rule"),
    }
}

fn kind(value: &Value) -> Result<String, &'static str> {
    let is_known = |name: &&str| KINDS.contains(name) || *name == WEBHOOK_DISABLED;
    value.as_str().filter(is_known).map(str::to_owned).ok_or("the kind of a rule")
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && !text.contains(char::is_control)
}

fn severity(value: &Value) -> Result<String, &'static str> {
    let name = value.as_str().filter(|name| SEVERITIES.contains(name));
    name.map(str::to_owned).ok_or("one of info, warning, critical")
}
