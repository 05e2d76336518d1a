//! The tests' PostgreSQL server. Only this file reads `CONN_LOG_TEST_POSTGRES_URL` and
//! `CONN_LOG_TEST_POSTGRES_TEMPLATE`.
//!
//! The first variable holds the URL of a superuser on a cluster that is for tests only;
//! `scripts/test` starts one. Its last segment is a database to connect to first.
//!
//! The second one is set by `scripts/citus-check` only: the server is then the coordinator of a
//! Citus cluster, and each test's database is a copy, on every node, of a database with that name
//! in which the log is distributed.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;

const VARIABLE: &str = "CONN_LOG_TEST_POSTGRES_URL";
const TEMPLATE: &str = "CONN_LOG_TEST_POSTGRES_TEMPLATE";

/// The server on which each test makes its own database.
pub(crate) struct Server {
    url: String,
    /// The template of a distributed database.
    template: Option<String>,
}

#[derive(QueryableByName)]
struct Node {
    #[diesel(sql_type = Text)]
    address: String,
}

impl Server {
    /// Finds the server. `None` if PostgreSQL is to be skipped.
    pub(crate) fn find() -> Option<Self> {
        let url = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!(
                "{VARIABLE} is not set: run scripts/test, which starts a PostgreSQL of its own, or \
                 set it to `skip`"
            )
        });
        if url == "skip" {
            eprintln!("PostgreSQL is skipped, as {VARIABLE} asks");
            return None;
        }
        Some(Server { url, template: std::env::var(TEMPLATE).ok() })
    }

    /// Whether the tests' databases are distributed by Citus.
    pub(crate) fn is_distributed(&self) -> bool {
        self.template.is_some()
    }

    /// Makes a database, on every node.
    pub(crate) fn create(&self, database: &str) -> QueryResult<()> {
        let template = self.template.as_deref().unwrap_or("template1");
        self.on_every_node(&format!("CREATE DATABASE {database} TEMPLATE {template}"))
    }

    /// Removes a database from every node.
    pub(crate) fn remove(&self, database: &str) -> QueryResult<()> {
        self.on_every_node(&format!("DROP DATABASE {database} WITH (FORCE)"))
    }

    /// The URL of another database on the server.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("{}/{database}", self.base())
    }

    /// The server's `host:port`.
    pub(crate) fn host(&self) -> &str {
        self.base().rsplit(['@', '/']).next().unwrap()
    }

    /// Runs SQL as the superuser, outside of any test's database.
    pub(crate) fn execute(&self, sql: &str) -> QueryResult<()> {
        PgConnection::establish(&self.url).unwrap().batch_execute(sql)
    }

    fn on_every_node(&self, sql: &str) -> QueryResult<()> {
        if self.template.is_none() {
            return self.execute(sql);
        }
        let mut coordinator = PgConnection::establish(&self.url).unwrap();
        let nodes = "SELECT nodename || ':' || nodeport AS address FROM pg_dist_node";
        for node in diesel::sql_query(nodes).load::<Node>(&mut coordinator)? {
            let url = self.url.replacen(self.host(), &node.address, 1);
            PgConnection::establish(&url).unwrap().batch_execute(sql)?;
        }
        Ok(())
    }

    fn base(&self) -> &str {
        self.url.rsplit_once('/').unwrap().0
    }
}
