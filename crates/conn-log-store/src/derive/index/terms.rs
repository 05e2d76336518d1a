//! Keys of the index: the keys of an event, and the ranges of keys that a filter needs.
//!
//! A key is one byte for its kind and then the value, so that keys sort in the order of the values:
//! a text ends with a zero byte (no text in the log contains one), addresses and instants have a
//! fixed length.

use std::net::IpAddr;

use conn_log_core::{EventFilter, Timestamp};

/// The kinds of keys. Each kind serves a query that the log exists for; the numbers are stored on
/// disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// All events of one device.
    Device = 1,
    /// All events of one session.
    Session = 2,
    /// Application and then status: finds an application's failures, or all of its events.
    Application = 3,
    /// Address family and then bytes: a block of addresses is a range.
    Address = 4,
    /// The instant: for lists in order of time, and for the ends of time windows.
    Time = 5,
    /// The half-hour period: windows of more than [`PERIOD_MICROS`] use it between their ends to
    /// list events by id, in an eighth of the bytes.
    Period = 6,
}

pub(super) fn device(key: &mut Vec<u8>, device: &str) {
    key.push(Kind::Device as u8);
    text(key, device);
}

pub(super) fn session(key: &mut Vec<u8>, session: &str) {
    key.push(Kind::Session as u8);
    text(key, session);
}

pub(super) fn application(key: &mut Vec<u8>, application: &str, status: Option<&str>) {
    key.push(Kind::Application as u8);
    text(key, application);
    if let Some(status) = status {
        text(key, status);
    }
}

pub(super) fn address(key: &mut Vec<u8>, address: IpAddr) {
    key.push(Kind::Address as u8);
    match address {
        IpAddr::V4(address) => {
            key.push(4);
            key.extend(address.octets());
        }
        IpAddr::V6(address) => {
            key.push(6);
            key.extend(address.octets());
        }
    }
}

/// With the sign bit flipped, the order of bytes is the order of time.
const SIGN: u64 = 1 << 63;

pub(super) fn time(key: &mut Vec<u8>, time: Timestamp) {
    key.push(Kind::Time as u8);
    key.extend((time.micros().cast_unsigned() ^ SIGN).to_be_bytes());
}

/// A little more than half an hour, and a power of two.
const PERIOD_BITS: u32 = 31;
const PERIOD_MICROS: i64 = 1 << PERIOD_BITS;

pub(super) fn period(key: &mut Vec<u8>, time: Timestamp) {
    period_key(key, time.micros() >> PERIOD_BITS);
}

fn period_key(key: &mut Vec<u8>, number: i64) {
    key.push(Kind::Period as u8);
    key.extend((number.cast_unsigned() ^ SIGN).to_be_bytes());
}

/// The instant in a key of that kind.
pub(super) fn time_of(key: &[u8]) -> Option<Timestamp> {
    let (&kind, bytes) = key.split_first()?;
    let bytes: [u8; 8] = bytes.try_into().ok()?;
    (kind == Kind::Time as u8)
        .then(|| Timestamp::from_micros((u64::from_be_bytes(bytes) ^ SIGN).cast_signed()))
}

fn text(key: &mut Vec<u8>, text: &str) {
    key.extend(text.as_bytes());
    key.push(0);
}

/// Keys from `from` up to and not including `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
}

impl KeyRange {
    /// All keys with that prefix: after a whole value all bytes of keys are below 0xff.
    fn prefix(from: Vec<u8>) -> Self {
        let mut to = from.clone();
        to.push(0xff);
        KeyRange { from, to }
    }
}

/// One condition of a filter: exactly the events with any of these keys meet it.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    pub(super) is_time: bool,
    pub(super) ranges: Vec<KeyRange>,
}

