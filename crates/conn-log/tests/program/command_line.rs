//! The command line: its output and its error messages.

use std::net::TcpListener;
use std::process::Output;

use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;

use crate::running::{Running, program, run};

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[rstest]
fn a_new_log_shows_its_admin_token_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let server = Running::start(&database);
    assert!(server.greeting.contains("curl") && server.greeting.contains(&server.token));
    assert!(server.greeting.contains(&format!("{}/docs", server.base)), "{}", server.greeting);
    drop(server);
    assert!(!Running::start(&database).greeting.contains("clog_"));
}

#[rstest]
fn token_create_prints_the_token_and_nothing_else(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let new = run(
        &database,
        &["token", "create", "--name", "a b", "--scope", "write", "--expires", "90d"],
    );
    assert!(new.status.success(), "{}", said(&new));
    let token = printed(&new).trim().to_owned();
    assert!(token.starts_with("clog_") && !token.contains(char::is_whitespace));

    let list = printed(&run(&database, &["token", "list"]));
    assert!(list.contains("\tdefault\ta b\twrite\t") && list.contains("\tvalid"), "{list}");
    assert!(!list.contains(&token));
    let id = list.split('\t').next().unwrap().to_owned();
    assert!(run(&database, &["token", "revoke", &id]).status.success());
    assert!(printed(&run(&database, &["token", "list"])).contains("\trevoked"));

    let bound =
        ["--name", "gate", "--scope", "write", "--device-id", "dev 7", "--application-id", "app"];
    let bound = run(&database, &[&["token", "create"], &bound[..]].concat());
    assert!(bound.status.success(), "{}", said(&bound));
    let list = printed(&run(&database, &["token", "list"]));
    assert!(list.contains("\tgate\twrite\tnever\tvalid\tdev 7\tapp\n"), "{list}");
    let spaced = run(
        &database,
        &["token", "create", "--name", "x", "--scope", "write", "--device-id", " dev"],
    );
    assert!(!spaced.status.success() && said(&spaced).contains("--device-id"), "{}", said(&spaced));

    let unknown = run(&database, &["token", "create", "--name", "x", "--scope", "fly"]);
    assert!(said(&unknown).contains("fly"), "{}", said(&unknown));
    let tenant =
        run(&database, &["token", "create", "--name", "x", "--scope", "read", "--tenant", "no"]);
    assert!(!tenant.status.success() && said(&tenant).contains("no tenant"));
}

#[test]
fn the_readme_s_command_prints_another_token() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let readme = include_str!("../../../../README.md");
    let (_, command) = readme.split_once("conn-log token create ").unwrap();
    let (options, _) = command.split_once('`').unwrap();
    let arguments: Vec<&str> = ["token", "create"].into_iter().chain(options.split(' ')).collect();
    let output = run(&database, &arguments);
    assert!(printed(&output).starts_with("clog_"), "{arguments:?}: {}", said(&output));
    assert!(printed(&run(&database, &["token", "list"])).contains("\tadmin,write,read\t"));
}

#[rstest]
fn tenants_are_made_and_listed(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let Some(database) = TestDatabase::new(backend) else { return };
    assert!(run(&database, &["tenant", "create", "acme"]).status.success());
    let again = run(&database, &["tenant", "create", "acme"]);
    assert!(!again.status.success() && said(&again).contains("already"), "{}", said(&again));
    assert!(!run(&database, &["tenant", "create", ""]).status.success());
    let list = printed(&run(&database, &["tenant", "list"]));
    assert!(list.contains("default") && list.contains("acme"), "{list}");
}

#[rstest]
fn migrating_twice_does_nothing_the_second_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    assert!(said(&run(&database, &["migrate"])).contains("applied"));
    assert!(said(&run(&database, &["migrate"])).contains("nothing to do"));
}

#[rstest]
fn derived_data_is_rebuilt_by_name(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let Some(database) = TestDatabase::new(backend) else { return };
    for name in ["presence", "sessions", "statistics", "index"] {
        let output = run(&database, &["rebuild", name]);
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
    let unknown = run(&database, &["rebuild", "elsewhere"]);
    assert!(!unknown.status.success() && said(&unknown).contains("sessions"));
}

#[test]
fn a_url_of_another_kind_is_refused_by_name() {
    let output = program().args(["migrate", "--database-url", "mysql://host/db"]).output().unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("mysql"), "{}", said(&output));
}

