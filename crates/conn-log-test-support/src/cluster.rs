//! A PostgreSQL cluster that a test may stop and start, in a temporary folder.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tempfile::TempDir;

use crate::server::Server;

/// A running cluster, removed at the end of the test.
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
    /// Connection settings other than its address.
    options: String,
}

/// The locale of [`Cluster::start_german`].
const GERMAN: &str = "de_DE.UTF-8";

impl Cluster {
    /// Starts a cluster whose messages are German. `None` also if the machine has no German locale
    /// or no translations.
    pub fn start_german() -> Option<Self> {
        let mut cluster = Self::start_new()?;
        let locales = cluster.folder.path().join("locales");
        std::fs::create_dir(&locales).unwrap();
        let made = Command::new("localedef")
            .args(["--no-archive", "-i", "de_DE", "-f", "UTF-8"])
            .arg(locales.join(GERMAN))
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        run(cluster.pg_ctl().args(["-w", "-m", "fast", "stop"]));
        cluster.options = format!(" -c lc_messages={GERMAN}");
        cluster.start();
        let mut postgres = PgConnection::establish(&cluster.url()).unwrap();
        let error = postgres.batch_execute("SELECT 1 / 0").unwrap_err().to_string();
        if error.contains("division by zero") {
            eprintln!("there is no PostgreSQL that speaks German here");
            return None;
        }
        Some(cluster)
    }

    /// Starts a cluster. `None` if PostgreSQL is to be skipped.
    pub fn start_new() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts a cluster that takes so many connections. `None` if PostgreSQL is to be skipped.
    pub fn start_small(max_connections: u32) -> Option<Self> {
        Self::start_with(&format!(" -c max_connections={max_connections}"))
    }

    fn start_with(options: &str) -> Option<Self> {
        // If the tests' own server is skipped, this cluster is skipped too.
        Server::find()?;
        let folder = tempfile::tempdir().unwrap();
        // A port that is free now. The listener that found it is closed at the end of the line.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Cluster { folder, bin: newest_bin(), port, options: options.to_owned() };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(cluster.folder.path()));
        }
        run(cluster
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--no-sync", "--pgdata"])
            .arg(cluster.data()));
        cluster.start();
        Some(cluster)
    }

    /// The URL of its superuser's database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the cluster again after it has ended.
    pub fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''{}",
            self.port, self.options
        );
        run(self
            .pg_ctl()
            .env("LOCPATH", self.folder.path().join("locales"))
            .args(["-w", "-o", &options, "-l"])
            .arg(self.folder.path().join("log"))
            .arg("start"));
    }

    /// Ends every process at once, without closing a session or making a checkpoint. The next start
    /// recovers from PostgreSQL's log, as after a crash.
    pub fn crash(&self) {
        run(self.pg_ctl().args(["-w", "-m", "immediate", "stop"]));
    }

    /// Kills all its processes with SIGKILL, the server's main process first.
    pub fn kill(&self) {
        let pid_file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid_file.lines().next().unwrap();
        let children = Command::new("pgrep").args(["-P", pid]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        run(Command::new("kill").args(["-KILL", pid]).args(children.split_whitespace()));
        // Child processes that are still running would keep the next server from starting.
        let gone = |pid: &str| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        while !children.split_whitespace().chain([pid]).all(gone) {
            std::thread::yield_now();
        }
    }

    /// Stops all its processes and leaves its connections open: the kernel still accepts bytes for
    /// them.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen cluster go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Sends a signal to the server's main process and to its children.
    fn signal(&self, signal: &str) {
        let pid_file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid_file.lines().next().unwrap();
        // The parent first, so that it starts no further child.
        run(Command::new("kill").args([signal, pid]));
        let children = Command::new("pgrep").args(["-P", pid]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        run(Command::new("kill").arg(signal).args(children.split_whitespace()));
    }

    /// Makes the cluster accept only encrypted connections with a password, under a certificate of
    /// its own. Returns the certificate's file.
    pub fn require_tls_and_password(&self, password: &str) -> PathBuf {
        let mut postgres = PgConnection::establish(&self.url()).unwrap();
        postgres.batch_execute(&format!("ALTER ROLE postgres PASSWORD '{password}'")).unwrap();
        let (key, certificate) = (self.data().join("server.key"), self.data().join("server.crt"));
        run(Command::new("openssl")
            .args(["req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null()));
        std::fs::write(
            self.data().join("pg_hba.conf"),
            "hostssl all all 127.0.0.1/32 scram-sha-256\n",
        )
        .unwrap();
        run(Command::new("chmod").arg("600").arg(&key));
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&key).arg(&certificate));
        }
        postgres.batch_execute("ALTER SYSTEM SET ssl = on").unwrap();
        drop(postgres);
        run(self.pg_ctl().args(["-w", "-m", "fast", "stop"]));
        self.start();
        certificate
    }

    fn pg_ctl(&self) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg("--pgdata").arg(self.data());
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The command for a program of PostgreSQL, which refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.pg_ctl().args(["-m", "immediate", "stop"]).stdout(Stdio::null()).status().ok();
    }
}

fn newest_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).max();
    newest.expect("PostgreSQL under /usr/lib/postgresql; scripts/test installs it")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn run(command: &mut Command) {
    let status = command.current_dir("/").stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
