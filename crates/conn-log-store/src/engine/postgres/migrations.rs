//! The migrations of PostgreSQL, run statement by statement.
//!
//! Diesel sends a whole file in one message. Citus takes no message with several commands that
//! change its tables, and PostgreSQL's errors would not say which statement failed.

use std::fmt;

use diesel::connection::BoxableConnection;
use diesel::migration::{
    self, Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion,
};
use diesel::pg::Pg;
use diesel::prelude::*;

/// All migrations of PostgreSQL, in order: folder and SQL.
const MIGRATIONS: &[Statements] = &[Statements {
    folder: "0001_first",
    sql: include_str!("../../../../../migrations/postgres/0001_first/up.sql"),
}];

/// The migrations that this program knows.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Migrations;

/// One migration.
#[derive(Clone, Copy)]
struct Statements {
    folder: &'static str,
    sql: &'static str,
}

impl Statements {
    /// The statements of the file. Each ends with a semicolon at the end of a line, and no other
    /// line of the file ends with one.
    ///
    /// A file that breaks this rule fails when it is run, and changes nothing: the server takes no
    /// two commands in one prepared statement, and no quotation without its end.
    fn statements(self) -> impl Iterator<Item = &'static str> {
        self.sql.split_inclusive(";\n").filter(|text| text.lines().any(is_sql))
    }
}

/// Whether a line is neither empty nor only a comment.
fn is_sql(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("--")
}

impl MigrationSource<Pg> for Migrations {
    fn migrations(&self) -> migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(MIGRATIONS.iter().map(|one| Box::new(*one) as Box<dyn Migration<Pg>>).collect())
    }
}

impl Migration<Pg> for Statements {
    fn run(&self, connection: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        let Some(postgres) = connection.downcast_mut::<PgConnection>() else {
            return Err("these migrations are for PostgreSQL only".into());
        };
        for statement in self.statements() {
            diesel::sql_query(statement)
                .execute(postgres)
                .map_err(|error| format!("{}: {error}, in: {}", self.folder, statement.trim()))?;
        }
        Ok(())
    }

    /// Never called: a backup is the way back.
    fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        Err("a migration cannot be reverted".into())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

/// The whole migration is one transaction, as the trait's default says.
impl MigrationMetadata for Statements {}

impl MigrationName for Statements {
    fn version(&self) -> MigrationVersion<'_> {
        self.folder.split('_').next().unwrap_or(self.folder).into()
    }
}

impl fmt::Display for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder)
    }
}

#[cfg(test)]
mod tests {
    use conn_log_test_support::{Backend, TestDatabase};

    use super::*;

    const FIRST: Statements = Statements {
        folder: "0009_test",
        sql: "-- About it; the statements follow:\n\nCREATE TABLE a (id integer,\n    note text);\n\
              COMMENT ON TABLE a IS 'here; and there';\n-- The end;\n",
    };

    #[test]
    fn a_statement_ends_with_a_semicolon_at_the_end_of_a_line() {
        let statements: Vec<&str> = FIRST.statements().map(str::trim).collect();
        assert_eq!(statements.len(), 2);
        assert!(statements[0].ends_with("note text);"), "{}", statements[0]);
        assert_eq!(statements[1], "COMMENT ON TABLE a IS 'here; and there';");
    }

    #[test]
    fn every_folder_is_known_under_its_name() {
        let folders = std::fs::read_dir("../../migrations/postgres").unwrap();
        let mut folders: Vec<String> =
            folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
        folders.sort_unstable();
        let known: Vec<String> = MIGRATIONS.iter().map(ToString::to_string).collect();
        assert_eq!(known, folders);
        for migration in MIGRATIONS {
            let file = format!("../../migrations/postgres/{migration}/up.sql");
            assert_eq!(migration.sql, std::fs::read_to_string(file).unwrap());
        }
    }

    /// No file is split in a wrong place unnoticed.
    #[test]
    fn a_file_that_breaks_the_rule_fails_and_changes_nothing() {
        let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
        let mut postgres = db.postgres();
        for sql in [
            "CREATE TABLE a (id integer); CREATE TABLE b (id integer);\n",
            "CREATE TABLE a (id integer);\nCOMMENT ON TABLE a IS 'here;\nand there';\n",
            "CREATE TABLE a (id integer);\nCREATE FUNCTION one() RETURNS integer LANGUAGE sql AS \
             $$\nSELECT 1;\n$$;\n",
        ] {
            let broken = Statements { folder: "0009_test", sql };
            let failed = postgres.transaction(|postgres| {
                broken.run(postgres).map_err(|error| {
                    assert!(error.to_string().starts_with("0009_test: "), "{error}");
                    diesel::result::Error::RollbackTransaction
                })
            });
            assert!(failed.is_err(), "{sql}");
        }
        postgres
            .transaction(|postgres| {
                // Were one of the tables there, this would fail.
                FIRST.run(postgres).unwrap();
                diesel::sql_query("CREATE TABLE b (id integer)").execute(postgres)
            })
            .unwrap();
    }
}
