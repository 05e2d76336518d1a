//! Times read requests to a log, over HTTP on one connection, one after the other.
//!
//! Each query runs many times with the values of events picked at random, so that a busy device is
//! queried about as often as it is busy. Prints a line for each query: its name, the median and the
//! 99th percentile in microseconds, and the number of results of an answer, separated by tabs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conn_log_core::Timestamp;
use serde_json::Value;

use crate::events::Random;
use crate::percentile;

#[derive(clap::Args)]
pub(crate) struct Read {
    address: SocketAddr,
    #[arg(long)]
    token: String,
    /// How often to ask each question
    #[arg(long, default_value_t = 300)]
    times: usize,
    /// Pages of a list to go through one after the other
    #[arg(long, default_value_t = 10_000)]
    pages: usize,
}

/// Time limit for all repeats of one query. A query stops at this limit. With a few dozen repeats
/// the 99th percentile is the longest time.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(30);

/// The number of first and of last pages that are compared.
const PAGES_COMPARED: usize = 200;

const HOUR: i64 = 3_600_000_000;
const EVENTS: &str = "/api/v1/device_app_connection_log";
const FAILURES: &str = "status=failure&status=denied&status=timeout&status=error";

/// An event of the log, whose values a query uses.
struct Sample {
    id: i64,
    device_id: String,
    application_id: String,
    session_id: String,
    ip_address: String,
    timestamp: Timestamp,
}

struct Question {
    name: &'static str,
    path: fn(&Sample) -> String,
}

const QUESTIONS: &[Question] = &[
    Question { name: "one event", path: |of| format!("{EVENTS}/{}/", of.id) },
    Question { name: "newest 100", path: |_| format!("{EVENTS}/") },
    Question {
        name: "newest 100 of a device",
        path: |of| format!("{EVENTS}/?device_id={}", of.device_id),
    },
    Question {
        name: "newest 100 of a session",
        path: |of| format!("{EVENTS}/?session_id={}", of.session_id),
    },
    Question {
        name: "newest 100 failures of an application",
        path: |of| format!("{EVENTS}/?application_id={}&{FAILURES}", of.application_id),
    },
    Question {
        name: "newest 100 of a window of an hour",
        path: |of| format!("{EVENTS}/?{}", window(of, HOUR)),
    },
    Question {
        name: "latest 100 of a window of a day, by timestamp",
        path: |of| format!("{EVENTS}/?order=-timestamp&{}", window(of, 24 * HOUR)),
    },
    Question {
        name: "newest 100 of a block /24 within a day",
        path: |of| {
            let network = of.ip_address.rsplit_once('.').map_or("10.0.0", |(network, _)| network);
            format!("{EVENTS}/?ip_address={network}.0/24&{}", window(of, 24 * HOUR))
        },
    },
    Question {
        name: "a page of the feed",
        path: |of| format!("{EVENTS}/?order=id&after={}", of.id),
    },
    Question { name: "a device", path: |of| format!("/api/v1/devices/{}/", of.device_id) },
    Question {
        name: "newest 100 sessions of a device",
        path: |of| format!("/api/v1/sessions/?device_id={}", of.device_id),
    },
    Question {
        name: "30 days by hour and application",
        path: |_| format!("{EVENTS}/stats/?interval=1h&group_by=application_id"),
    },
    Question {
        name: "30 days by day and status",
        path: |_| format!("{EVENTS}/stats/?interval=1d&group_by=status"),
    },
    Question {
        name: "30 days' failures by device, the first 20",
        path: |_| format!("{EVENTS}/stats/?group_by=device_id&sort=-failures&limit=20"),
    },
    Question {
        name: "distinct devices a day for 30 days",
        path: |_| format!("{EVENTS}/stats/?interval=1d"),
    },
    Question {
        name: "distinct devices a day of Berlin's clocks",
        path: |_| format!("{EVENTS}/stats/?interval=1d&timezone=Europe/Berlin"),
    },
    Question {
        name: "a device's 30 days by hour",
        path: |of| format!("{EVENTS}/stats/?interval=1h&device_id={}", of.device_id),
    },
    Question {
        name: "a day by minute, at odd edges",
        path: |of| format!("{EVENTS}/stats/?interval=1m&{}", window(of, 24 * HOUR)),
    },
];