/// The conditions of a filter that the index can check; an event must meet all of them. Empty if
/// the index cannot check any.
pub(super) fn dimensions(filter: &EventFilter) -> Vec<Dimension> {
    let mut all = Vec::new();
    let mut add = |mut ranges: Vec<KeyRange>| {
        // A value that is given twice is looked up once.
        ranges.sort_unstable_by(|a, b| a.from.cmp(&b.from));
        ranges.dedup();
        all.push(Dimension { is_time: false, ranges });
    };
    if let Some(value) = &filter.session_id {
        add(keys(std::slice::from_ref(value), session));
    }
    if !filter.device_ids.is_empty() {
        add(keys(&filter.device_ids, device));
    }
    if !filter.application_ids.is_empty() {
        add(application_keys(filter));
    }
    if let Some(block) = filter.ip_network {
        let (mut from, mut to) = (Vec::new(), Vec::new());
        address(&mut from, block.network());
        address(&mut to, block.broadcast());
        // After the last address and its ids.
        to.push(0xff);
        add(vec![KeyRange { from, to }]);
    }
    if filter.since.is_some() || filter.until.is_some() {
        all.push(Dimension { is_time: true, ranges: time_keys(filter) });
    }
    all
}

/// The keys of all instants that pass a filter.
pub(super) fn window(filter: &EventFilter) -> KeyRange {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    time(&mut from, filter.since.unwrap_or(Timestamp::MIN));
    match filter.until {
        Some(until) => time(&mut to, until),
        None => to.push(Kind::Time as u8 + 1),
    }
    KeyRange { from, to }
}

/// Keys for whole periods by their ids, and for the rest at both ends by instant.
fn time_keys(filter: &EventFilter) -> Vec<KeyRange> {
    let since = filter.since.unwrap_or(Timestamp::MIN).micros();
    let until = filter.until.map_or(i64::MAX, Timestamp::micros);
    let first = (since + PERIOD_MICROS - 1) >> PERIOD_BITS;
    let end = until >> PERIOD_BITS;
    if first >= end {
        return vec![window(filter)];
    }
    let whole = window(filter);
    let (mut from, mut to) = (Vec::new(), Vec::new());
    period_key(&mut from, first);
    period_key(&mut to, end);
    let (mut first_whole, mut last_whole) = (Vec::new(), Vec::new());
    time(&mut first_whole, Timestamp::from_micros(first << PERIOD_BITS));
    time(&mut last_whole, Timestamp::from_micros(end << PERIOD_BITS));
    let mut ranges = vec![
        KeyRange { from: whole.from, to: first_whole },
        KeyRange { from, to },
        KeyRange { from: last_whole, to: whole.to },
    ];
    ranges.retain(|range| range.from < range.to);
    ranges
}

fn application_keys(filter: &EventFilter) -> Vec<KeyRange> {
    if filter.statuses.is_empty() {
        return keys(&filter.application_ids, |key, id| application(key, id, None));
    }
    let keys_of = |status: &String| {
        keys(&filter.application_ids, |key, id| application(key, id, Some(status)))
    };
    possible(&filter.statuses).flat_map(keys_of).collect()
}

fn keys(values: &[String], write: impl Fn(&mut Vec<u8>, &str)) -> Vec<KeyRange> {
    let key = |value: &String| {
        let mut key = Vec::new();
        write(&mut key, value);
        KeyRange::prefix(key)
    };
    possible(values).map(key).collect()
}

/// The values that can match: no event has a text with U+0000.
fn possible(values: &[String]) -> impl Iterator<Item = &String> {
    values.iter().filter(|value| !value.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_sort_as_keys_do() {
        let times = [-5, 0, 7, 1_700_000_000_000_000].map(Timestamp::from_micros);
        let key = |of: Timestamp| {
            let mut key = Vec::new();
            time(&mut key, of);
            key
        };
        assert!(times.map(key).is_sorted());
        assert_eq!(times.map(|time| time_of(&key(time)).unwrap()), times);
    }

    #[test]
    fn a_name_is_not_found_by_its_prefix() {
        let filter = EventFilter { device_ids: vec!["dev".into()], ..EventFilter::default() };
        let range = &dimensions(&filter)[0].ranges[0];
        let mut other = Vec::new();
        device(&mut other, "dev_1");
        assert!(!(range.from <= other && other < range.to));
    }
}
