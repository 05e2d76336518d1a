//! Citus: PostgreSQL that spreads the tables over nodes by tenant.
//!
//! [`distribute`] puts each table in its place ([`placement`](crate::placement)), and [`check`]
//! refuses a log of which one part is distributed and another is not. Everything here asks the
//! coordinator only.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Text};

use crate::engine::lanes::Lanes;
use crate::error::{OpenError, StoreError};
use crate::placement::{FIRST_DISTRIBUTED, Placement, TABLES};
use crate::tenant_id::TenantId;

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    answer: bool,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Integer)]
    number: i32,
}

#[derive(QueryableByName)]
struct TenantNode {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = Integer)]
    node: i32,
}

fn ask(postgres: &mut PgConnection, question: &str) -> QueryResult<bool> {
    let sql = format!("SELECT {question} AS answer");
    Ok(diesel::sql_query(sql).get_result::<Answer>(postgres)?.answer)
}

/// Whether the database has the extension.
fn is_there(postgres: &mut PgConnection) -> QueryResult<bool> {
    ask(postgres, "EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')")
}

/// The place of a table in Citus's catalog.
fn placed(postgres: &mut PgConnection, table: &str) -> QueryResult<Placement> {
    const METHOD: &str = "
        SELECT CASE WHEN partmethod = 'h' THEN 'distributed'
                    WHEN partmethod = 'n' AND repmodel = 't' THEN 'reference'
                    ELSE 'local' END AS name
          FROM pg_catalog.pg_dist_partition
         WHERE logicalrelid = to_regclass($1)";
    let found: Option<Name> =
        diesel::sql_query(METHOD).bind::<Text, _>(table).get_result(postgres).optional()?;
    Ok(match found.as_ref().map(|found| found.name.as_str()) {
        Some("distributed") => Placement::Distributed,
        Some("reference") => Placement::Reference,
        _ => Placement::Coordinator,
    })
}

/// Whether Citus distributes the log.
fn is_distributed(postgres: &mut PgConnection) -> QueryResult<bool> {
    Ok(is_there(postgres)? && placed(postgres, FIRST_DISTRIBUTED)? == Placement::Distributed)
}

/// Fails if Citus distributes the log, and a table is not where it belongs.
pub(in crate::engine) fn check(postgres: &mut PgConnection) -> Result<(), OpenError> {
    if !is_distributed(postgres).map_err(StoreError::from)? {
        return Ok(());
    }
    let mut elsewhere = Vec::new();
    for table in TABLES {
        if placed(postgres, table.table).map_err(StoreError::from)? != table.placement {
            elsewhere.push(table.table);
        }
    }
    if elsewhere.is_empty() {
        return Ok(());
    }
    Err(OpenError::NotDistributed { tables: elsewhere.join(", ") })
}

/// Puts each table of a migrated log in its place, and removes the rows that the coordinator keeps
/// hidden of a table that it distributed. Returns what was done, one sentence each.
pub(in crate::engine) fn distribute(postgres: &mut PgConnection) -> Result<Vec<String>, OpenError> {
    can_distribute(postgres)?;
    let mut done = postgres.transaction(place_in_txn).map_err(StoreError::from)?;
    done.extend(make_durable(postgres).map_err(StoreError::from)?);
    for table in hidden_copies(postgres).map_err(StoreError::from)? {
        let sql = format!("SELECT truncate_local_data_after_distributing_table('{table}')");
        postgres.batch_execute(&sql).map_err(StoreError::from)?;
        done.push(format!("emptied the coordinator's hidden copy of {table}"));
    }
    Ok(done)
}

/// Fails if the database is not ready for it, and says what to do.
fn can_distribute(postgres: &mut PgConnection) -> Result<(), OpenError> {
    if !is_there(postgres).map_err(StoreError::from)? {
        return Err(OpenError::Citus(
            "this database has no extension citus: a superuser makes it here and on each worker, by \
             CREATE EXTENSION citus",
        ));
    }
    let mut ask = |question| ask(postgres, question).map_err(StoreError::from);
    if !ask("EXISTS (SELECT FROM pg_catalog.pg_dist_node WHERE groupid = 0)")? {
        return Err(OpenError::Citus(
            "the workers do not know this coordinator, or this is a worker: on the coordinator, a \
             superuser calls citus_set_coordinator_host('its host', its port)",
        ));
    }
    if ask("(SELECT groupid FROM pg_catalog.pg_dist_local_group) <> 0")? {
        return Err(OpenError::Citus("this is a worker: give the coordinator's URL"));
    }
    if !ask("EXISTS (SELECT FROM pg_catalog.pg_dist_node WHERE shouldhaveshards)")? {
        return Err(OpenError::Citus(
            "no node may have rows: a superuser adds workers by citus_add_node('host', port)",
        ));
    }
    Ok(())
}

