//! Brings a database's tables up to what this program knows, once, however many start at once.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::connection::AnyConnection;
use crate::error::{OpenError, StoreError};

const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const SQLITE_DERIVED: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite-derived");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Any number, the same for every conn-log: whoever holds PostgreSQL's advisory lock of it migrates.
const ADVISORY_LOCK: i64 = 0x636f_6e6e_6c6f_6701;

/// Applies what is missing and gives its names. The other processes wait meanwhile.
pub(crate) fn run(connection: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => apply_at_once(sqlite, || SQLITE),
        AnyConnection::Postgres(postgres) => {
            // A lock of the session: a migration may be one that cannot run in a transaction.
            lock(postgres, "pg_advisory_lock")?;
            let applied = apply::<Pg>(postgres, || POSTGRES);
            lock(postgres, "pg_advisory_unlock")?;
            applied
        }
    }
}

/// The same for the file beside a SQLite log.
pub(crate) fn run_derived(connection: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => apply_at_once(sqlite, || SQLITE_DERIVED),
        AnyConnection::Postgres(_) => Ok(Vec::new()),
    }
}

/// Two that set up a new file at once wait for each other here.
fn apply_at_once(
    sqlite: &mut SqliteConnection,
    known: impl Fn() -> EmbeddedMigrations,
) -> Result<Vec<String>, OpenError> {
    if is_applied(sqlite, &known()) {
        return Ok(Vec::new());
    }
    sqlite
        .immediate_transaction(|sqlite| {
            Ok::<_, diesel::result::Error>(apply::<Sqlite>(sqlite, known))
        })
        .map_err(|error| OpenError::Migration(error.to_string()))?
}

/// Whether exactly these are there, by a read that waits for no lock.
fn is_applied(sqlite: &mut SqliteConnection, known: &EmbeddedMigrations) -> bool {
    let applied: QueryResult<Vec<String>> = __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .order(__diesel_schema_migrations::version)
        .load(sqlite);
    // A new file has no such table.
    let (Ok(applied), Ok(mut known)) = (applied, versions::<Sqlite>(known)) else {
        return false;
    };
    known.sort_unstable();
    applied == known
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

/// Of the file beside a SQLite log.
mod derived {
    diesel::table! {
        derived.__diesel_schema_migrations (version) {
            version -> Text,
        }
    }
}

/// Fails unless the database is exactly as far as this program. Only reads, as diesel's own check
/// does not.
pub(crate) fn check(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let applied = __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(connection)?;
    match connection {
        AnyConnection::Sqlite(sqlite) => {
            use derived::__diesel_schema_migrations::{table, version};
            same(applied, versions::<Sqlite>(&SQLITE))?;
            same(table.select(version).load(sqlite)?, versions::<Sqlite>(&SQLITE_DERIVED))
        }
        AnyConnection::Postgres(_) => same(applied, versions::<Pg>(&POSTGRES)),
    }
}

fn same(
    mut applied: Vec<String>,
    known: diesel::migration::Result<Vec<String>>,
) -> Result<(), StoreError> {
    let mut known = known.map_err(|error| StoreError::Internal(error.to_string()))?;
    applied.sort_unstable();
    known.sort_unstable();
    if applied == known {
        Ok(())
    } else {
        Err(StoreError::Unavailable("its migrations are not those of this program".to_owned()))
    }
}

fn lock(postgres: &mut PgConnection, function: &str) -> Result<(), OpenError> {
    postgres
        .batch_execute(&format!("SELECT {function}({ADVISORY_LOCK})"))
        .map_err(|error| OpenError::Migration(error.to_string()))
}

fn apply<DB: diesel::backend::Backend>(
    connection: &mut impl MigrationHarness<DB>,
    known: impl Fn() -> EmbeddedMigrations,
) -> Result<Vec<String>, OpenError> {
    refuse_newer(connection, &known)?;
    let applied = connection
        .run_pending_migrations(known())
        .map_err(|error| OpenError::Migration(error.to_string()))?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

fn refuse_newer<DB: diesel::backend::Backend>(
    connection: &mut impl MigrationHarness<DB>,
    known: impl Fn() -> EmbeddedMigrations,
) -> Result<(), OpenError> {
    let failed =
        |error: Box<dyn std::error::Error + Send + Sync>| OpenError::Migration(error.to_string());
    let names = versions::<DB>(&known()).map_err(failed)?;
    let unknown: Vec<String> = connection
        .applied_migrations()
        .map_err(failed)?
        .iter()
        .map(ToString::to_string)
        .filter(|version| !names.contains(version))
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(OpenError::NewerDatabase(unknown.join(", "))) }
}

fn versions<DB: diesel::backend::Backend>(
    known: &EmbeddedMigrations,
) -> diesel::migration::Result<Vec<String>> {
    let migrations: Vec<Box<dyn Migration<DB>>> = known.migrations()?;
    Ok(migrations.iter().map(|migration| migration.name().version().to_string()).collect())
}
