//! `conn-log tenant …`.

use anyhow::Context as _;

use crate::arguments::TenantCommand;
use crate::{open, result};

pub(crate) fn run(command: TenantCommand) -> anyhow::Result<()> {
    match command {
        TenantCommand::Create { name, database } => {
            let tenant = open(&database)?.tenant_create(&name).context("cannot make the tenant")?;
            result(&format!("{}\t{}", tenant.id.0, tenant.name));
        }
        TenantCommand::List(database) => {
            for tenant in open(&database)?.tenant_list().context("cannot list the tenants")? {
                result(&format!("{}\t{}", tenant.id.0, tenant.name));
            }
        }
    }
    Ok(())
}
