//! Whether the server answers a COMMIT only after its fsync.
//!
//! A server that is set to answer earlier, by `fsync = off`, is its operator's choice; the log only
//! tells of it. On Citus the choice must be the same on all nodes: a worker that is less safe than
//! the coordinator is refused, as nobody would notice it otherwise.
//!
//! What a session sets for itself does not reach the nodes. `conn-log migrate --citus` sets
//! `synchronous_commit` for the database, on every node, whatever a node's own files say.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};

use crate::engine::lanes::Lanes;
use crate::error::{OpenError, StoreError};

/// Longest question to a node: one that hangs is not waited for.
const ASK_TIME_MAX: Duration = Duration::from_secs(3);

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct NodeSetting {
    #[diesel(sql_type = Text)]
    node: String,
    #[diesel(sql_type = Text)]
    value: String,
}

/// Fails if a node of a distributed log would answer before its fsync, and the coordinator would
/// not. Nodes that are away are not asked.
pub(in crate::engine) fn check(
    postgres: &mut PgConnection,
    lanes: &Lanes,
) -> Result<(), OpenError> {
    let fsync = "SELECT current_setting('fsync') AS value";
    let own: Setting = diesel::sql_query(fsync).get_result(postgres).map_err(StoreError::from)?;
    if own.value != "on" {
        log::warn!(
            "the database has fsync = {}: a crash of its machine loses acknowledged events",
            own.value
        );
        return Ok(());
    }
    if !lanes.is_distributed() {
        return Ok(());
    }
    match within(postgres, without_fsync) {
        Ok(Some(node)) => return Err(OpenError::NotDurable { node, setting: "fsync" }),
        Ok(None) => {}
        Err(error) => log::warn!("the workers could not be asked for their fsync: {error}"),
    }
    for lane in 0..lanes.count() {
        let Some(tenant) = lanes.tenants_of(lane).first().copied() else { continue };
        match synchronous_commit(postgres, tenant.0) {
            Ok(Some(NodeSetting { node, value })) if value == "off" => {
                return Err(OpenError::NotDurable { node, setting: "synchronous_commit" });
            }
            Ok(_) => {}
            Err(error) => log::warn!("a worker could not be asked for its commits: {error}"),
        }
    }
    Ok(())
}

/// A worker with `fsync = off`.
fn without_fsync(postgres: &mut PgConnection) -> QueryResult<Option<String>> {
    const ASK: &str = "SELECT nodename || ':' || nodeport AS node, result AS value
                         FROM run_command_on_workers('SHOW fsync') WHERE success";
    let nodes: Vec<NodeSetting> = diesel::sql_query(ASK).load(postgres)?;
    Ok(nodes.into_iter().find(|found| found.value != "on").map(|found| found.node))
}

/// The `synchronous_commit` that this program's sessions have on a tenant's node. `None` if there is
/// no such tenant.
fn synchronous_commit(
    postgres: &mut PgConnection,
    tenant: i32,
) -> QueryResult<Option<NodeSetting>> {
    const ASK: &str = "SELECT current_setting('synchronous_commit') AS value,
                              concat_ws(':', host(inet_server_addr()), current_setting('port')) AS node
                         FROM heads WHERE tenant_id = $1";
    within(postgres, |postgres| {
        diesel::sql_query(ASK).bind::<Integer, _>(tenant).get_result(postgres).optional()
    })
}

/// Asks the nodes, in a transaction that does not wait for one that hangs.
fn within<T>(
    postgres: &mut PgConnection,
    ask: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    let millis = ASK_TIME_MAX.as_millis();
    postgres.batch_execute(&format!("BEGIN; SET LOCAL statement_timeout = {millis}"))?;
    let answer = ask(postgres);
    postgres.batch_execute("ROLLBACK")?;
    answer
}
