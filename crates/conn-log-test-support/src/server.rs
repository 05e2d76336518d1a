//! The tests' PostgreSQL server. Only this file reads `CONN_LOG_TEST_POSTGRES_URL`.
//!
//! The variable holds the URL of a superuser on a cluster that is for tests only; `scripts/test`
//! starts one. Its last segment is a database to connect to first.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

const VARIABLE: &str = "CONN_LOG_TEST_POSTGRES_URL";

/// The server on which each test makes its own database.
pub(crate) struct Server {
    url: String,
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
        Some(Server { url })
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

    fn base(&self) -> &str {
        self.url.rsplit_once('/').unwrap().0
    }
}
