//! Where each table of the schema belongs on distributed PostgreSQL (Citus).
//!
//! [`TABLES`] is the schema's list of tables. It says of each table whether its rows are spread over
//! the nodes by tenant, copied to every node, or kept on the coordinator. A test holds every table
//! of a migrated database against it, so that a new table cannot be forgotten.
//!
//! It knows names of tables, and no SQL: the engine distributes, and the tests read.

/// The nodes that have a table's rows, on distributed PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Each tenant's rows are on one node, together with its rows in all other such tables.
    ///
    /// `tenant_id` is the first column of the table's primary key, the table has no foreign key,
    /// and each unique index has `tenant_id`. A statement on the table has the tenant bound, so
    /// that it runs on one node; a statement that does not asks every node.
    Distributed,
    /// Every node has all rows. A write changes every node: the table is small and rarely written.
    Reference,
    /// Only the coordinator has the table. No statement joins it with a table of another kind.
    Coordinator,
}

/// A table and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlacement {
    /// The table's name. The partitions of a table have its placement and are not listed.
    pub table: &'static str,
    /// The nodes that have its rows.
    pub placement: Placement,
}

/// The table that all other distributed tables lie beside: it is distributed first.
pub const FIRST_DISTRIBUTED: &str = "heads";

/// Every table of the schema on PostgreSQL, in the order in which they can be distributed:
/// [`FIRST_DISTRIBUTED`] comes before the other distributed tables, and a reference table after
/// those that it refers to.
pub const TABLES: &[TablePlacement] = &[
    // Written by migrations only, and read alone.
    coordinator("schema_version"),
    coordinator("__diesel_schema_migrations"),
    // Read by every node's statements on behalf of a tenant, and written by administrators only.
    reference("tenants"),
    // A token is found by its hash, before its tenant is known.
    reference("tokens"),
    // The log. The head comes first: an append locks it, and the rest of the append stays on its
    // node.
    distributed(FIRST_DISTRIBUTED),
    distributed("events"),
    distributed("idempotency_keys"),
    distributed("rejects"),
    distributed("reject_heads"),
    // Rules, alerts, and telling webhooks of them.
    distributed("alert_rules"),
    distributed("alert_heads"),
    distributed("alerts"),
    distributed("alert_changes"),
    distributed("webhooks"),
    distributed("deliveries"),
    distributed("delivery_attempts"),
    distributed("silences"),
    // Derived data: its transactions read the log and write these tables, on one node.
    distributed("positions"),
    distributed("durable_positions"),
    distributed("index_runs"),
    distributed("index_blocks"),
    distributed("dictionary"),
    distributed("devices"),
    distributed("applications"),
    distributed("application_devices"),
    distributed("sessions"),
    distributed("rollups"),
    distributed("application_hours"),
];

/// The tables of one kind, in the order in which they can be distributed.
pub fn tables_placed(placement: Placement) -> impl Iterator<Item = &'static str> {
    TABLES.iter().filter(move |table| table.placement == placement).map(|table| table.table)
}

const fn distributed(table: &'static str) -> TablePlacement {
    TablePlacement { table, placement: Placement::Distributed }
}

const fn reference(table: &'static str) -> TablePlacement {
    TablePlacement { table, placement: Placement::Reference }
}

const fn coordinator(table: &'static str) -> TablePlacement {
    TablePlacement { table, placement: Placement::Coordinator }
}