#[test]
fn a_port_in_use_a_folder_without_write_access_and_a_newer_database_are_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let output = run(&database, &["serve", "--listen", &address]);
    assert!(!output.status.success());
    assert!(said(&output).contains(&address), "{}", said(&output));

    // No user can create a folder where a file exists, not even root.
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("sqlite://{}/data/log.db", file.path().display());
    let output = program().args(["migrate", "--database-url", &url]).output().unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("folder"), "{}", said(&output));

    assert!(run(&database, &["migrate"]).status.success());
    database.execute("UPDATE schema_version SET version = 9999, compatible_from = 9999");
    let output = run(&database, &["migrate"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("newer"), "{}", said(&output));
}

#[test]
fn a_password_in_the_url_is_never_said() {
    let url = "postgres://someone:hunter2@127.0.0.1:1/nowhere";
    let output = program().args(["migrate", "--database-url", url]).output().unwrap();
    assert!(!output.status.success());
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    let help =
        program().env("CONN_LOG_DATABASE_URL", url).args(["serve", "--help"]).output().unwrap();
    assert!(printed(&help).contains("CONN_LOG_DATABASE_URL"));
    assert!(!printed(&help).contains("hunter2"));
}

#[test]
fn each_request_has_one_line_in_the_log() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--log", "info"]);
    let event = serde_json::json!({
        "device_id": "d", "application_id": "a", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success"
    });
    let answer = ureq::post(server.events())
        .header("authorization", format!("Bearer {}", server.token))
        .send_json(event)
        .unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    server.signal("-TERM");
    let (_, said) = server.wait();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("POST")).collect();
    let [line] = lines[..] else { panic!("not one line: {said}") };
    assert!(line.contains("INFO"), "{line}");
    assert!(line.contains("/api/v1/device_app_connection_log/\" 201 "), "{line}");
    assert!(line.contains(&format!(" ms {id} 127.0.0.1 ")), "{line}");
}

#[rstest]
fn neither_tokens_nor_bodies_reach_the_log() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &[]);
    let token = server.token.clone();
    drop(server);
    let server = Running::start_with(&database, &["--log", "trace"]);
    let body = r#"{"device_id": "body-text", "metadata": "not an object"}"#;
    let url = format!("{}?metadata.secret=query-text", server.events());
    for request in [ureq::post(server.events()), ureq::post(url)] {
        request
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .send(body)
            .unwrap_err();
    }
    server.signal("-TERM");
    let (_, said) = server.wait();
    assert!(said.contains("POST"), "{said}");
    for secret in [token.as_str(), "body-text", "query-text"] {
        assert!(!said.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_queue_that_no_large_batch_fits_into_is_refused_at_the_start() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let output = run(&database, &["serve", "--queue-events-max", "500"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("--events-max"), "{}", said(&output));
}

#[test]
fn a_head_request_of_the_root_is_answered_with_the_head_of_its_page() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let page = || ureq::get(&server.base).header("accept", "text/html").call().unwrap();
    let mut head = ureq::head(&server.base).header("accept", "text/html").call().unwrap();
    for name in ["content-type", "content-length", "content-security-policy"] {
        assert_eq!(head.headers().get(name), page().headers().get(name), "{name}");
    }
    assert!(head.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(head.body_mut().read_to_string().unwrap(), "");
}

/// A machine without a battery for its clock starts in 1970, or before it in local time.
#[test]
fn a_clock_from_before_the_first_release_is_refused_at_the_start_and_nothing_is_written() {
    let library = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let library = library.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let Some(library) = library.into_iter().find(|path| path.exists()) else {
        // scripts/test installs it.
        return;
    };
    for time in ["@1969-06-01 00:00:00", "@1970-01-01 00:00:10", "@2001-01-01 00:00:00"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.db");
        let output = program()
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url"])
            .arg(format!("sqlite://{}", file.display()))
            .env("LD_PRELOAD", &library)
            .env("FAKETIME", time)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{time}: {}", said(&output));
        let year = &time[1..5];
        let expected = format!("the clock says {year}-");
        assert!(said(&output).contains(&expected), "{time}: {}", said(&output));
        assert!(!file.exists(), "{time}");
    }
}

#[test]
fn an_origin_that_no_browser_sends_is_refused_by_name() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    for (origin, reason) in [
        ("*", "every page"),
        ("https://app.example.org/", "https://app.example.org"),
        ("app.example.org", "an origin is"),
    ] {
        let origins = format!("https://good.example.org,{origin}");
        let refused = run(&database, &["serve", "--cors-origin", &origins]);
        assert!(!refused.status.success(), "{origin}");
        let said = said(&refused);
        assert!(said.contains(&format!("'{origin}'")) && said.contains("--cors-origin"), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}
