//! Requests at a fixed rate, or a fixed number of them as fast as they are answered.
//!
//! At a fixed rate each request has its moment to be sent, and its latency counts from then, also
//! when the one before it on its connection is late: a server that stalls does not hide it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// No answer takes this long unless the server hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

const WARM_UP: Duration = Duration::from_secs(1);

#[derive(clap::Args, Clone)]
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
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let requests = Arc::new(self.requests()?);
        let start = Instant::now() + Duration::from_millis(100);
        let threads: Vec<_> = (0..self.connections)
            .map(|index| {
                let (load, requests) = (self.clone(), Arc::clone(&requests));
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn(move || load.connection(index, start, &requests))
            })
            .collect::<Result<_, _>>()?;
        let mut answers = Vec::new();
        for thread in threads {
            let some = thread.join().map_err(|_| anyhow::anyhow!("a connection panicked"))?;
            answers.extend(some?);
        }
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

    /// One connection's share.
    fn connection(
        &self,
        index: usize,
        start: Instant,
        requests: &[Vec<u8>],
    ) -> anyhow::Result<Vec<Answer>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut answers = Vec::new();
        thread::sleep(start.saturating_duration_since(Instant::now()));
        for number in (index..).step_by(self.connections) {
            let Some(due) = self.due(number, requests.len()) else {
                break;
            };
            let due = due.map_or_else(Instant::now, |after| start + after);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.write_all(&requests[number % requests.len()])?;
            read_answer(&mut reader)?;
            // At a fixed rate the first second is for warming up.
            if self.rate.is_none() || due >= start + WARM_UP {
                answers.push(Answer { latency: due.elapsed(), at: start.elapsed() });
            }
        }
        Ok(answers)
    }

    /// When to send a request: that long after the start, or at once. `None` after the last.
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    fn due(&self, number: usize, requests: usize) -> Option<Option<Duration>> {
        let Some(rate) = self.rate else {
            return (number < requests).then_some(None);
        };
        let after = number as f64 / rate;
        (after < f64::from(self.seconds)).then(|| Some(Duration::from_secs_f64(after)))
    }
}

/// One answer: how long it took, and when it was there.
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

/// Reads one answer, which must be a success with a declared length.
fn read_answer(answers: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let status = line.clone();
    let mut length = None;
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let length: u64 = length.context("an answer without a length")?;
    std::io::copy(&mut answers.take(length), &mut std::io::sink())?;
    if !status.starts_with("HTTP/1.1 20") {
        bail!("answered: {}", status.trim_end());
    }
    Ok(())
}
