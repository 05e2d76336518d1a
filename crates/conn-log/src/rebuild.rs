//! `conn-log rebuild NAME`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use conn_log_store::{Progress, Store, Tenant};

use crate::arguments::Database;
use crate::{open, say};

/// The name of the log's index. This command only drops the index; a server builds it again.
const INDEX: &str = "index";

/// Maximum events of one transaction.
const RUN_EVENTS_MAX: usize = 10_000;

/// The pause between two attempts on a log that a server is working on.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(name: &str, tenant: Option<&str>, database: &Database) -> anyhow::Result<()> {
    let store = open(database)?;
    let mut tenants = store.tenant_list().context("cannot list the tenants")?;
    if let Some(wanted) = tenant {
        tenants.retain(|tenant| tenant.name == wanted);
        if tenants.is_empty() {
            bail!("there is no tenant {wanted:?}");
        }
    }
    for tenant in tenants {
        rebuild(&store, &tenant, name)?;
    }
    store.close();
    Ok(())
}

/// Rebuilds one projection or the index of a tenant's log. It can run while a server uses the
/// database: each event is still taken in once.
fn rebuild(store: &Store, tenant: &Tenant, name: &str) -> anyhow::Result<()> {
    store.rebuild(tenant.id, name).with_context(|| format!("cannot begin {name} anew"))??;
    if name == INDEX {
        say(&format!(
            "{}: the index is dropped; a server makes it anew behind the log",
            tenant.name
        ));
        return Ok(());
    }
    let mut taken = 0;
    while store.behind(tenant.id, name).context("cannot look at the projection")? > 0 {
        match store.projections_step(tenant.id, RUN_EVENTS_MAX).context("cannot go on")? {
            Progress::Taken(count) => taken += count,
            Progress::Cleared => {}
            Progress::UpToDate => break,
            Progress::Busy => std::thread::sleep(BUSY_PAUSE),
        }
    }
    say(&format!("{}: {name} is computed anew ({taken} events here)", tenant.name));
    Ok(())
}
