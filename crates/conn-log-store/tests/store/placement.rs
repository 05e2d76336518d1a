//! Holds the tables of a migrated database against the list that says where each belongs on
//! distributed PostgreSQL.

use std::collections::BTreeSet;

use conn_log_store::{FIRST_DISTRIBUTED, Placement, Store, TABLES, tables_placed};
use conn_log_test_support::*;
use diesel::prelude::*;
use diesel::sql_types::Text;

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

fn names(db: &TestDatabase, sql: &str) -> BTreeSet<String> {
    let rows: Vec<Name> = diesel::sql_query(sql).load(&mut db.postgres()).unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

fn migrated() -> Option<TestDatabase> {
    let db = TestDatabase::new(Backend::Postgres)?;
    Store::migrate(&db.database_url()).unwrap();
    Some(db)
}

fn distributed() -> BTreeSet<String> {
    tables_placed(Placement::Distributed).map(str::to_owned).collect()
}

#[test]
fn each_table_has_a_place_and_each_place_a_table() {
    let Some(db) = migrated() else { return };
    let there = names(
        &db,
        "SELECT relname::text AS name FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND NOT relispartition",
    );
    let placed: BTreeSet<String> = TABLES.iter().map(|table| table.table.to_owned()).collect();
    assert_eq!(placed, there, "add a new table to store::placement");
    assert_eq!(placed.len(), TABLES.len(), "a table is listed twice");
}

/// Citus refuses a primary key or a unique index without the column that it distributes by.
#[test]
fn distributed_tables_are_led_by_the_tenant_and_unique_within_it() {
    let Some(db) = migrated() else { return };
    let led = names(
        &db,
        "SELECT indrelid::regclass::text AS name FROM pg_index
           JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
          WHERE indisprimary AND attname = 'tenant_id'",
    );
    let not_led: Vec<_> = distributed().difference(&led).cloned().collect();
    assert_eq!(not_led, [""; 0], "their primary keys do not begin with tenant_id");
    let loose = names(
        &db,
        "SELECT indrelid::regclass::text AS name FROM pg_index
          WHERE indisunique AND NOT EXISTS
                (SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'tenant_id'
                    AND attnum = ANY (indkey))",
    );
    let loose: Vec<_> = loose.intersection(&distributed()).cloned().collect();
    assert_eq!(loose, [""; 0], "they have a unique index without tenant_id");
}

/// All of them lie beside one table, which Citus does only for columns of one type.
#[test]
fn the_tenant_has_one_type_in_all_distributed_tables() {
    let Some(db) = migrated() else { return };
    let integers = names(
        &db,
        "SELECT attrelid::regclass::text AS name FROM pg_attribute
          WHERE attname = 'tenant_id' AND atttypid = 'integer'::regtype",
    );
    let others: Vec<_> = distributed().difference(&integers).cloned().collect();
    assert_eq!(others, [""; 0]);
}

/// Citus keeps a foreign key between distributed tables only under conditions, and none from a
/// reference table to a distributed one.
#[test]
fn no_table_refers_to_a_distributed_one_and_no_distributed_one_to_any() {
    let Some(db) = migrated() else { return };
    let ends = |column: &str| {
        let sql = format!(
            "SELECT {column}::regclass::text AS name FROM pg_constraint WHERE contype = 'f'"
        );
        names(&db, &sql)
    };
    for column in ["conrelid", "confrelid"] {
        let found: Vec<_> = ends(column).intersection(&distributed()).cloned().collect();
        assert_eq!(found, [""; 0], "{column}");
    }
}

/// A table can be distributed once those that it lies beside or refers to are.
#[test]
fn the_list_is_in_an_order_in_which_tables_can_be_distributed() {
    let Some(db) = migrated() else { return };
    assert_eq!(tables_placed(Placement::Distributed).next(), Some(FIRST_DISTRIBUTED));
    let place = |table: &str| TABLES.iter().position(|listed| listed.table == table);
    let references = names(
        &db,
        "SELECT conrelid::regclass || ' ' || confrelid::regclass AS name FROM pg_constraint
          WHERE contype = 'f'",
    );
    assert!(!references.is_empty());
    for reference in references {
        let (from, to) = reference.split_once(' ').unwrap();
        assert!(place(to) < place(from), "{from} refers to {to}, which comes after it");
    }
}
