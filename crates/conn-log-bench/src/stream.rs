//! Clients that follow the stream up to the last expected event, and the time that events take to
//! reach them.
//!
//! An event's time runs from its `created_at`, which is set before its commit, until its client has
//! read it, on the same clock. If a client reads several events at once, the oldest counts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use conn_log_core::Timestamp;

use crate::percentile;

#[derive(clap::Args, Clone)]
pub(crate) struct Stream {
    address: SocketAddr,
    #[arg(long)]
    token: String,
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Each client is done once it has seen the event of this id
    #[arg(long)]
    until: i64,
    /// A filter, as in a list's query
    #[arg(long, default_value = "")]
    filter: String,
    /// Touched once all clients are connected
    #[arg(long)]
    ready: std::path::PathBuf,
    /// A client that is not done by then has lost something
    #[arg(long, default_value_t = 120)]
    seconds_max: u64,
}

struct Seen {
    events: usize,
    latencies_us: Vec<u64>,
}

impl Stream {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let connected = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..self.clients)
            .map(|_| {
                let (stream, connected) = (self.clone(), Arc::clone(&connected));
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn(move || stream.follow(&connected))
            })
            .collect::<Result<_, _>>()?;
        let end = Instant::now() + Duration::from_secs(self.seconds_max);
        while connected.load(Ordering::Acquire) < self.clients {
            ensure!(Instant::now() < end, "not all clients could connect");
            ensure!(!clients.iter().any(thread::JoinHandle::is_finished), "a client has ended");
            thread::sleep(Duration::from_millis(20));
        }
        std::fs::write(&self.ready, "")?;
        let (mut events, mut latencies) = (0, Vec::new());
        for client in clients {
            let seen = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            events += seen.events;
            latencies.extend(seen.latencies_us);
        }
        latencies.sort_unstable();
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&latencies, percent));
        println!("clients={} events={events} p50_us={p50} p99_us={p99} max_us={max}", self.clients);
        Ok(())
    }

    /// Runs one client. It must get every id once, in order, and without a filter no id may be
    /// missing.
    fn follow(&self, connected: &AtomicUsize) -> anyhow::Result<Seen> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(self.seconds_max)))?;
        write!(
            socket,
            "GET /api/v1/device_app_connection_log/stream/?{} HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {}\r\n\r\n",
            self.filter, self.address, self.token
        )?;
        let mut reader = BufReader::with_capacity(64 << 10, socket);
        read_head(&mut reader)?;
        connected.fetch_add(1, Ordering::Release);
        let mut seen = Seen { events: 0, latencies_us: Vec::new() };
        let (mut last, mut line) = (0, Vec::new());
        let mut body = Chunks { reader, left: 0, is_fresh: false };
        loop {
            line.clear();
            body.read_line(&mut line)?;
            if let Some(id) = line.strip_prefix(b"id: ") {
                let id: i64 = std::str::from_utf8(id)?.trim_end().parse()?;
                let follows = if self.filter.is_empty() { id == last + 1 } else { id > last };
                ensure!(last == 0 || follows, "event {id} came after {last}");
                last = id;
            } else if line.starts_with(b"data: ") {
                seen.events += 1;
                if std::mem::take(&mut body.is_fresh) {
                    seen.latencies_us.push(age_us(&line)?);
                }
                if last >= self.until {
                    return Ok(seen);
                }
            }
        }
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "answered: {}", line.trim_end());
    while line.trim_end() != "" {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the connection ended");
    }
    Ok(())
}

/// Microseconds since the event's `created_at`.
fn age_us(line: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(line)?;
    let (_, rest) = text.split_once(r#""created_at":""#).context("no created_at")?;
    let (created_at, _) = rest.split_once('"').context("no end of created_at")?;
    let created_at = Timestamp::parse(created_at).context("not a created_at")?;
    let now = Timestamp::from(chrono::Utc::now());
    Ok(u64::try_from(now.micros() - created_at.micros()).unwrap_or(0))
}

/// Reads lines from a chunked body (RFC 9112, section 7.1).
struct Chunks {
    reader: BufReader<TcpStream>,
    /// Bytes left of the chunk.
    left: usize,
    /// Whether a chunk has begun since the last check.
    is_fresh: bool,
}

impl Chunks {
    fn read_line(&mut self, line: &mut Vec<u8>) -> anyhow::Result<()> {
        loop {
            if self.left == 0 {
                self.next_chunk()?;
            }
            let before = line.len();
            (&mut self.reader).take(self.left as u64).read_until(b'\n', line)?;
            self.left -= line.len() - before;
            if line.len() == before {
                bail!("the stream broke off");
            }
            if line.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    fn next_chunk(&mut self) -> anyhow::Result<()> {
        let mut size = String::new();
        self.reader.read_line(&mut size)?;
        if size.trim().is_empty() {
            // This was the line break at the end of the chunk before.
            size.clear();
            self.reader.read_line(&mut size)?;
        }
        self.left = usize::from_str_radix(size.trim(), 16).context("not the size of a chunk")?;
        ensure!(self.left > 0, "the stream ended");
        self.is_fresh = true;
        Ok(())
    }
}
