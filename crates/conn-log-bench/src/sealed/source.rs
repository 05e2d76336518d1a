//! The events to seal: those of the benchmark, or those of a file.
//!
//! A line of a file is an event as a client would send it, a connection as Zeek writes it (JSON with
//! `_path`), or a line of sshd in a system's log. Other lines are passed over.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use conn_log_core::{Event, EventDraft, EventPolicy, Record, Timestamp};

use super::codec::Item;
use super::{sshd, zeek};
use crate::events::{Random, Shape};

/// Where events come from. The same events come each time.
#[derive(Clone)]
pub(super) struct Source {
    shape: Shape,
    file: Option<PathBuf>,
    end: Timestamp,
    /// Puts a rare value into the metadata of one event in so many.
    rare: Option<u64>,
}

/// The longest time from an event to the log, in microseconds.
const DELAY_MAX: u64 = 50_000;

/// The member of a rare value, and the value.
pub(super) const RARE: (&str, &str) = ("error_code", "E4711");

impl Source {
    pub(super) fn new(shape: Shape, file: Option<PathBuf>) -> Self {
        Source { shape, file, end: Timestamp::from(chrono::Utc::now()), rare: None }
    }

    #[cfg(test)]
    pub(super) fn shape(count: u64) -> Self {
        let mut shape = Shape::live(1);
        (shape.count, shape.days) = (count, 30);
        Self::new(shape, None)
    }

    pub(super) fn with_rare(self, one_in: u64) -> Self {
        Source { rare: Some(one_in), ..self }
    }

    /// The events as a log would have them. An event is in the log some milliseconds after it happened.
    pub(super) fn items(
        &self,
        nonces: bool,
    ) -> Box<dyn Iterator<Item = anyhow::Result<Item>> + '_> {
        let mut random = Random::new(3);
        let (mut id, mut created_at) = (0, i64::MIN);
        let item = move |(event, at): (Event, i64)| {
            id += 1;
            let delay = i64::try_from(random.below(DELAY_MAX)).unwrap_or(0);
            created_at = created_at.max(at + delay);
            let mut half = || random.below(u64::MAX).to_le_bytes();
            let nonce = nonces.then(|| [half(), half()]);
            let record = Record { id, created_at: Timestamp::from_micros(created_at), event };
            let bytes = |nonce: [[u8; 8]; 2]| nonce.as_flattened().try_into().ok();
            Item { record, nonce: nonce.and_then(bytes) }
        };
        let mut item = item;
        Box::new(self.events().map(move |event| Ok(item(event?))))
    }

    /// Events with the times at which they were sent.
    fn events(&self) -> Box<dyn Iterator<Item = anyhow::Result<(Event, i64)>> + '_> {
        match &self.file {
            None => Box::new(self.events_of_shape()),
            Some(file) => match File::open(file) {
                Ok(file) => Box::new(self.events_of(BufReader::new(file))),
                Err(error) => Box::new(std::iter::once(Err(error.into()))),
            },
        }
    }

    fn events_of_shape(&self) -> impl Iterator<Item = anyhow::Result<(Event, i64)>> + '_ {
        let policy = EventPolicy::default();
        let step = i64::from(self.shape.days) * 86_400_000_000
            / i64::try_from(self.shape.count).unwrap_or(i64::MAX).max(1);
        let left = (1..=self.shape.count).rev().map(|left| i64::try_from(left).unwrap_or(0));
        let mut random = Random::new(11);
        self.shape.events().zip(left).map(move |(mut json, left)| {
            if self.rare.is_some_and(|one_in| random.below(one_in) == 0) {
                json = json.replacen(
                    r#""metadata":{"#,
                    &format!(r#""metadata":{{"{}":"{}","#, RARE.0, RARE.1),
                    1,
                );
            }
            let event = policy.check(EventDraft::from_json(&json)?, self.end)?;
            Ok((event, self.end.micros() - left * step))
        })
    }

    fn events_of(
        &self,
        lines: BufReader<File>,
    ) -> impl Iterator<Item = anyhow::Result<(Event, i64)>> + '_ {
        let policy = EventPolicy::default();
        lines.lines().filter_map(move |line| {
            let event = || {
                let line = line?;
                let Some(json) = event_of(&line) else { return Ok(None) };
                let event = policy.check(EventDraft::from_json(&json)?, self.end)?;
                let at = event.fields().timestamp.micros();
                Ok(Some((event, at)))
            };
            event().transpose()
        })
    }
}

/// The JSON of the event of a line.
fn event_of(line: &str) -> Option<String> {
    if !line.starts_with('{') {
        return sshd::event(line);
    }
    if line.contains(r#""_path":"#) { zeek::event(line) } else { Some(line.to_owned()) }
}
