//! Times what a person waits for: from the commit of an event to the webhook of its alert.
//!
//! Events of a normal fleet are sent at a fixed rate, with the time at which they are sent. Ten times
//! a second a device of its own fails five times; a rule tells a webhook of it, whose receiver is
//! here. The load is harder than an installation: see [`rule_json`]. The time runs from `detected_at`, which is the `created_at` of the event that completed the
//! alert and is set before its commit, until the message has arrived, on the same clock.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use conn_log_core::Timestamp;
use serde_json::{Value, json};

use crate::events::{Events, Shape};
use crate::percentile;
use crate::rules::rule_json;

/// Alerts that are planted each second.
const PLANTED_PER_SECOND: u64 = 10;

/// How long the last messages may take.
const WAIT_MAX: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub(crate) struct Watch {
    /// A server that may call 127.0.0.1
    address: SocketAddr,
    /// With the scopes admin, write and read
    #[arg(long)]
    token: String,
    /// Rules, of several kinds; one of them tells
    #[arg(long, default_value_t = 20)]
    rules: usize,
    /// Events in a request; more than one go as NDJSON
    #[arg(long, default_value_t = 1)]
    batch: u64,
    /// Events a second
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[arg(long, default_value_t = 8)]
    connections: u64,
}

impl Watch {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (sender, arrived) = channel();
        thread::spawn(move || receive(&listener, &sender));
        self.post("webhooks/", &json!({"url": url, "events": ["alert.opened"]}))?;
        for number in 1..self.rules {
            self.post("alert_rules/", &rule_json(number))?;
        }
        let planted = json!({"name": "planted", "kind": "failure_burst", "group_by": ["device_id"],
            "params": {"threshold": 5, "window_seconds": 60},
            "filter": {"application_id": "planted"}});
        self.post("alert_rules/", &planted)?;
        let begun = Instant::now();
        thread::scope(|scope| {
            let senders: Vec<_> = (0..self.connections)
                .map(|lane| {
                    let watch = &self;
                    scope.spawn(move || watch.send(lane, begun))
                })
                .collect();
            senders.into_iter().try_for_each(|sender| {
                sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?
            })
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        self.report(&arrived, seconds)
    }

    fn report(&self, arrived: &Receiver<(String, u64)>, seconds: f64) -> anyhow::Result<()> {
        let expected = usize::try_from(PLANTED_PER_SECOND * self.seconds)?;
        let end = Instant::now() + WAIT_MAX;
        let (mut micros, mut others) = (Vec::with_capacity(expected), 0);
        while micros.len() < expected {
            let left = end.saturating_duration_since(Instant::now());
            let (rule, delay) = arrived
                .recv_timeout(left)
                .with_context(|| format!("{} of {expected} messages came", micros.len()))?;
            if rule == "planted" {
                micros.push(delay);
            } else {
                others += 1;
            }
        }
        micros.sort_unstable();
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&micros, percent));
        let events = self.rate * self.seconds;
        println!(
            "events={events} seconds={seconds:.1} alerts={expected} others={others} p50_us={p50} \
             p99_us={p99} max_us={max}"
        );
        Ok(())
    }

    fn post(&self, path: &str, json: &Value) -> anyhow::Result<()> {
        ureq::post(format!("http://{}/api/v1/{path}", self.address))
            .header("authorization", format!("Bearer {}", self.token))
            .send_json(json)
            .with_context(|| format!("{path} was refused"))?;
        Ok(())
    }

    /// Sends each of the requests that fall to a lane, when it is due.
    fn send(&self, lane: u64, begun: Instant) -> anyhow::Result<()> {
        let agent = ureq::Agent::new_with_defaults();
        let url = format!("http://{}/api/v1/device_app_connection_log/", self.address);
        let kind = if self.batch > 1 { "application/x-ndjson" } else { "application/json" };
        let mut fleet = Shape::live(lane + 1).events();
        for request in (lane..self.rate * self.seconds / self.batch).step_by(self.lanes()?) {
            let first = request * self.batch;
            let due = begun + Duration::from_micros(first * 1_000_000 / self.rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let lines: Vec<String> = (first..first + self.batch)
                .map(|number| self.event(number, &mut fleet))
                .collect::<anyhow::Result<_>>()?;
            let answer = agent
                .post(&url)
                .header("authorization", format!("Bearer {}", self.token))
                .header("content-type", kind)
                .send(lines.join("\n"))?;
            ensure!(answer.status().is_success(), "answered {}", answer.status());
        }
        Ok(())
    }

    fn lanes(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.connections)?)
    }

    /// The event of that number: a planted failure, or the next one of the fleet.
    fn event(&self, number: u64, fleet: &mut Events) -> anyhow::Result<String> {
        let every = self.rate / PLANTED_PER_SECOND;
        if number % every >= 5 {
            return fleet.next().context("the fleet has no end");
        }
        let device = number / every;
        Ok(json!({"device_id": format!("planted-{device}"), "application_id": "planted",
            "connection_type": "attempted", "status": "denied", "event_id": number.to_string(),
            "timestamp": Timestamp::from(chrono::Utc::now()).to_string()})
        .to_string())
    }
}

/// Answers every request, and tells the name of its alert's rule and its delay in microseconds.
fn receive(listener: &TcpListener, sender: &Sender<(String, u64)>) {
    for connection in listener.incoming().flatten() {
        let sender = sender.clone();
        thread::spawn(move || take(connection, &sender));
    }
}

fn take(mut connection: TcpStream, sender: &Sender<(String, u64)>) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            None if line.trim_end().is_empty() => break,
            Some(_) | None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let now = Timestamp::from(chrono::Utc::now());
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let alert = &body["data"]["alert"];
    let detected = Timestamp::parse(alert["detected_at"].as_str()?)?;
    let delay = u64::try_from(now.micros() - detected.micros()).unwrap_or(0);
    sender.send((alert["rule_name"].as_str()?.to_owned(), delay)).ok()
}
