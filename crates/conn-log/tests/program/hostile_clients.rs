//! Clients that misbehave on the wire: the server answers or disconnects them, and goes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use conn_log_test_support::{Backend, TestDatabase};

use crate::running::Running;

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn of(server: &Running) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Client(stream)
    }

    fn head(server: &Running, headers: &str) -> String {
        format!(
            "POST /api/v1/device_app_connection_log/ HTTP/1.1\r\nhost: log.test\r\n\
             authorization: Bearer {}\r\ncontent-type: application/json\r\n{headers}\r\n",
            server.token
        )
    }

    /// Sends as much as it can: the server may close the connection meanwhile.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).ok();
    }

    /// The first line of the answer; empty if the server closed the connection without one.
    pub(crate) fn status(&mut self) -> String {
        let mut answer = [0; 64];
        match self.0.read(&mut answer) {
            Ok(read) => {
                let text = String::from_utf8_lossy(&answer[..read]).into_owned();
                text.lines().next().unwrap_or_default().to_owned()
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// The head of an answer, with the bytes that arrived together with it.
    pub(crate) fn answer(&mut self) -> String {
        self.reads_until("\r\n\r\n")
    }

    /// Reads until the answer contains `text`.
    pub(crate) fn reads_until(&mut self, text: &str) -> String {
        let (mut all, mut bytes) = (String::new(), vec![0; 64 << 10]);
        while !all.contains(text) {
            let read = self.0.read(&mut bytes).unwrap();
            assert!(read > 0, "it ended before {text:?}: {all}");
            all.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        all
    }
}

fn is_well(server: &Running) {
    let answer = ureq::get(format!("{}/readyz", server.base)).call().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(server.feed().is_empty(), "nothing was stored");
}

/// The server's resident memory.
fn resident_mib(server: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// A library under the server takes the body for bytes of the other protocol.
#[test]
fn a_body_behind_an_upgrade_to_websocket_is_refused_and_does_not_vanish() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    // Refused for its value, so only by a server that has read it.
    let body = r#"{"device_id": "d", "application_id": "a", "connection_type": "strange",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success"}"#;
    for (protocol, status) in [("websocket", "400"), ("h2c", "422")] {
        let upgrade = format!("connection: upgrade\r\nupgrade: {protocol}\r\n");
        let length = format!("content-length: {}\r\n", body.len());
        let mut client = Client::of(&server);
        client.send(format!("{}{body}", Client::head(&server, &(upgrade + &length))).as_bytes());
        let answer = client.answer();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{protocol}: {answer}");
    }
    is_well(&server);
}

#[test]
fn a_torn_body_is_dropped() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let mut client = Client::of(&server);
    client.send(Client::head(&server, "content-length: 1000\r\n").as_bytes());
    client.send(b"{\"device_id\": ");
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    client.status();
    is_well(&server);
}

#[test]
fn a_body_of_65_mib_is_a_413_and_takes_little_memory() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let mut client = Client::of(&server);
    client.send(Client::head(&server, "content-length: 68157440\r\n").as_bytes());
    for _ in 0..65 {
        client.send(&vec![b' '; 1 << 20]);
    }
    assert_eq!(client.status(), "HTTP/1.1 413 Payload Too Large");
    assert!(resident_mib(&server) < 150);
    is_well(&server);
}

#[test]
fn a_head_of_a_mebibyte_is_refused() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let mut client = Client::of(&server);
    let long = format!("x-long: {}\r\n", "a".repeat(1 << 20));
    client.send(Client::head(&server, &long).as_bytes());
    let status = client.status();
    assert!(status.is_empty() || status.starts_with("HTTP/1.1 4"), "{status}");
    is_well(&server);
}

#[test]
fn a_slow_sender_is_let_go_of() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with(&database, &["--body-pause-max", "200ms"]);
    let mut client = Client::of(&server);
    client.send(Client::head(&server, "content-length: 1000\r\n").as_bytes());
    client.send(b"{");
    assert_eq!(client.status(), "HTTP/1.1 408 Request Timeout");
    is_well(&server);
}

#[test]
fn deep_nesting_and_bytes_that_are_no_text_are_refused() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let deep = "[".repeat(10_000);
    for body in [deep.as_bytes(), b"\xff\xfe\xfd".as_slice()] {
        let mut client = Client::of(&server);
        let length = format!("content-length: {}\r\n", body.len());
        client.send(Client::head(&server, &length).as_bytes());
        client.send(body);
        assert_eq!(client.status(), "HTTP/1.1 400 Bad Request");
    }
    is_well(&server);
}

#[test]
fn a_bomb_of_200_mib_is_a_413_and_takes_no_memory() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let before = resident_mib(&server);
    let mut client = Client::of(&server);
    let head = format!("content-encoding: gzip\r\ncontent-length: {}\r\n", bomb.len());
    client.send(Client::head(&server, &head).as_bytes());
    client.send(&bomb);
    assert_eq!(client.status(), "HTTP/1.1 413 Payload Too Large");
    assert!(resident_mib(&server) < before + 20);
    is_well(&server);
}
