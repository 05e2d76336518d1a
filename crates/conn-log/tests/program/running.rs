//! A program under test: started on a port of its own, and ended with the test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use conn_log_test_support::TestDatabase;
use serde_json::Value;

/// The program, without the settings of this environment.
pub(crate) fn program() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_conn-log")))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONN_LOG_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command until it ends. One that does not end within a minute exits with 124.
pub(crate) fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    run_at(&database.url(), arguments)
}

fn run_at(url: &str, arguments: &[&str]) -> Output {
    let mut command = without_settings(Command::new("timeout"));
    command.args(["60", env!("CARGO_BIN_EXE_conn-log")]).args(arguments);
    command.args(["--database-url", url]).stdin(Stdio::null()).output().unwrap()
}

/// A server that has printed its address.
pub(crate) struct Running {
    child: Child,
    pub(crate) base: String,
    pub(crate) token: String,
    /// Its output before it listened.
    pub(crate) greeting: String,
    /// Its output after that. A thread reads it all the time, because a full pipe would block the
    /// server.
    said: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &[])
    }

    pub(crate) fn start_with(database: &TestDatabase, arguments: &[&str]) -> Self {
        Self::start_at(&database.url(), arguments)
    }

    pub(crate) fn start_on(url: &str) -> Self {
        Self::start_at(url, &[])
    }

    /// Starts a server none of whose files can grow beyond that size: its disk is full then.
    pub(crate) fn start_with_files_up_to(database: &TestDatabase, kib: u32) -> Self {
        let mut command = without_settings(Command::new("bash"));
        // Without the trap the signal that comes with the limit would end the server.
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_conn-log")]);
        Self::start_by(command, &database.url(), &[])
    }

    fn start_at(url: &str, arguments: &[&str]) -> Self {
        Self::start_by(program(), url, arguments)
    }

    /// Starts a server and waits until it listens. If it prints no first token, a token is made.
    fn start_by(mut program: Command, url: &str, arguments: &[&str]) -> Self {
        let mut child = program
            .env("CONN_LOG_LOG", "warn")
            // As docs/operations.md recommends for the C library's allocator.
            .env("MALLOC_ARENA_MAX", "2")
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            // jemalloc otherwise keeps what was freed for up to a second. How much that is depends
            // on the machine's speed, and the tests of memory count what the server holds.
            .env("MALLOC_CONF", "dirty_decay_ms:0")
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--database-url", url])
            .args(arguments)
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        let base = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended early: {greeting}");
            if let Some(base) = line.trim().strip_prefix("conn-log listens on ") {
                break base.to_owned();
            }
            greeting.push_str(&line);
        };
        let said = thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        let shown = greeting.lines().map(str::trim).find(|line| line.starts_with("clog_"));
        let token = shown.map_or_else(|| made_token(url), str::to_owned);
        Running { child, base, token, greeting, said: Some(said) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for its end; returns the exit code, and its output since it listened.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let said = self.said.take().unwrap().join().unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    pub(crate) fn events(&self) -> String {
        format!("{}/api/v1/device_app_connection_log/", self.base)
    }

    /// Every record of the log, in order.
    pub(crate) fn feed(&self) -> Vec<Value> {
        let mut records = Vec::new();
        let mut after = 0;
        loop {
            let url = format!("{}?order=id&after={after}&limit=1000", self.events());
            let page: Value = ureq::get(url)
                .header("authorization", format!("Bearer {}", self.token))
                .call()
                .unwrap()
                .body_mut()
                .read_json()
                .unwrap();
            let results = page["results"].as_array().unwrap();
            let Some(last) = results.last() else { return records };
            after = last["id"].as_i64().unwrap();
            records.extend(results.iter().cloned());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until a condition is true. Only a broken program takes long.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::yield_now();
    }
}

fn made_token(url: &str) -> String {
    let output =
        run_at(url, &["token", "create", "--name", "test", "--scope", "write", "--scope", "read"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
