//! Migrates a database to the schema of this program, once, even if several programs start at the
//! same time.
//!
//! One row, `schema_version`, holds the version of the schema, and the oldest version of a program
//! that can work on it. So servers can be replaced one by one: an older server continues on a newer
//! schema as long as the newer migrations allow it.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::AnyConnection;
use super::postgres::migrations::Migrations;
use crate::error::{OpenError, StoreError};

const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const SQLITE_DERIVED: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite-derived");

/// The advisory lock for migrations: an arbitrary number, the same for every conn-log.
const ADVISORY_LOCK: i64 = 0x636f_6e6e_6c6f_6701;

diesel::table! {
    schema_version (version) {
        version -> Integer,
        compatible_from -> Integer,
    }
}

/// Migrations of the file beside a SQLite log.
mod derived {
    diesel::table! {
        derived.schema_version (version) {
            version -> Integer,
            compatible_from -> Integer,
        }
    }
}

/// The version of a database's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
struct SchemaVersion {
    version: i32,
    compatible_from: i32,
}

impl SchemaVersion {
    /// Whether a program that knows the migrations up to `known` can work on it.
    fn takes(self, known: i32) -> bool {
        self.version == known || (self.version > known && self.compatible_from <= known)
    }
}

/// Applies the missing migrations and returns their names. Other processes wait meanwhile.
pub(super) fn run(connection: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => run_on_sqlite(sqlite, || SQLITE),
        AnyConnection::Postgres(postgres) => {
            // The lock belongs to the session: some migrations cannot run in a transaction.
            lock(postgres, "pg_advisory_lock")?;
            let applied = version_on_postgres(postgres)
                .map_err(failed)
                .and_then(|version| apply::<Pg, _>(postgres, version, || Migrations));
            lock(postgres, "pg_advisory_unlock")?;
            applied
        }
    }
}

/// The same for the file beside a SQLite log.
pub(super) fn run_derived(connection: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => run_on_sqlite(sqlite, || SQLITE_DERIVED),
        AnyConnection::Postgres(_) => Ok(Vec::new()),
    }
}

/// Fails if this program cannot work on the database as it is. Only reads.
pub(super) fn check(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let version: SchemaVersion = schema_version::table.first(connection)?;
    match connection {
        AnyConnection::Sqlite(sqlite) => {
            takes(version, latest::<Sqlite>(&SQLITE))?;
            let beside: SchemaVersion = derived::schema_version::table.first(sqlite)?;
            takes(beside, latest::<Sqlite>(&SQLITE_DERIVED))
        }
        AnyConnection::Postgres(_) => takes(version, latest::<Pg>(&Migrations)),
    }
}

fn takes(version: SchemaVersion, known: diesel::migration::Result<i32>) -> Result<(), StoreError> {
    if version.takes(known.map_err(StoreError::internal)?) {
        Ok(())
    } else {
        Err(StoreError::unavailable("its schema is not one that this program can work on"))
    }
}

/// Migrates a SQLite file. Two programs that set up a new file at once wait for each other here.
fn run_on_sqlite(
    sqlite: &mut SqliteConnection,
    known: impl Fn() -> EmbeddedMigrations,
) -> Result<Vec<String>, OpenError> {
    // A read does not wait for a lock.
    let version = version_on_sqlite(sqlite).map_err(failed)?;
    let latest = latest::<Sqlite>(&known()).map_err(OpenError::Migration)?;
    if version.is_some_and(|version| version.takes(latest)) {
        return Ok(Vec::new());
    }
    sqlite
        .immediate_transaction(|sqlite| {
            let version = version_on_sqlite(sqlite)?;
            Ok::<_, diesel::result::Error>(apply::<Sqlite, _>(sqlite, version, known))
        })
        .map_err(failed)?
}

/// Applies the missing migrations. A newer database that this program can work on stays unchanged.
fn apply<DB: diesel::backend::Backend, S: MigrationSource<DB>>(
    connection: &mut impl MigrationHarness<DB>,
    version: Option<SchemaVersion>,
    known: impl Fn() -> S,
) -> Result<Vec<String>, OpenError> {
    let latest = latest::<DB>(&known()).map_err(OpenError::Migration)?;
    match version {
        Some(version) if version.takes(latest) => return Ok(Vec::new()),
        Some(SchemaVersion { version, compatible_from }) if version > latest => {
            return Err(OpenError::NewerDatabase { version, compatible_from });
        }
        None if !connection.applied_migrations().map_err(OpenError::Migration)?.is_empty() => {
            return Err(OpenError::BeforeFirstRelease);
        }
        Some(_) | None => {}
    }
    let applied = connection.run_pending_migrations(known()).map_err(OpenError::Migration)?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    exists: bool,
}

/// The schema's version. `None` for a new file, and for one from before the first release.
fn version_on_sqlite(sqlite: &mut SqliteConnection) -> QueryResult<Option<SchemaVersion>> {
    let query =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'schema_version') AS \"exists\"";
    let Exists { exists } = diesel::sql_query(query).get_result(sqlite)?;
    if exists { schema_version::table.first(sqlite).optional() } else { Ok(None) }
}

/// The same for a database on a server.
fn version_on_postgres(postgres: &mut PgConnection) -> QueryResult<Option<SchemaVersion>> {
    let query = "SELECT to_regclass('schema_version') IS NOT NULL AS exists";
    let Exists { exists } = diesel::sql_query(query).get_result(postgres)?;
    if exists { schema_version::table.first(postgres).optional() } else { Ok(None) }
}

fn lock(postgres: &mut PgConnection, function: &str) -> Result<(), OpenError> {
    postgres.batch_execute(&format!("SELECT {function}({ADVISORY_LOCK})")).map_err(failed)
}

fn failed(error: diesel::result::Error) -> OpenError {
    OpenError::Migration(Box::new(error))
}

/// The version of the last migration: the number at the start of its folder's name.
fn latest<DB: diesel::backend::Backend>(
    known: &impl MigrationSource<DB>,
) -> diesel::migration::Result<i32> {
    let migrations: Vec<Box<dyn Migration<DB>>> = known.migrations()?;
    let mut latest = 0;
    for migration in migrations {
        latest = latest.max(migration.name().version().to_string().parse()?);
    }
    Ok(latest)
}
