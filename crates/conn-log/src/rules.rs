//! `conn-log rules …`.

use anyhow::Context as _;
use conn_log_core::alert::starter_rules;

use crate::arguments::RulesCommand;
use crate::{open, result, say};

pub(crate) fn run(command: RulesCommand) -> anyhow::Result<()> {
    let RulesCommand::Install { tenant, database } = command;
    let store = open(&database)?;
    let tenant = store
        .tenant_find_by_name(&tenant)
        .context("cannot look for the tenant")?
        .with_context(|| format!("there is no tenant {tenant:?}"))?
        .id;
    let installed = store.rule_install(tenant, starter_rules()).context("cannot make the rules")?;
    if installed.is_empty() {
        say("nothing to do: the log has all starter rules");
    }
    for rule in installed {
        result(rule.rule.name());
    }
    Ok(())
}
