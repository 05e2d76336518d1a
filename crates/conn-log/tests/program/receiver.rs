//! A receiver of webhooks.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What came: the message ids and the bodies, in the order of arrival.
pub(crate) type Arrived = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver that answers 200: its URL, and what comes.
pub(crate) fn receiver() -> (String, Arrived) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let arrived = Arrived::default();
    let into = arrived.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let into = into.clone();
            thread::spawn(move || take(connection.unwrap(), &into));
        }
    });
    (url, arrived)
}

/// The messages without repeats, by their ids.
pub(crate) fn distinct(arrived: &Arrived) -> BTreeMap<String, Value> {
    arrived.lock().unwrap().iter().cloned().collect()
}

fn take(mut connection: TcpStream, arrived: &Arrived) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => value.clone_into(&mut id),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    arrived.lock().unwrap().push((id, serde_json::from_slice(&body).ok()?));
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}
