//! A fresh database for each test, and events to put into it.

use std::net::IpAddr;
use std::path::PathBuf;

use conn_log_core::{Event, EventFields, EventQuery, Order, Record, Timestamp};
use conn_log_store::{
    AppendError, Appended, Claim, DatabaseUrl, Outcome, Store, StoreOptions, Submission, TenantId,
};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// Runs the body as two tests, `…::sqlite` and `…::postgres`.
macro_rules! on_both_databases {
    ($(async fn $name:ident($db:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every body uses all of its file's names")]
            use super::*;

            async fn run(backend: crate::support::Backend) {
                if let Some($db) = crate::support::TestDatabase::new(backend) {
                    $body
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                run(crate::support::Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                run(crate::support::Backend::Postgres).await;
            }
        }
    )*};
}
pub(crate) use on_both_databases;

/// An empty database, gone with the test.
pub(crate) struct TestDatabase {
    pub(crate) backend: Backend,
    pub(crate) url: DatabaseUrl,
    folder: Option<tempfile::TempDir>,
    name: String,
}

impl TestDatabase {
    /// `None` where PostgreSQL is to be skipped.
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("data").join("log.db");
                Some(TestDatabase {
                    backend,
                    url: DatabaseUrl::Sqlite(path),
                    folder: Some(folder),
                    name: String::new(),
                })
            }
            Backend::Postgres => {
                let server = server_url()?;
                let name = format!("conn_log_test_{}", uuid::Uuid::new_v4().simple());
                admin(&server).batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
                let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
                Some(TestDatabase { backend, url: url.parse().unwrap(), folder: None, name })
            }
        }
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions::new(self.url.clone())
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(self.options()).unwrap()
    }

    /// Runs SQL past the store.
    pub(crate) fn execute(&self, sql: &str) {
        match self.backend {
            Backend::Sqlite => self.sqlite().batch_execute(sql).unwrap(),
            Backend::Postgres => self.postgres().batch_execute(sql).unwrap(),
        }
    }

    pub(crate) fn postgres(&self) -> PgConnection {
        let server = server_url().unwrap();
        let url = format!("{}/{}", server.rsplit_once('/').unwrap().0, self.name);
        PgConnection::establish(&url).unwrap()
    }

    /// Of a PostgreSQL database: `host:port`, and its name there.
    pub(crate) fn host_and_name(&self) -> (String, &str) {
        let server = server_url().unwrap();
        let host = server.rsplit_once('/').unwrap().0.rsplit(['@', '/']).next().unwrap();
        (host.to_owned(), &self.name)
    }

    pub(crate) fn sqlite(&self) -> SqliteConnection {
        let path = self.path();
        let path = path.to_str().unwrap();
        let mut sqlite = SqliteConnection::establish(path).unwrap();
        sqlite.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        // What is derived has a file of its own.
        sqlite.batch_execute(&format!("ATTACH DATABASE '{path}-derived' AS derived")).unwrap();
        sqlite
    }

    /// Ends the store's sessions as a crash of the server would. Nothing on SQLite.
    pub(crate) fn end_sessions(&self) {
        if self.backend == Backend::Postgres {
            let server = server_url().unwrap();
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = '{}' AND application_name = 'conn-log'",
                self.name
            );
            admin(&server).batch_execute(&sql).unwrap();
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("data").join("log.db")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.backend == Backend::Postgres
            && let Some(server) = server_url()
        {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            admin(&server).batch_execute(&drop).ok();
        }
    }
}

fn server_url() -> Option<String> {
    let url = std::env::var("CONN_LOG_TEST_POSTGRES_URL").expect(
        "CONN_LOG_TEST_POSTGRES_URL is not set: run scripts/test, which starts a PostgreSQL of its \
         own, or set it to `skip`",
    );
    if url == "skip" {
        eprintln!("PostgreSQL is skipped, as CONN_LOG_TEST_POSTGRES_URL asks");
        return None;
    }
    Some(url)
}

fn admin(server: &str) -> PgConnection {
    PgConnection::establish(server).unwrap()
}

pub(crate) const DEFAULT: TenantId = TenantId::DEFAULT;

/// An event of that device.
pub(crate) fn parts(device: &str) -> EventFields {
    EventFields {
        device_id: device.to_owned(),
        application_id: "app_1".to_owned(),
        connection_type: "established".to_owned(),
        status: "success".to_owned(),
        timestamp: Timestamp::parse("2024-01-15T10:30:00.25Z").unwrap(),
        ip_address: Some(IpAddr::from([192, 168, 1, 100])),
        user_agent: None,
        duration: Some(1.5),
        session_id: None,
        event_id: None,
        metadata: r#"{"network_type":"wifi"}"#.to_owned(),
    }
}

pub(crate) fn event(device: &str) -> Event {
    Event::from_store(parts(device))
}

pub(crate) fn events(device: &str, count: usize) -> Vec<Event> {
    (0..count).map(|_| event(device)).collect()
}

/// Appends to the default tenant's log.
pub(crate) async fn append(
    store: &Store,
    events: Vec<Event>,
) -> Result<Vec<Appended>, AppendError> {
    append_to(store, DEFAULT, events).await
}

pub(crate) async fn append_to(
    store: &Store,
    tenant: TenantId,
    events: Vec<Event>,
) -> Result<Vec<Appended>, AppendError> {
    match store.append(Submission { tenant, events, claim: None }).await? {
        Outcome::Appended(appended) => Ok(appended),
        other => panic!("no key was given, but: {other:?}"),
    }
}

/// A whole log, in the order of its ids.
pub(crate) fn whole_log(store: &Store, tenant: TenantId) -> Vec<Record> {
    let query = EventQuery { order: Order::IdAscending, limit: 100_000, ..EventQuery::default() };
    store.event_list(tenant, &query).unwrap().records
}

pub(crate) fn ids(appended: &[Appended]) -> Vec<i64> {
    appended.iter().map(|event| event.record().id).collect()
}

/// A claim whose answer tells the ids.
pub(crate) fn claim(key: &str, fingerprint: u8) -> Claim {
    Claim {
        answer_bytes: 0,
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
        answer: Box::new(|appended| format!("{:?}", ids(appended)).into_bytes()),
    }
}
