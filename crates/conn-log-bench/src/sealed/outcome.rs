//! What a trial has measured, as a column of a table.

use std::time::Duration;

use crate::percentile;

/// Times of one read, repeated, in microseconds.
#[derive(Default)]
pub(super) struct Times(Vec<u64>);

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// The median and the 99th percentile, in milliseconds.
    pub(super) fn text(&self) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| millis(percentile(&sorted, percent)));
        format!("{p50} / {p99}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time")]
fn millis(micros: u64) -> String {
    let digits = if micros < 10_000 { 2 } else { 0 };
    format!("{:.digits$}", micros as f64 / 1e3)
}

#[derive(Default)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) events: usize,
    pub(super) blocks: usize,
    /// Bytes of some blocks without nonces, and their events.
    pub(super) plain_bytes: (usize, usize),
    pub(super) body_bytes: usize,
    pub(super) disk_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) sealing: Duration,
    /// Opening all blocks, and comparing the leaf hashes of their events.
    pub(super) checking: Duration,
    pub(super) storing: Duration,
    /// One event, a page of neighbours, a page of scattered events: in memory, and from the disk.
    pub(super) reads: Vec<[Times; 3]>,
    pub(super) opening: Duration,
    pub(super) exporting: Duration,
    pub(super) verifying: Duration,
    pub(super) of_device: usize,
    pub(super) of_device_blocks: usize,
    pub(super) removing_device: Duration,
    pub(super) removing_day: Duration,
    pub(super) verifying_removed: Duration,
    pub(super) dropped_blocks: usize,
    pub(super) dropping: Duration,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
impl Outcome {
    fn bytes_each(&self, bytes: u64) -> String {
        format!("{:.1}", bytes as f64 / self.events.max(1) as f64)
    }

    fn micros_each(&self, time: Duration) -> String {
        format!("{:.2}", time.as_secs_f64() * 1e6 / self.events.max(1) as f64)
    }

    fn a_second(&self, time: Duration) -> String {
        format!("{:.2}", self.events as f64 / time.as_secs_f64() / 1e6)
    }

    /// The rows of the table: what is measured, and the figure.
    pub(super) fn figures(&self) -> Vec<(String, String)> {
        let plain = self.plain_bytes.0 as f64 / self.plain_bytes.1.max(1) as f64;
        let whole = |time: Duration| format!("{:.2}", time.as_secs_f64());
        let mut rows = vec![
            ("bytes an event, without random bytes".to_owned(), format!("{plain:.1}")),
            ("bytes an event".to_owned(), self.bytes_each(self.body_bytes as u64)),
            ("bytes an event in a table of SQLite".to_owned(), self.bytes_each(self.disk_bytes)),
            ("bytes written an event".to_owned(), self.bytes_each(self.written_bytes)),
            ("sealing, µs an event".to_owned(), self.micros_each(self.sealing)),
            (
                "opening it again and comparing hashes, µs".to_owned(),
                self.micros_each(self.checking),
            ),
            ("storing, µs an event".to_owned(), self.micros_each(self.storing)),
        ];
        for (reads, place) in self.reads.iter().zip(["in memory", "from the disk"]) {
            let names = ["one event", "100 neighbours", "100 scattered"];
            for (name, times) in names.iter().zip(reads) {
                rows.push((format!("{name}, {place}, p50 / p99, ms"), times.text()));
            }
        }
        rows.extend([
            ("opening all, million events/s".to_owned(), self.a_second(self.opening)),
            ("exporting all, million events/s".to_owned(), self.a_second(self.exporting)),
            ("verifying all, million events/s".to_owned(), self.a_second(self.verifying)),
            ("removing a device, s".to_owned(), whole(self.removing_device)),
            (
                "its events; blocks written anew, of all".to_owned(),
                format!("{}; {} of {}", self.of_device, self.of_device_blocks, self.blocks),
            ),
            ("removing a thirtieth by time, s".to_owned(), whole(self.removing_day)),
            (
                "verifying what is left, million events/s".to_owned(),
                self.a_second(self.verifying_removed),
            ),
            ("dropping the oldest third, s".to_owned(), whole(self.dropping)),
            ("blocks dropped".to_owned(), self.dropped_blocks.to_string()),
        ]);
        rows
    }
}

/// Prints outcomes side by side.
pub(super) fn print(outcomes: &[Outcome]) {
    let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
    println!("| | {} |", names.join(" | "));
    println!("| --- |{}", " ---: |".repeat(names.len()));
    let columns: Vec<Vec<(String, String)>> = outcomes.iter().map(Outcome::figures).collect();
    for row in 0..columns.first().map_or(0, Vec::len) {
        let figures: Vec<&str> = columns.iter().map(|column| column[row].1.as_str()).collect();
        println!("| {} | {} |", columns[0][row].0, figures.join(" | "));
    }
}
