//! Whether the server answers a COMMIT only after its fsync.
//!
//! A server that is set to answer earlier, by `fsync = off`, is its operator's choice; the listener
//! only tells of it. On Citus the choice must be the same on all nodes: a worker that is less safe than
//! the coordinator is refused, as nobody would notice it otherwise.
//!
//! What a session sets for itself does not reach the nodes. `conn-log migrate --citus` sets
//! `synchronous_commit` for the database, on every node, whatever a node's own files say.
//!
//! Settings change while a server runs. [`check_in_txn`] asks the node itself, in the session that
//! is about to commit.

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

/// A node that would answer a COMMIT before its fsync.
#[derive(Debug, thiserror::Error)]
#[error("{node} has {setting} = off: it would answer before an event is on its disk")]
struct NotDurable {
    /// Its address and port; only the port if it is reached by a socket file.
    node: String,
    setting: &'static str,
}

#[derive(QueryableByName)]
struct Commits {
    #[diesel(sql_type = Text)]
    node: String,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    #[diesel(sql_type = Text)]
    fsync: String,
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
    if !has_fsync(postgres).map_err(StoreError::from)? {
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

/// Fails if the node that has a tenant's rows would answer the COMMIT of this transaction before its
/// fsync. With `fsync = off` on the server that this session is connected to, it does not.
///
/// # Errors
/// [`StoreError::Unavailable`], which says the node and the setting.
pub(in crate::engine) fn check_in_txn(
    postgres: &mut PgConnection,
    tenant: i32,
) -> Result<(), StoreError> {
    const ASK: &str =
        "SELECT concat_ws(':', host(inet_server_addr()), current_setting('port')) AS node,
                              current_setting('synchronous_commit') AS synchronous_commit,
                              current_setting('fsync') AS fsync
                         FROM heads WHERE tenant_id = $1";
    let found: Option<Commits> =
        diesel::sql_query(ASK).bind::<Integer, _>(tenant).get_result(postgres).optional()?;
    let Some(Commits { node, synchronous_commit, fsync }) = found else { return Ok(()) };
    if synchronous_commit == "off" {
        return Err(StoreError::unavailable(NotDurable { node, setting: "synchronous_commit" }));
    }
    if fsync != "on" && has_fsync(postgres)? {
        return Err(StoreError::unavailable(NotDurable { node, setting: "fsync" }));
    }
    Ok(())
}

/// Whether the server of this session syncs its files.
pub(super) fn has_fsync(postgres: &mut PgConnection) -> QueryResult<bool> {
    let ask = "SELECT current_setting('fsync') AS value";
    Ok(diesel::sql_query(ask).get_result::<Setting>(postgres)?.value == "on")
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
