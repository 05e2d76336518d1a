//! A fresh database for each test.

use std::path::PathBuf;
use std::thread;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use crate::guard;
use crate::recorder::{Recorder, Statement};
use crate::server::Server;

/// The kinds of databases that conn-log runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// An embedded file.
    Sqlite,
    /// A database on the tests' server.
    Postgres,
}

/// An empty database, removed at the end of the test.
pub struct TestDatabase {
    home: Home,
}

/// The location of a database.
enum Home {
    Folder(TempDir),
    Server { server: Server, name: String, recorder: Recorder },
}

impl TestDatabase {
    /// Makes a database. `None` if PostgreSQL is to be skipped.
    pub fn new(backend: Backend) -> Option<Self> {
        let home = match backend {
            Backend::Sqlite => Home::Folder(tempfile::tempdir().unwrap()),
            Backend::Postgres => {
                let server = Server::find()?;
                let name = format!("conn_log_test_{}", Uuid::new_v4().simple());
                server.create(&name).unwrap();
                let recorder = Recorder::to(server.host());
                Home::Server { server, name, recorder }
            }
        };
        Some(TestDatabase { home })
    }

    /// The kind of the database.
    pub fn backend(&self) -> Backend {
        match self.home {
            Home::Folder(_) => Backend::Sqlite,
            Home::Server { .. } => Backend::Postgres,
        }
    }

    /// Whether Citus distributes it. Then its schema is already there.
    pub fn is_distributed(&self) -> bool {
        matches!(&self.home, Home::Server { server, .. } if server.is_distributed())
    }

    /// The URL in the program's form. On SQLite neither the file nor its folder exists yet.
    pub fn url(&self) -> String {
        match &self.home {
            Home::Folder(folder) => format!("sqlite://{}", file_in(folder).display()),
            Home::Server { server, name, .. } => server.url_of(name),
        }
    }

    /// The URL for the store: on PostgreSQL its statements are recorded.
    pub(crate) fn recorded_url(&self) -> String {
        match &self.home {
            Home::Folder(_) => self.url(),
            // The recorder does not read encrypted sessions.
            Home::Server { server, name, recorder } => format!(
                "{}?sslmode=disable&gssencmode=disable",
                server.url_of(name).replace(server.host(), &recorder.address())
            ),
        }
    }

    /// The statements that stores have sent until now, each once. None on SQLite.
    pub fn statements(&self) -> Vec<Statement> {
        match &self.home {
            Home::Folder(_) => Vec::new(),
            Home::Server { recorder, .. } => recorder.statements(),
        }
    }

    /// The file of a SQLite database.
    pub fn file(&self) -> PathBuf {
        match &self.home {
            Home::Folder(folder) => file_in(folder),
            Home::Server { .. } => panic!("a database on a server has no file"),
        }
    }

    /// Runs SQL directly, not through the store.
    pub fn execute(&self, sql: &str) {
        match self.backend() {
            Backend::Sqlite => self.sqlite().batch_execute(sql).unwrap(),
            Backend::Postgres => self.postgres().batch_execute(sql).unwrap(),
        }
    }

    /// A connection to a SQLite database. It sees the file of derived data as `derived`.
    pub fn sqlite(&self) -> SqliteConnection {
        let file = self.file();
        let file = file.to_str().unwrap();
        let mut sqlite = SqliteConnection::establish(file).unwrap();
        sqlite.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        sqlite.batch_execute(&format!("ATTACH DATABASE '{file}-derived' AS derived")).unwrap();
        sqlite
    }

    /// A connection to a PostgreSQL database.
    pub fn postgres(&self) -> PgConnection {
        assert_eq!(self.backend(), Backend::Postgres);
        PgConnection::establish(&self.url()).unwrap()
    }

    /// The `host:port` and the name of a PostgreSQL database.
    pub fn host_and_name(&self) -> (&str, &str) {
        match &self.home {
            Home::Folder(_) => panic!("a file has no host"),
            Home::Server { server, name, .. } => (server.host(), name),
        }
    }

    /// Ends the store's sessions as a crash of the server would. Does nothing on SQLite.
    pub fn end_sessions(&self) {
        if let Home::Server { server, name, .. } = &self.home {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = '{name}' AND application_name = 'conn-log'"
            );
            server.execute(&sql).unwrap();
        }
    }
}

/// What an operator does to a database on a server, under the store's hands.
impl TestDatabase {
    /// Drops the database, and makes it anew and empty. Ends its sessions.
    pub fn make_anew(&self) {
        self.replace("");
    }

    /// Copies the database as it is. Ends its sessions.
    pub fn back_up(&self) -> Backup {
        let (server, name) = self.on_server();
        let copy = format!("{name}_backup");
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        // A store that is open connects again in between.
        let copied = (0..100).any(|_| {
            server.execute(&end).unwrap();
            server.execute(&format!("CREATE DATABASE {copy} TEMPLATE {name}")).is_ok()
        });
        assert!(copied, "sessions do not end");
        Backup { url: server.url_of("postgres"), name: copy }
    }

    /// Drops the database, and makes it anew as it was. Ends its sessions.
    pub fn restore(&self, backup: &Backup) {
        self.replace(&format!(" TEMPLATE {}", backup.name));
    }

    fn replace(&self, template: &str) {
        let (server, name) = self.on_server();
        server.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
        server.execute(&format!("CREATE DATABASE {name}{template}")).unwrap();
    }

    fn on_server(&self) -> (&Server, &str) {
        match &self.home {
            Home::Folder(_) => panic!("a file is on no server"),
            Home::Server { server, name, .. } => (server, name),
        }
    }
}

/// A copy of a database on the tests' server, dropped at the end of the test.
pub struct Backup {
    url: String,
    name: String,
}

impl Drop for Backup {
    fn drop(&mut self) {
        if let Ok(mut postgres) = PgConnection::establish(&self.url) {
            postgres.batch_execute(&format!("DROP DATABASE {}", self.name)).ok();
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Home::Server { server, name, recorder } = &self.home else { return };
        let dropped = server.remove(name);
        // If the test has failed, its own message comes first.
        if !thread::panicking() {
            dropped.unwrap();
            // On Citus itself the store also asks for the tenants of one node at once.
            if server.is_distributed() {
                return;
            }
            let faults = guard::faults(&recorder.statements());
            assert!(faults.is_empty(), "see test_support::guard:\n{}", faults.join("\n"));
        }
    }
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("data").join("log.db")
}