/// A time window of that length around the event's timestamp.
fn window(of: &Sample, length: i64) -> String {
    let since = of.timestamp.micros() - length / 2;
    let instant = Timestamp::from_micros;
    format!("since={}&until={}", instant(since), instant(since + length))
}

impl Read {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let server = Server::new(self.address, &self.token);
        let newest = server.get(&format!("{EVENTS}/?limit=1"))?;
        let size = newest["results"][0]["id"].as_i64().context("the log is empty")?;
        let mut random = Random::new(7);
        let samples: Vec<Sample> = (0..self.times)
            .map(|_| server.sample(1 + random.below(size.unsigned_abs())))
            .collect::<anyhow::Result<_>>()?;
        for question in QUESTIONS {
            let (mut times, mut results) = (Vec::with_capacity(samples.len()), 0);
            let all_begun = Instant::now();
            for sample in &samples {
                if all_begun.elapsed() > QUESTION_TIME_MAX {
                    break;
                }
                let path = (question.path)(sample);
                let begun = Instant::now();
                let text = server.text(&path)?;
                times.push(begun.elapsed());
                let answer: Value = serde_json::from_str(&text)?;
                results += answer["results"].as_array().map_or(1, Vec::len);
            }
            report(question.name, &times, results / times.len().max(1));
        }
        self.walk(&server, "of the list", &format!("{EVENTS}/"))?;
        self.walk(&server, "of the feed", &format!("{EVENTS}/?order=id&after=0"))
    }

    /// Reads the pages of a list one after the other.
    fn walk(&self, server: &Server, name: &str, path: &str) -> anyhow::Result<()> {
        let (mut times, mut path) = (Vec::with_capacity(self.pages), path.to_owned());
        for _ in 0..self.pages {
            let begun = Instant::now();
            let text = server.text(&path)?;
            times.push(begun.elapsed());
            let page: Value = serde_json::from_str(&text)?;
            let next = page["next"].as_str().context("the list ends before its pages do")?;
            let scheme_and_host = format!("http://{}", self.address);
            path = next.strip_prefix(&scheme_and_host).unwrap_or(next).to_owned();
        }
        let last = times.split_off(times.len().saturating_sub(PAGES_COMPARED));
        times.truncate(PAGES_COMPARED);
        report(&format!("page 1 {name}"), &times, 100);
        report(&format!("page {} {name}", self.pages), &last, 100);
        Ok(())
    }
}

fn report(name: &str, times: &[Duration], results: usize) {
    let mut micros: Vec<u64> =
        times.iter().map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).collect();
    micros.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| percentile(&micros, percent));
    println!("{name}\t{p50}\t{p99}\t{results}");
}

struct Server {
    agent: ureq::Agent,
    base: String,
    authorization: String,
}

impl Server {
    fn new(address: SocketAddr, token: &str) -> Self {
        Server {
            agent: ureq::agent(),
            base: format!("http://{address}"),
            authorization: format!("Bearer {token}"),
        }
    }

    fn text(&self, path: &str) -> anyhow::Result<String> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = request.header("Authorization", &self.authorization);
        let mut answer = request.call().with_context(|| format!("asking {path}"))?;
        Ok(answer.body_mut().with_config().limit(u64::MAX).read_to_string()?)
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(path)?)?)
    }

    fn sample(&self, id: u64) -> anyhow::Result<Sample> {
        let record = self.get(&format!("{EVENTS}/{id}/"))?;
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        Ok(Sample {
            id: i64::try_from(id)?,
            device_id: text("device_id"),
            application_id: text("application_id"),
            session_id: record["metadata"]["session_id"].as_str().unwrap_or_default().to_owned(),
            ip_address: text("ip_address"),
            timestamp: Timestamp::parse(&text("timestamp")).context("a timestamp")?,
        })
    }
}
