//! Keys of the index: what an event is found by, and the ranges of keys that a filter asks for.
//!
//! A key is a byte for its kind and then the value, so that keys sort as the values do: texts end
//! in a zero byte (no text in the log holds one), addresses and instants have a fixed length.

use std::net::IpAddr;

use conn_log_core::{EventFilter, Timestamp};

/// What an event is found by. Each is here for a query that the log exists for; the numbers are on
/// disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// What one device did.
    Device = 1,
    /// What belongs to one session.
    Session = 2,
    /// Application and then status: an application's failures, or all of it.
    Application = 3,
    /// Family and then bytes: a block of addresses is a range.
    Address = 4,
    /// Orders of time, and the ends of its windows.
    Time = 5,
    /// What lies between the ends: windows of more than [`PERIOD_MICROS`] have it listed by id, in
    /// an eighth of the bytes.
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

/// Flipping the sign's bit makes the order of bytes the order of time.
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

/// The instant of a key of that kind.
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
    /// Every key that begins so: all keys' bytes after a whole value are below 0xff.
    fn prefix(from: Vec<u8>) -> Self {
        let mut to = from.clone();
        to.push(0xff);
        KeyRange { from, to }
    }
}

/// One way to find a filter's events: any of these keys, and no other event has them.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    pub(super) is_time: bool,
    pub(super) ranges: Vec<KeyRange>,
}

/// The ways to find a filter's events; an event must be in all of them. None for a filter that the
/// index knows nothing about.
pub(super) fn dimensions(filter: &EventFilter) -> Vec<Dimension> {
    let mut all = Vec::new();
    let mut add = |mut ranges: Vec<KeyRange>| {
        // Whoever names a value twice has it looked up once.
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
        // Behind the last address and its ids.
        to.push(0xff);
        add(vec![KeyRange { from, to }]);
    }
    if filter.since.is_some() || filter.until.is_some() {
        all.push(Dimension { is_time: true, ranges: time_keys(filter) });
    }
    all
}

/// The keys of all instants that a filter lets through.
pub(super) fn window(filter: &EventFilter) -> KeyRange {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    time(&mut from, filter.since.unwrap_or(Timestamp::MIN));
    match filter.until {
        Some(until) => time(&mut to, until),
        None => to.push(Kind::Time as u8 + 1),
    }
    KeyRange { from, to }
}

/// Whole periods by their ids, and what sticks out of them at both ends by instant.
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

/// A text with U+0000 is in no event.
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
    fn a_name_is_not_found_by_what_it_begins_with() {
        let filter = EventFilter { device_ids: vec!["dev".into()], ..EventFilter::default() };
        let range = &dimensions(&filter)[0].ranges[0];
        let mut other = Vec::new();
        device(&mut other, "dev_1");
        assert!(!(range.from <= other && other < range.to));
    }
}
