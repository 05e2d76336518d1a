//! Reads rules from bodies, and checks what only the server knows.

use conn_log_core::alert::{Kind, Rule, RuleFault};
use conn_log_core::{EventFilter, FaultKind, Timestamp};
use conn_log_store::TenantId;
use serde_json::{Map, Value};

use crate::http::app::App;
use crate::http::problem::Problem;
use crate::log::query::RFC3339;

/// Reads a rule.
///
/// # Errors
/// 400 or 422 with all faults: also for a type or a status that neither the rules of events nor the
/// log know.
pub(super) async fn rule(
    app: &App,
    tenant: TenantId,
    object: Map<String, Value>,
) -> Result<Rule, Problem> {
    rule_with(app, tenant, object, Vec::new()).await
}

/// The same, with faults that were found before.
pub(super) async fn rule_with(
    app: &App,
    tenant: TenantId,
    object: Map<String, Value>,
    mut faults: Vec<RuleFault>,
) -> Result<Rule, Problem> {
    let rule = Rule::from_json(object);
    if let Ok(rule) = &rule {
        faults.extend(unknown_names(app, tenant, rule).await?);
    }
    match rule {
        Ok(rule) if faults.is_empty() => Ok(rule),
        Ok(_) => Err(faults.into()),
        Err(more) => {
            faults.extend(more);
            Err(faults.into())
        }
    }
}

/// Takes the time of a preview out of a body: since, until, which is
/// this moment if it is absent, and the faults.
pub(super) fn span(object: &mut Map<String, Value>) -> ((Timestamp, Timestamp), Vec<RuleFault>) {
    let mut faults = Vec::new();
    let mut time = |name: &str| {
        let fault = |code, detail: &str, kind| RuleFault {
            pointer: format!("/{name}"),
            code,
            detail: detail.to_owned(),
            kind,
        };
        let found = match object.remove(name) {
            None | Some(Value::Null) if name == "until" => Ok(Timestamp::from(chrono::Utc::now())),
            None | Some(Value::Null) => {
                Err(fault("missing", "this member is required", FaultKind::Shape))
            }
            Some(Value::String(text)) => Timestamp::parse(&text)
                .ok_or_else(|| fault("invalid_timestamp", RFC3339, FaultKind::Value)),
            Some(_) => Err(fault("wrong_type", "this member is a JSON string", FaultKind::Shape)),
        };
        found.map_err(|fault| faults.push(fault)).ok()
    };
    let (since, until) = (time("since"), time("until"));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        faults.push(RuleFault {
            pointer: "/until".to_owned(),
            code: "out_of_range",
            detail: "until is after since".to_owned(),
            kind: FaultKind::Value,
        });
    }
    ((since.unwrap_or(Timestamp::EPOCH), until.unwrap_or(Timestamp::EPOCH)), faults)
}

/// Takes the members of `rule` in: in the body of a preview the rule's own members may stand in an
/// object of their own. A null counts as not given.
pub(super) fn take_in_rule(object: &mut Map<String, Value>, faults: &mut Vec<RuleFault>) {
    match object.remove("rule") {
        None | Some(Value::Null) => {}
        Some(Value::Object(rule)) => object.extend(rule),
        Some(_) => faults.push(RuleFault {
            pointer: "/rule".to_owned(),
            code: "wrong_type",
            detail: "this member is a JSON object".to_owned(),
            kind: FaultKind::Shape,
        }),
    }
}

/// Types and statuses that no event can have: they are typing errors.
async fn unknown_names(
    app: &App,
    tenant: TenantId,
    rule: &Rule,
) -> Result<Vec<RuleFault>, Problem> {
    let mut filters: Vec<(&str, &EventFilter)> = vec![("/filter", rule.filter())];
    filters.extend(rule.exclude().map(|filter| ("/exclude", filter)));
    if let Kind::Sequence { first, then, .. } = rule.kind() {
        filters.extend([("/params/first", &**first), ("/params/then", &**then)]);
    }
    let policy = &app.options.policy;
    let (types, statuses) = policy.names();
    let mut given: Vec<(String, String, &str)> = Vec::new();
    for (place, filter) in filters {
        for name in filter.connection_types.iter().filter(|name| !policy.has_connection_type(name))
        {
            given.push((format!("{place}/connection_type"), name.clone(), &types));
        }
        for name in filter.statuses.iter().filter(|name| !policy.has_status(name)) {
            given.push((format!("{place}/status"), name.clone(), &statuses));
        }
    }
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = given.iter().map(|(_, name, _)| name.clone()).collect();
    let unknown = app.read(move |store| store.names_unknown(tenant, &names)).await?;
    let faults = given.into_iter().filter(|(_, name, _)| unknown.contains(name));
    Ok(faults
        .map(|(pointer, _, known)| RuleFault {
            pointer,
            code: "matches_nothing",
            detail: format!("neither the rules nor the log know a value; the rules know {known}"),
            kind: FaultKind::Value,
        })
        .collect())
}
