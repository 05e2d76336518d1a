//! Holds the store's statements against the rules that distributed PostgreSQL (Citus) needs.
//!
//! Every test that opens its database by [`TestDatabase::options`](crate::TestDatabase::options)
//! ends with this check, on plain PostgreSQL.
//!
//! | rule | reason |
//! | --- | --- |
//! | one command in a message | Citus refuses several commands that change its tables. Settings and `BEGIN` may share a message: a read then needs one round trip and not three |
//! | the tenant bound on each distributed table | without it the statement asks every node, and fails or waits while one of them is away |
//! | no `SELECT … FOR UPDATE` but that of the lease | while Citus moves a tenant to another node, it may lock the row on the former one. An UPDATE locks where the writes go |
//! | plans forced in one place only | a generic plan leaves the tenant unbound, and Citus then finds no node for a statement of some size |
//!
//! The rules read the text of a statement, not its plan: `tenant_id = $1` within an `OR` counts as
//! bound. What Citus makes of it is for the tests on Citus.

use conn_log_store::{Placement, tables_placed};

use crate::recorder::Statement;

/// A statement on a distributed table that asks every node, and the reason why it may.
pub struct Exception {
    /// The statement from its `FROM` on, without quotation marks.
    pub from: &'static str,
    /// Why no tenant can be bound.
    pub reason: &'static str,
}

/// All of them. On Citus itself each is asked for the tenants of one node at a time
/// (`engine::each_lane`). Each asks for one small row of each tenant at most, or is part of a task
/// that runs once a minute or less often.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        from: "FROM heads",
        reason: "the followers look for logs with new events, whoever stored them",
    },
    Exception {
        from: "FROM positions",
        reason: "the followers look for logs that they are behind, and /metrics tells by how much",
    },
    Exception {
        from: "FROM heads WHERE (heads.size > $1)",
        reason: "a store that opens holds its clock against the last event of all logs",
    },
    Exception {
        from: "FROM alert_heads ORDER BY alert_heads.tenant_id",
        reason: "the evaluation of rules looks for logs that have rules",
    },
    Exception {
        from: "FROM webhooks WHERE (webhooks.disabled_at IS NULL)",
        reason: "the notifier looks for webhooks of all tenants",
    },
    Exception {
        from: "FROM webhooks WHERE ((webhooks.disabled_at IS NOT NULL) AND (webhooks.disabled_reason = ANY($1)))",
        reason: "/metrics counts the webhooks that were disabled",
    },
    Exception {
        from: "FROM deliveries WHERE (deliveries.waiting_since IS NOT NULL) ORDER BY deliveries.waiting_since LIMIT $1",
        reason: "/metrics tells for how long the oldest delivery waits",
    },
    Exception {
        from: "FROM idempotency_keys WHERE ((idempotency_keys.kind = $1) AND (idempotency_keys.created_at <= $2)) LIMIT $3",
        reason: "a task looks for keys to forget; it forgets them tenant by tenant",
    },
    Exception {
        from: "FROM reject_heads WHERE (reject_heads.kept > $1)",
        reason: "a task looks for tenants whose rejects may be old",
    },
];

/// The one message that forces plans: of reads that find every row by a key.
const FORCES_PLANS: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                            SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off";

/// The tables whose rows are leases: `engine::position` keeps the tenant on its node before.
const LEASES: [&str; 2] = ["FROM positions", "FROM durable_positions"];

/// What breaks a rule, each with the rule and the statement.
pub fn faults(statements: &[Statement]) -> Vec<String> {
    statements.iter().filter_map(fault).collect()
}

/// The exception that a statement is, if it is one.
pub fn exception(sql: &str) -> Option<&'static Exception> {
    let sql = plain(sql);
    let from = sql.find("FROM ").map(|place| &sql[place..])?;
    EXCEPTIONS.iter().find(|exception| exception.from == from)
}

fn fault(Statement { sql, commands }: &Statement) -> Option<String> {
    let sql = plain(sql);
    let rule = if *commands > 1 && !sql.split(';').all(is_setting) {
        format!("{commands} commands in one message")
    } else if sql.contains("plan_cache_mode") && sql != FORCES_PLANS {
        "plans forced in another place than engine::snapshot".to_owned()
    } else if sql.contains("FOR UPDATE") && !LEASES.iter().any(|lease| sql.contains(lease)) {
        "a row locked by SELECT, and not by UPDATE (log::heads::lock_in_txn)".to_owned()
    } else {
        let table = unbound_table(&sql)?;
        if exception(&sql).is_some() {
            return None;
        }
        format!("no tenant bound on {table}, which is distributed (store::placement)")
    };
    Some(format!("{rule}: {sql}"))
}

/// Whether a command only makes settings, or begins a transaction.
fn is_setting(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    ["", "SET", "BEGIN"].contains(&first)
}

/// A statement in one line and without the quotation marks of names.
fn plain(sql: &str) -> String {
    sql.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A distributed table that a query or a change names without its tenant.
fn unbound_table(sql: &str) -> Option<&str> {
    let words: Vec<&str> = sql
        .split(|letter: char| letter.is_whitespace() || "(),;".contains(letter))
        .filter(|word| !word.is_empty())
        .collect();
    if !["SELECT", "INSERT", "UPDATE", "DELETE", "COPY", "WITH"].contains(words.first()?) {
        return None;
    }
    let tables: Vec<(usize, &str)> = words
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| ["FROM", "JOIN", "INTO", "UPDATE", "COPY", "USING"].contains(&pair[0]))
        .map(|(place, pair)| (place + 1, pair[1]))
        .filter(|(_, word)| tables_placed(Placement::Distributed).any(|table| table == *word))
        .collect();
    let (place, table) = *tables.first()?;
    let is_bound = if ["INSERT", "COPY"].contains(&words[0]) {
        // In the list of columns, which comes first.
        let columns = words[place + 1..].iter();
        let mut columns = columns.take_while(|word| !["VALUES", "SELECT", "FROM"].contains(word));
        columns.any(|column| *column == "tenant_id")
    } else {
        // A tenant that equals a bound one is bound, too: of an outer query, for example.
        let tenants = words.windows(3).filter(|three| is_tenant(three[0]) && three[1] == "=");
        let values: Vec<&str> = tenants.map(|three| three[2]).collect();
        let is_parameter = |value: &&str| value.starts_with('$');
        let bounds = values.iter().filter(|value| is_parameter(value) || is_tenant(value));
        bounds.count() >= tables.len() && values.iter().any(is_parameter)
    };
    (!is_bound).then_some(table)
}

fn is_tenant(word: &str) -> bool {
    word.rsplit('.').next() == Some("tenant_id")
}
