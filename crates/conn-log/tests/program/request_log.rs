//! The line that the server's log has for each request.

use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;

use crate::hostile_clients::Client;
use crate::running::{Running, run};

const EVENTS: &str = "/api/v1/device_app_connection_log/";

/// The lines of requests in a server's log, without their time.
fn lines(server: Running) -> Vec<String> {
    server.signal("-TERM");
    let (_, said) = server.wait();
    let lines = said.lines().filter_map(|line| line.split_once("conn_log::request] "));
    lines.map(|(_, line)| line.to_owned()).collect()
}

fn send(server: &Running, path: &str, headers: &str) {
    let mut client = Client::of(server);
    client.send(format!("GET {path} HTTP/1.1\r\nhost: log.test\r\n{headers}\r\n").as_bytes());
    assert!(client.status().starts_with("HTTP/1.1 "));
}

/// So that guessing and floods can be traced to an address and a token.
#[rstest]
fn a_line_names_the_client_s_address_and_the_token_s_id_and_no_secret(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let Some(database) = TestDatabase::new(backend) else { return };
    let token = Running::start(&database).token.clone();
    let list = run(&database, &["token", "list"]);
    let token_id = String::from_utf8(list.stdout).unwrap().split('\t').next().unwrap().to_owned();
    let server = Running::start_with(&database, &["--log", "info", "--trusted-proxy", "127.0.0.1"]);
    let good = format!("authorization: Bearer {token}\r\n");
    let wrong = "authorization: Bearer clog_guessed\r\n";
    let from = |address: &str| format!("x-forwarded-for: 203.0.113.9, {address}\r\n");
    for headers in [
        good.clone(),
        good.clone() + &from("198.51.100.7"),
        wrong.to_owned() + &from("[2001:db8::5]:4711"),
        from("198.51.100.8"),
        wrong.to_owned() + "forwarded: for=192.0.2.1\r\n" + &from("198.51.100.9"),
    ] {
        send(&server, EVENTS, &headers);
    }
    let revoked = run(&database, &["token", "revoke", &token_id]);
    assert!(revoked.status.success());
    let server_before = server;
    let server = Running::start_with(&database, &["--log", "info"]);
    send(&server, EVENTS, &good);

    let lines: Vec<String> = [lines(server_before), lines(server)].concat();
    let found: Vec<_> = lines
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words.len(), 8, "{line}");
            assert_eq!((words[0], words[1]), ("GET", format!("\"{EVENTS}\"").as_str()));
            (words[2], words[6], words[7])
        })
        .collect();
    let id = token_id.as_str();
    let expected = [
        ("200", "127.0.0.1", id),
        ("200", "198.51.100.7", id),
        ("401", "2001:db8::5", "-"),
        ("401", "198.51.100.8", "-"),
        // Two headers that differ are both not believed.
        ("401", "127.0.0.1", "-"),
        // The token is known, and no longer valid.
        ("401", "127.0.0.1", id),
    ];
    assert_eq!(found, expected);
    assert!(lines.iter().all(|line| !line.contains("clog_")), "{lines:?}");
}

#[test]
fn a_line_has_a_bound_whatever_the_client_sends() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--log", "info"]);
    send(&server, &format!("/{}", "a".repeat(50_000)), "");
    send(&server, &format!("/{}", "%0a\"".repeat(5_000)), "");
    let mut client = Client::of(&server);
    client.send(format!("{} / HTTP/1.1\r\nhost: log.test\r\n\r\n", "M".repeat(5_000)).as_bytes());
    client.status();
    let lines = lines(server);
    assert!(lines.len() >= 2, "{lines:?}");
    for line in &lines {
        assert!(line.len() < 800, "{} bytes: {line}", line.len());
        assert!(line.contains('…'), "it says that it is cut: {line}");
    }
}