/// Puts the tables in their place: all of them or none.
fn place_in_txn(postgres: &mut PgConnection) -> QueryResult<Vec<String>> {
    let mut done = Vec::new();
    // A reference table and tables that refer to it take one connection to each node.
    postgres.batch_execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")?;
    for table in TABLES {
        let (name, wanted) = (table.table, table.placement);
        if placed(postgres, name)? == wanted {
            continue;
        }
        let (sql, sentence) = match wanted {
            Placement::Coordinator => {
                (format!("SELECT undistribute_table('{name}')"), format!("{name} is local again"))
            }
            Placement::Reference => (
                format!("SELECT create_reference_table('{name}')"),
                format!("{name} is on every node"),
            ),
            Placement::Distributed => {
                let beside = if name == FIRST_DISTRIBUTED { "none" } else { FIRST_DISTRIBUTED };
                (
                    format!(
                        "SELECT create_distributed_table('{name}', 'tenant_id', \
                         colocate_with => '{beside}')"
                    ),
                    format!("{name} is distributed by tenant"),
                )
            }
        };
        postgres.batch_execute(&sql)?;
        done.push(sentence);
    }
    Ok(done)
}

/// Sets on every node that a commit in this database waits for the disk. Returns what was done.
fn make_durable(postgres: &mut PgConnection) -> QueryResult<Option<String>> {
    let is_set = "EXISTS (SELECT FROM pg_catalog.pg_db_role_setting
                            JOIN pg_catalog.pg_database ON pg_database.oid = setdatabase
                           WHERE datname = current_database() AND setrole = 0
                             AND 'synchronous_commit=on' = ANY (setconfig))";
    if ask(postgres, is_set)? {
        return Ok(None);
    }
    let name = "SELECT quote_ident(current_database()) AS name";
    let Name { name } = diesel::sql_query(name).get_result(postgres)?;
    // Citus passes it on to all nodes.
    postgres.batch_execute(&format!("ALTER DATABASE {name} SET synchronous_commit = on"))?;
    Ok(Some("commits wait for the disk on every node (synchronous_commit = on)".to_owned()))
}

/// The tables, and partitions, of which the coordinator has rows beside those on the nodes.
fn hidden_copies(postgres: &mut PgConnection) -> QueryResult<Vec<String>> {
    const HIDDEN: &str = "
        SELECT relation.oid::regclass::text AS name
          FROM pg_catalog.pg_dist_partition
          JOIN pg_catalog.pg_class AS relation ON relation.oid = logicalrelid
         WHERE relation.relkind = 'r' AND pg_relation_size(relation.oid) > 0
         ORDER BY 1";
    let found: Vec<Name> = diesel::sql_query(HIDDEN).load(postgres)?;
    Ok(found.into_iter().map(|table| table.name).collect())
}

/// The lanes of a database: one for each node that may have rows, if Citus distributes the log.
pub(in crate::engine) fn lanes(postgres: &mut PgConnection) -> QueryResult<Lanes> {
    const NODES: &str = "SELECT DISTINCT groupid AS number FROM pg_catalog.pg_dist_node
                          WHERE shouldhaveshards AND noderole = 'primary'";
    if !is_distributed(postgres)? {
        return Ok(Lanes::default());
    }
    let nodes: Vec<Number> = diesel::sql_query(NODES).load(postgres)?;
    let lanes = Lanes::of_nodes(nodes.into_iter().map(|node| node.number).collect());
    note_nodes(postgres, &lanes)?;
    Ok(lanes)
}

/// Notes on which node each tenant's rows are.
pub(super) fn note_nodes(postgres: &mut PgConnection, lanes: &Lanes) -> QueryResult<()> {
    const NODES: &str = "
        SELECT tenant, groupid AS node
          FROM unnest($1) AS of_tenant (tenant)
          JOIN pg_catalog.pg_dist_placement
            ON shardid = get_shard_id_for_distribution_column('heads', tenant)
         WHERE shardstate = 1";
    if !lanes.is_distributed() {
        return Ok(());
    }
    let tenants: Vec<Number> =
        diesel::sql_query("SELECT id AS number FROM tenants").load(postgres)?;
    let tenants: Vec<i32> = tenants.into_iter().map(|tenant| tenant.number).collect();
    let nodes: Vec<TenantNode> =
        diesel::sql_query(NODES).bind::<Array<Integer>, _>(tenants).load(postgres)?;
    lanes.note(nodes.into_iter().map(|row| (TenantId(row.tenant), row.node)));
    Ok(())
}
