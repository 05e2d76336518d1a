//! The canonical JSON of the events, one a line, compressed by zstd with a dictionary that is trained on
//! lines of the tenant.

use std::borrow::Cow;
use std::net::IpAddr;

use anyhow::Context as _;
use conn_log_core::{Event, EventFields, REDACTED, Record, Timestamp};
use integer_encoding::VarInt as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::codec::{Codec, Item, Wanted, Zstd, train};

/// A longer text in the metadata is no session's id.
const SESSION_CHARS_MAX: usize = 255;

pub(super) struct Ndjson(Zstd);

/// A record's canonical JSON. Numbers and metadata stay as they are written.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    application_id: Cow<'l, str>,
    #[serde(borrow)]
    connection_type: Cow<'l, str>,
    created_at: &'l str,
    #[serde(borrow)]
    device_id: Cow<'l, str>,
    #[serde(borrow)]
    duration: Option<&'l RawValue>,
    #[serde(borrow)]
    event_id: Option<Cow<'l, str>>,
    id: i64,
    ip_address: Option<IpAddr>,
    #[serde(borrow)]
    metadata: &'l RawValue,
    nonce: Option<&'l str>,
    #[serde(borrow)]
    session_id: Option<Cow<'l, str>>,
    #[serde(borrow)]
    status: Cow<'l, str>,
    timestamp: &'l str,
    #[serde(borrow)]
    user_agent: Option<Cow<'l, str>>,
}

impl Ndjson {
    pub(super) fn new(level: i32, dictionary: usize, samples: &[&[Item]]) -> anyhow::Result<Self> {
        if dictionary == 0 {
            return Ok(Ndjson(Zstd::new(level, &[])?));
        }
        let lines: Vec<String> =
            samples.iter().flat_map(|items| items.iter().map(Item::line)).collect();
        Ok(Ndjson(Zstd::new(level, &train(&lines, dictionary))?))
    }
}

impl Codec for Ndjson {
    fn seal(&mut self, items: &[Item]) -> anyhow::Result<Vec<u8>> {
        let mut lines = String::new();
        for item in items {
            lines.push_str(&item.line());
            lines.push('\n');
        }
        let mut block = lines.len().encode_var_vec();
        block.extend(self.0.seal(lines.as_bytes())?);
        Ok(block)
    }

    fn open(&mut self, bytes: &[u8], wanted: Wanted<'_>) -> anyhow::Result<Vec<Item>> {
        let (length, read) = usize::decode_var(bytes).context("a block has no length")?;
        let lines = self.0.open(&bytes[read..], length)?;
        let lines = std::str::from_utf8(&lines)?;
        match wanted {
            Wanted::All => lines.lines().map(parse).collect(),
            Wanted::Ids(ids) => {
                let lines: Vec<&str> = lines.lines().collect();
                ids.iter().filter_map(|id| find(&lines, *id)).map(parse).collect()
            }
        }
    }
}

/// The line of an id. Ids ascend, and hardly any is missing.
fn find<'l>(lines: &[&'l str], id: i64) -> Option<&'l str> {
    let place = lines.binary_search_by_key(&id, |line| id_of(line).unwrap_or(0)).ok()?;
    Some(lines[place])
}

/// The id of a line, without reading the rest. No text has an unescaped quote.
fn id_of(line: &str) -> Option<i64> {
    let (_, rest) = line.split_once(r#","id":"#)?;
    rest.split_once(',')?.0.parse().ok()
}

fn parse(line: &str) -> anyhow::Result<Item> {
    let line: Line<'_> = serde_json::from_str(line)?;
    let metadata = line.metadata.get().to_owned();
    // The session's id stands beside the metadata only if they do not show it.
    let session_id = match line.session_id {
        Some(id) => Some(id.into_owned()),
        None => session_of(&metadata),
    };
    let time = |text: &str| Timestamp::parse(text).context("not a time");
    let event = Event::from_store(EventFields {
        device_id: line.device_id.into_owned(),
        application_id: line.application_id.into_owned(),
        connection_type: line.connection_type.into_owned(),
        status: line.status.into_owned(),
        timestamp: time(line.timestamp)?,
        ip_address: line.ip_address,
        user_agent: line.user_agent.map(Cow::into_owned),
        duration: line.duration.map(|number| number.get().parse()).transpose()?,
        session_id,
        event_id: line.event_id.map(Cow::into_owned),
        metadata,
    });
    let nonce = line.nonce.map(|nonce| u128::from_str_radix(nonce, 16)).transpose()?;
    let record = Record { id: line.id, created_at: time(line.created_at)?, event };
    Ok(Item { record, nonce: nonce.map(u128::to_be_bytes) })
}

/// The session that metadata show: the same text that the core takes for one.
pub(super) fn session_of(metadata: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Session<'m> {
        #[serde(borrow)]
        session_id: Option<&'m RawValue>,
    }
    if !metadata.contains("\"session_id\":") {
        return None;
    }
    let session: Session<'_> = serde_json::from_str(metadata).ok()?;
    let text: String = serde_json::from_str(session.session_id?.get()).ok()?;
    let fits = (1..=SESSION_CHARS_MAX).contains(&text.chars().count());
    (fits && text != REDACTED).then_some(text)
}
