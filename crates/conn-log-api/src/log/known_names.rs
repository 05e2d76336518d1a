//! Refuses filters on names that no event can have, because they are typing errors.

use conn_log_core::EventFilter;
use conn_log_store::TenantId;

use crate::http::app::App;
use crate::http::problem::Problem;

/// Succeeds if the rules or the log know every type and status of a filter.
///
/// # Errors
/// As [`require`].
pub(crate) async fn require_in(
    app: &App,
    tenant: TenantId,
    filter: &EventFilter,
) -> Result<(), Problem> {
    require(app, tenant, &filter.connection_types, &filter.statuses).await
}

/// Succeeds if the rules or the log know every one of these names.
///
/// # Errors
/// 400 that lists the known names. Like every problem, it repeats no value of the request.
pub(crate) async fn require(
    app: &App,
    tenant: TenantId,
    connection_types: &[String],
    statuses: &[String],
) -> Result<(), Problem> {
    let policy = &app.options.policy;
    let types = connection_types.iter().filter(|name| !policy.has_connection_type(name));
    let statuses_left = statuses.iter().filter(|name| !policy.has_status(name));
    let unruled: Vec<String> = types.chain(statuses_left).cloned().collect();
    if unruled.is_empty() {
        return Ok(());
    }
    // The log may know names that the rules do not, because the rules may have changed.
    let unknown = app.read(move |store| store.names_unknown(tenant, &unruled)).await?;
    let (known_types, known_statuses) = policy.names();
    for (parameter, names, known) in
        [("connection_type", connection_types, known_types), ("status", statuses, known_statuses)]
    {
        if names.iter().any(|name| unknown.contains(name)) {
            let detail =
                format!("neither the rules nor the log know a value; the rules know {known}");
            return Err(Problem::parameter(parameter, "unknown_value", detail));
        }
    }
    Ok(())
}
