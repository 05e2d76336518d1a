//! Sends requests at a fixed rate, or a fixed number of requests as fast as they are answered.
//!
//! At a fixed rate each request has a due time, and its latency counts from then, even if the
//! earlier request on its connection is late. So a server that stalls cannot hide it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Maximum time for an answer. A longer time means that the server hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

const WARM_UP: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Load {
    address: SocketAddr,
    #[arg(long)]
    token: String,
    #[arg(long, default_value = "/api/v1/device_app_connection_log/")]
    path: String,
    /// Events, one a line, to POST; without, GET
    #[arg(long)]
    events: Option<PathBuf>,
    /// Events in a request; more than one go as NDJSON
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Requests a second, over all connections; without, each request once, as fast as they are
    /// answered
    #[arg(long)]
    rate: Option<f64>,
    /// How long to go on at that rate
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

impl Load {
    /// Uses two threads for any number of connections: one sends the requests that are due; the
    /// other reads answers and sends the requests that had to wait for one. The processor time of
    /// the load is not available to the server.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let requests = self.requests()?;
        let mut poll = Poll::new()?;
        let connections = (0..self.connections)
            .map(|index| Ok(Mutex::new(Connection::open(self.address, &poll, Token(index))?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let schedule = Schedule {
            start: Instant::now() + Duration::from_millis(100),
            rate: self.rate,
            requests: &requests,
        };
        let count = schedule.count(self.seconds);
        let is_over = AtomicBool::new(false);
        let answers = thread::scope(|scope| {
            scope.spawn(|| send_when_due(&connections, &schedule, count, &is_over));
            let answers = read_answers(&mut poll, &connections, &schedule, count);
            is_over.store(true, Ordering::Relaxed);
            answers
        })?;
        report(answers);
        Ok(())
    }

    /// Whole requests, ready to be sent.
    fn requests(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let Load { address, token, path, .. } = self;
        let head =
            format!("{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
        let Some(file) = &self.events else {
            return Ok(vec![format!("GET {head}\r\n").into_bytes()]);
        };
        let text = std::fs::read_to_string(file).context("cannot read the events")?;
        let lines: Vec<&str> = text.lines().collect();
        let media_type = if self.batch > 1 { "application/x-ndjson" } else { "application/json" };
        let request = |events: &[&str]| {
            let body = events.join("\n");
            let length = body.len();
            format!(
                "POST {head}Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        };
        Ok(lines.chunks_exact(self.batch).map(|events| request(events).into_bytes()).collect())
    }
}

/// The requests to send and their due times.
struct Schedule<'a> {
    start: Instant,
    rate: Option<f64>,
    requests: &'a [Vec<u8>],
}

impl Schedule<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of requests"
    )]
    fn count(&self, seconds: u32) -> usize {
        self.rate.map_or(self.requests.len(), |rate| (rate * f64::from(seconds)).ceil() as usize)
    }

    /// The due time of a request; `None` without a rate.
    #[expect(clippy::cast_precision_loss, reason = "a number of a request")]
    fn due(&self, number: usize) -> Option<Instant> {
        self.rate.map(|rate| self.start + Duration::from_secs_f64(number as f64 / rate))
    }

    fn request(&self, number: usize) -> &[u8] {
        &self.requests[number % self.requests.len()]
    }
}

/// A connection with at most one request in progress. Further requests wait for their turn.
struct Connection {
    stream: TcpStream,
    waiting: VecDeque<usize>,
    under_way: Option<UnderWay>,
    received: Vec<u8>,
}

struct UnderWay {
    number: usize,
    /// The time when it was due.
    due: Instant,
    /// Bytes sent so far.
    sent: usize,
}

impl Connection {
    fn open(address: SocketAddr, poll: &Poll, token: Token) -> anyhow::Result<Connection> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, waiting: VecDeque::new(), under_way: None, received: Vec::new() })
    }

    /// Sends as much as the socket accepts.
    fn send(&mut self, schedule: &Schedule<'_>) -> anyhow::Result<()> {
        if self.under_way.is_none() {
            self.under_way = self.waiting.pop_front().map(|number| UnderWay {
                number,
                due: schedule.due(number).unwrap_or_else(Instant::now),
                sent: 0,
            });
        }
        let Some(under_way) = &mut self.under_way else {
            return Ok(());
        };
        let request = schedule.request(under_way.number);
        while under_way.sent < request.len() {
            match self.stream.write(&request[under_way.sent..]) {
                Ok(some) => under_way.sent += some,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads the bytes that have arrived. If the answer is complete, returns the time when its
    /// request was due.
    fn receive(&mut self) -> anyhow::Result<Option<Instant>> {
        let mut part = [0; 16 << 10];
        let mut has_ended = false;
        while !has_ended {
            match self.stream.read(&mut part) {
                Ok(0) => has_ended = true,
                Ok(some) => self.received.extend_from_slice(&part[..some]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let length = answer_length(&self.received)?.filter(|length| self.received.len() >= *length);
        let Some(length) = length else {
            // The server may have sent an error before it closed the connection, so check the
            // answer first.
            ensure!(!has_ended, "the connection ended");
            return Ok(None);
        };
        ensure!(self.received.len() == length, "more than one answer");
        self.received.clear();
        let under_way = self.under_way.take().context("an answer to nothing")?;
        Ok(Some(under_way.due))
    }
}

/// Passes each request to its connection when it is due. It waits there if another is in progress.
fn send_when_due(
    connections: &[Mutex<Connection>],
    schedule: &Schedule<'_>,
    count: usize,
    is_over: &AtomicBool,
) {
    thread::sleep(schedule.start.saturating_duration_since(Instant::now()));
    for number in 0..count {
        if let Some(due) = schedule.due(number) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let mut connection = lock(&connections[number % connections.len()]);
        connection.waiting.push_back(number);
        if connection.under_way.is_none() && connection.send(schedule).is_err() {
            // The reading thread finds out the reason.
            return;
        }
    }
}

fn read_answers(
    poll: &mut Poll,
    connections: &[Mutex<Connection>],
    schedule: &Schedule<'_>,
    count: usize,
) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::with_capacity(count);
    let mut events = Events::with_capacity(connections.len());
    let mut answered = 0;
    while answered < count {
        match poll.poll(&mut events, Some(ANSWER_TIME_MAX)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let waits = || connections.iter().any(|connection| lock(connection).under_way.is_some());
        ensure!(!events.is_empty() || !waits(), "no answer for {ANSWER_TIME_MAX:?}");
        for event in &events {
            let mut connection = lock(&connections[event.token().0]);
            if let Some(due) = connection.receive()? {
                answered += 1;
                // At a fixed rate the first second is a warm-up.
                if schedule.rate.is_none() || due >= schedule.start + WARM_UP {
                    answers.push(Answer { latency: due.elapsed(), at: schedule.start.elapsed() });
                }
            }
            connection.send(schedule)?;
        }
    }
    Ok(answers)
}

/// Locks a connection. A poisoned lock is ignored, because a panic ends the bench.
fn lock(connection: &Mutex<Connection>) -> std::sync::MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The length of an answer including its head, which must be a success with a declared length;
/// `None` before the whole head has arrived.
fn answer_length(received: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(received)? else {
        return Ok(None);
    };
    let status = answer.code.unwrap_or_default();
    ensure!((200..300).contains(&status), "answered: {status}");
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("an answer without a length")?;
    Ok(Some(head + std::str::from_utf8(length.value)?.parse::<usize>()?))
}

/// One answer: its latency, and the time of its arrival.
struct Answer {
    latency: Duration,
    at: Duration,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn report(mut answers: Vec<Answer>) {
    answers.sort_unstable_by_key(|answer| answer.at);
    let at = |index: usize| answers.get(index).map_or(0.0, |answer| answer.at.as_secs_f64());
    let (count, tenth) = (answers.len(), answers.len() / 10);
    let first = tenth as f64 / at(tenth);
    let last = tenth as f64 / (at(count - 1) - at(count - 1 - tenth));
    let seconds = at(count - 1);
    let mut micros: Vec<u64> = answers
        .iter()
        .map(|answer| u64::try_from(answer.latency.as_micros()).unwrap_or(u64::MAX))
        .collect();
    micros.sort_unstable();
    let [p50, p99, max] = [50, 99, 100].map(|percent| crate::percentile(&micros, percent));
    println!(
        "requests={count} seconds={seconds:.2} p50_us={p50} p99_us={p99} max_us={max} \
         first_tenth_per_second={first:.1} last_tenth_per_second={last:.1}"
    );
}
