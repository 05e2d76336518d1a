//! A receiver of webhooks on loopback, that answers as a test wants it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with a status, headers and a body.
    Answer(u16, &'static str, &'static str),
    /// Reads the request, and never answers.
    Hang,
    /// Closes the connection without an answer.
    Close,
    /// Resets the connection.
    Reset,
    /// Answers a byte of the head now and then.
    Drip,
    /// Answers 200 with a body of a gigabyte.
    Endless,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Reply::Answer(status, "", "")
    }
}

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map_or_else(|| panic!("no {name} in {self:?}"), |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Replies = Arc<Mutex<Box<dyn FnMut(&Request) -> Reply + Send>>>;

/// A receiver. It ends with the test's process.
pub(crate) struct Receiver {
    address: SocketAddr,
    requests: Channel<Request>,
    /// Bytes of endless bodies that were taken.
    pub(crate) taken: Arc<Mutex<usize>>,
}

impl Receiver {
    /// A receiver that answers every request with that reply.
    pub(crate) fn that(reply: Reply) -> Self {
        Receiver::by(move |_| reply.clone())
    }

    /// A receiver that answers each request as `reply` says.
    pub(crate) fn by(reply: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let replies: Replies = Arc::new(Mutex::new(Box::new(reply)));
        let (sender, requests) = channel();
        let taken = Arc::new(Mutex::new(0));
        let counted = taken.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (replies, sender) = (replies.clone(), sender.clone());
                let taken = counted.clone();
                thread::spawn(move || serve(connection.unwrap(), &replies, &sender, &taken));
            }
        });
        Receiver { address, requests, taken }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next request. Fails if there is none.
    pub(crate) fn next(&self) -> Request {
        self.requests.recv_timeout(Duration::from_secs(10)).expect("no request came")
    }

    /// The requests that came and were not taken yet.
    pub(crate) fn all(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

fn serve(
    mut connection: TcpStream,
    replies: &Replies,
    sender: &Sender<Request>,
    taken: &Mutex<usize>,
) -> Option<()> {
    let request = read(&connection)?;
    let reply = replies.lock().unwrap()(&request);
    sender.send(request).ok();
    match reply {
        Reply::Answer(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
            connection.write_all(format!("{head}{body}").as_bytes()).ok()?;
        }
        Reply::Hang => {
            // Until the client gives up.
            connection.read_exact(&mut [0]).ok()?;
        }
        Reply::Close => connection.shutdown(Shutdown::Both).ok()?,
        // Closed with no time to linger, a connection is reset.
        Reply::Reset => {
            socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO)).ok()?;
        }
        Reply::Drip => {
            let (_sender, tick) = channel::<()>();
            for byte in b"HTTP/1.1 200 OK\r\nx: y".iter().chain(std::iter::repeat(&b'y')) {
                connection.write_all(&[*byte]).ok()?;
                // A pause: nobody sends.
                tick.recv_timeout(Duration::from_millis(20)).ok();
            }
        }
        Reply::Endless => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
            connection.write_all(head.as_bytes()).ok()?;
            let block = vec![b'x'; 65_536];
            while connection.write_all(&block).is_ok() {
                *taken.lock().unwrap() += block.len();
            }
        }
    }
    Some(())
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Request { line: line.trim_end().to_owned(), headers, body: String::new() };
    let length: usize = request.header("content-length").parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
