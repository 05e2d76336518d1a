//! The usual way to store an event: a row of a plain table with indexes for the two usual queries,
//! in a transaction of its own, on a connection of a pool.

use conn_log_core::{Event, Record, Timestamp};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};

diesel::table! {
    plain (id) {
        id -> BigInt,
        created_at -> BigInt,
        device_id -> Text,
        application_id -> Text,
        connection_type -> Text,
        status -> Text,
        timestamp -> BigInt,
        ip_address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        duration -> Nullable<Double>,
        session_id -> Nullable<Text>,
        metadata -> Text,
    }
}

const COLUMNS: &str = "created_at BIGINT NOT NULL, device_id TEXT NOT NULL,
    application_id TEXT NOT NULL, connection_type TEXT NOT NULL, status TEXT NOT NULL,
    timestamp BIGINT NOT NULL, ip_address TEXT, user_agent TEXT, duration DOUBLE PRECISION,
    session_id TEXT, metadata TEXT NOT NULL";

const INDEXES: &str = "CREATE INDEX plain_device ON plain (device_id, timestamp);
    CREATE INDEX plain_timestamp ON plain (timestamp);";

/// The default of r2d2.
const CONNECTIONS: u32 = 10;

pub(crate) enum PlainTable {
    Sqlite(Pool<ConnectionManager<SqliteConnection>>),
    Postgres(Pool<ConnectionManager<PgConnection>>),
}

/// The settings that guides recommend for SQLite in a server, as durable as the log.
#[derive(Debug)]
struct SetUp;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for SetUp {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute(
                "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
            )
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

impl PlainTable {
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let Some(path) = url.strip_prefix("sqlite://") else {
            PgConnection::establish(url)?.batch_execute(&format!(
                "CREATE TABLE plain (id BIGSERIAL PRIMARY KEY, {COLUMNS}); {INDEXES}"
            ))?;
            let pool = Pool::builder()
                .max_size(CONNECTIONS)
                .test_on_check_out(false)
                .build(ConnectionManager::new(url))?;
            return Ok(PlainTable::Postgres(pool));
        };
        SqliteConnection::establish(path)?.batch_execute(&format!(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE plain (id INTEGER PRIMARY KEY, {COLUMNS}); {INDEXES}"
        ))?;
        let pool = Pool::builder()
            .max_size(CONNECTIONS)
            .test_on_check_out(false)
            .connection_customizer(Box::new(SetUp))
            .build(ConnectionManager::new(path))?;
        Ok(PlainTable::Sqlite(pool))
    }

    /// Inserts an event in one transaction. Blocks the thread.
    pub(crate) fn insert(&self, event: Event, created_at: Timestamp) -> anyhow::Result<Record> {
        let parts = event.fields();
        let row = (
            plain::created_at.eq(created_at.micros()),
            plain::device_id.eq(&parts.device_id),
            plain::application_id.eq(&parts.application_id),
            plain::connection_type.eq(&parts.connection_type),
            plain::status.eq(&parts.status),
            plain::timestamp.eq(parts.timestamp.micros()),
            plain::ip_address.eq(parts.ip_address.map(|address| address.to_string())),
            plain::user_agent.eq(&parts.user_agent),
            plain::duration.eq(parts.duration),
            plain::session_id.eq(&parts.session_id),
            plain::metadata.eq(&parts.metadata),
        );
        let insert = diesel::insert_into(plain::table).values(row).returning(plain::id);
        let id = match self {
            PlainTable::Sqlite(pool) => insert.get_result(&mut *pool.get()?)?,
            PlainTable::Postgres(pool) => insert.get_result(&mut *pool.get()?)?,
        };
        Ok(Record { id, created_at, event })
    }
}
