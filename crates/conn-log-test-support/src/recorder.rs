//! A proxy of PostgreSQL's protocol that records the statements of its sessions.
//!
//! It passes all bytes on as they are. It reads the commands of the client (`Query` and `Parse`),
//! and counts what the server completes for each `Query`: so it knows exactly which messages had
//! several commands, and needs no setting of the server.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A statement as a session sent it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// The text, with parameters as `$1`. Several commands if the message had several.
    pub sql: String,
    /// The most commands that the server completed for one message with this text.
    pub commands: usize,
}

/// The statements of all sessions, each text once.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<BTreeMap<String, usize>>>);

impl Statements {
    /// Notes a text for which the server has completed that many commands.
    fn note(&self, sql: &str, commands: usize) {
        let mut known = self.lock();
        match known.get_mut(sql) {
            Some(most) => *most = commands.max(*most),
            None => drop(known.insert(sql.to_owned(), commands)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proxy in front of the tests' server. It ends with the test's process.
pub struct Recorder {
    port: u16,
    statements: Statements,
}

impl Recorder {
    /// A proxy to the server at `host:port`.
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let statements = Statements::default();
        let (server, noted) = (server.to_owned(), statements.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Without the server the client finds its connection closed.
                if let Ok(server) = TcpStream::connect(&server) {
                    record(client, server, &noted);
                }
            }
        });
        Recorder { port, statements }
    }

    /// The `host:port` of the proxy.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The statements until now.
    pub fn statements(&self) -> Vec<Statement> {
        let known = self.statements.lock();
        known
            .iter()
            .map(|(sql, commands)| Statement { sql: sql.clone(), commands: *commands })
            .collect()
    }
}

/// The `Query` that a session waits for, and the commands of it that the server has completed.
type Current = Arc<Mutex<Option<(String, usize)>>>;

/// Starts the two threads of a session.
fn record(client: TcpStream, server: TcpStream, statements: &Statements) {
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let current = Current::default();
    let (noted, asked) = (statements.clone(), Arc::clone(&current));
    thread::spawn(move || {
        let mut messages = Messages::of_client();
        pass_on(client, server, |bytes| {
            messages.take(bytes, |kind, body| note_request(kind, body, &asked, &noted));
        });
    });
    let noted = statements.clone();
    thread::spawn(move || {
        let mut messages = Messages::of_server();
        pass_on(from_server, to_client, |bytes| {
            messages.take(bytes, |kind, _| note_answer(kind, &current, &noted));
        });
    });
}

/// Notes a message of the client, before the server gets it.
fn note_request(kind: u8, body: &[u8], current: &Current, statements: &Statements) {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    match kind {
        b'Q' => {
            let sql = text(body);
            statements.note(&sql, 0);
            *lock(current) = Some((sql, 0));
        }
        // The name of the prepared statement comes before its text.
        b'P' => {
            let name = body.iter().position(|byte| *byte == 0).unwrap_or(0);
            statements.note(&text(&body[name + 1..]), 1);
            *lock(current) = None;
        }
        b'B' => *lock(current) = None,
        _ => {}
    }
}

/// Notes a message of the server: `CommandComplete`, or `EmptyQueryResponse`.
fn note_answer(kind: u8, current: &Current, statements: &Statements) {
    if matches!(kind, b'C' | b'I')
        && let Some((sql, commands)) = &mut *lock(current)
    {
        *commands += 1;
        statements.note(sql, *commands);
    }
}

fn lock(current: &Current) -> MutexGuard<'_, Option<(String, usize)>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes bytes on, after `look` has seen them.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

/// Splits one direction of a session into messages.
struct Messages {
    /// Whether the messages still have no kind: a client's first ones.
    is_starting: bool,
    /// The bytes of a message that is not whole yet.
    partial: Vec<u8>,
}

/// The code of a start: protocol 3. Requests for encryption, which the tests' server declines, have
/// other codes, and a start follows them.
const START: u16 = 3;

impl Messages {
    fn of_client() -> Self {
        Messages { is_starting: true, partial: Vec::new() }
    }

    fn of_server() -> Self {
        Messages { is_starting: false, partial: Vec::new() }
    }

    /// Takes bytes in, and tells the kind and the body of each message that is whole now.
    fn take(&mut self, bytes: &[u8], mut tell: impl FnMut(u8, &[u8])) {
        self.partial.extend_from_slice(bytes);
        let mut begin = 0;
        loop {
            let rest = &self.partial[begin..];
            let kind_bytes = usize::from(!self.is_starting);
            let Some(length) = rest.get(kind_bytes..kind_bytes + 4) else { break };
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let end = kind_bytes + usize::try_from(length).unwrap();
            let Some(message) = rest.get(..end) else { break };
            let body = &message[kind_bytes + 4..];
            if self.is_starting {
                self.is_starting = body[..2] != START.to_be_bytes();
            } else {
                tell(message[0], body);
            }
            begin += end;
        }
        self.partial.drain(..begin);
    }
}
