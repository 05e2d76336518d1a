//! Computes statistics from all rows in the simplest way, and compares them with the store's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike as _, Offset as _, Timelike as _, Utc};
use chrono_tz::Tz;
use conn_log_core::{EventFields, Record, Timestamp};
use conn_log_store::{Figure, GroupBy, Interval, Sort, StatisticsQuery, StatisticsRow, Store};
use conn_log_test_support::DEFAULT;
use proptest::prelude::*;

use super::reference;
use super::scenario::at;

pub(crate) fn query() -> impl Strategy<Value = StatisticsQuery> {
    let interval = prop::option::of(prop::sample::select(
        &[
            Interval::Minute,
            Interval::FiveMinutes,
            Interval::QuarterHour,
            Interval::Hour,
            Interval::Day,
            Interval::Week,
            Interval::Month,
        ][..],
    ));
    let zone = prop::sample::select(
        &["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"][..],
    );
    let time = || prop::option::of((-600..12_000_i64).prop_map(at));
    let by = any::<[bool; 5]>().prop_map(|by| GroupBy {
        application_id: by[0],
        device_id: by[1] && by[2],
        connection_type: by[2],
        status: by[3] && by[2],
        network_type: by[4],
    });
    let some = |names: &'static [&'static str]| {
        prop::option::weighted(0.3, prop::sample::subsequence(names, 1..=2)).prop_map(|names| {
            names.unwrap_or_default().into_iter().map(str::to_owned).collect::<Vec<_>>()
        })
    };
    let filters = (
        some(&["dev_0", "dev_1", "nobody"]),
        some(&["app_0", "app_1"]),
        some(&["established", "terminated"]),
        some(&["success", "timeout"]),
    );
    (interval, zone, time(), time(), by, filters, prop::option::of(sort())).prop_map(
        |(interval, zone, since, until, group_by, filters, sort)| StatisticsQuery {
            since,
            until,
            device_ids: filters.0,
            application_ids: filters.1,
            connection_types: filters.2,
            statuses: filters.3,
            interval,
            timezone: zone.parse().unwrap(),
            group_by,
            sort,
        },
    )
}

fn sort() -> impl Strategy<Value = Sort> {
    let by = prop::sample::select(
        &[Figure::Events, Figure::Failures, Figure::FailureRate, Figure::Devices][..],
    );
    (by, any::<bool>(), prop::option::of(1..4_usize)).prop_map(|(by, descending, limit)| Sort {
        by,
        descending,
        limit,
    })
}

/// The question whose answer is stored ready: a random question is hardly ever this one.
pub(crate) fn by_hour_and_application() -> StatisticsQuery {
    StatisticsQuery {
        interval: Some(Interval::Hour),
        group_by: GroupBy { application_id: true, ..GroupBy::default() },
        ..StatisticsQuery::default()
    }
}

/// A quarter of an hour in microseconds.
const QUARTER: i64 = 900_000_000;

/// The start of an instant's step. Checks every earlier quarter of an hour: the step starts with
/// the first one in a row that has the same local date or hour. Clocks change only at whole
/// quarters here.
fn start_of(interval: Interval, zone: Tz, at: Timestamp) -> Timestamp {
    let local =
        |micros: i64| DateTime::<Utc>::from(Timestamp::from_micros(micros)).with_timezone(&zone);
    let shown = |micros: i64| {
        let local = local(micros);
        let (date, hour, offset) = (local.date_naive(), local.hour(), local.offset().fix());
        match interval {
            Interval::Hour => format!("{date} {hour} {offset}"),
            Interval::Day => format!("{date}"),
            Interval::Week => format!("{:?}", date.iso_week()),
            Interval::Month => format!("{} {}", date.year(), date.month()),
            Interval::Minute | Interval::FiveMinutes | Interval::QuarterHour => String::new(),
        }
    };
    let floor = |width: i64| at.micros().div_euclid(width) * width;
    let mut start = match interval {
        Interval::Minute => return Timestamp::from_micros(floor(60_000_000)),
        Interval::FiveMinutes => return Timestamp::from_micros(floor(5 * 60_000_000)),
        Interval::QuarterHour => return Timestamp::from_micros(floor(QUARTER)),
        Interval::Hour | Interval::Day | Interval::Week | Interval::Month => floor(QUARTER),
    };
    while shown(start - QUARTER) == shown(start) {
        start -= QUARTER;
    }
    Timestamp::from_micros(start)
}

fn network_type(parts: &EventFields) -> Option<String> {
    let metadata: serde_json::Value = serde_json::from_str(&parts.metadata).unwrap();
    metadata.get("network_type")?.as_str().map(str::to_owned)
}

fn signal(parts: &EventFields) -> Option<f64> {
    let metadata: serde_json::Value = serde_json::from_str(&parts.metadata).unwrap();
    metadata.get("signal_strength")?.as_f64()
}

type Key = (Option<Timestamp>, [Option<String>; 5]);

fn groups<'a>(
    records: &'a [Record],
    query: &StatisticsQuery,
) -> BTreeMap<Key, Vec<&'a EventFields>> {
    let zone: Tz = query.timezone.to_string().parse().unwrap();
    // Finding a start takes a while, and events in the same quarter of an hour share it.
    let mut starts: BTreeMap<i64, Timestamp> = BTreeMap::new();
    let mut start_of = |interval, at: Timestamp| match interval {
        Interval::Minute | Interval::FiveMinutes | Interval::QuarterHour => {
            start_of(interval, zone, at)
        }
        _ => *starts
            .entry(at.micros().div_euclid(QUARTER))
            .or_insert_with(|| start_of(interval, zone, at)),
    };
    let any = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    let mut groups: BTreeMap<Key, Vec<&EventFields>> = BTreeMap::new();
    for (_, parts) in reference::all(records) {
        if query.since.is_some_and(|since| parts.timestamp < since)
            || query.until.is_some_and(|until| parts.timestamp >= until)
            || !any(&query.device_ids, &parts.device_id)
            || !any(&query.application_ids, &parts.application_id)
            || !any(&query.connection_types, &parts.connection_type)
            || !any(&query.statuses, &parts.status)
        {
            continue;
        }
        let start = query.interval.map(|interval| start_of(interval, parts.timestamp));
        let by = query.group_by;
        let key = [
            by.application_id.then(|| parts.application_id.clone()),
            by.device_id.then(|| parts.device_id.clone()),
            by.connection_type.then(|| parts.connection_type.clone()),
            by.status.then(|| parts.status.clone()),
            by.network_type.then(|| network_type(parts)).flatten(),
        ];
        groups.entry((start, key)).or_default().push(parts);
    }
    groups
}

type Groups<'a> = Vec<(Key, Vec<&'a EventFields>)>;

/// Groups as in an answer: only the first ones of each step, if the question asks for that.
fn in_order<'a>(groups: BTreeMap<Key, Vec<&'a EventFields>>, sort: Option<Sort>) -> Groups<'a> {
    let mut groups: Groups<'a> = groups.into_iter().collect();
    let Some(sort) = sort else { return groups };
    let figure = |parts: &[&EventFields]| {
        let failures = parts.iter().filter(|parts| parts.status != "success").count() as f64;
        let devices: BTreeSet<&str> = parts.iter().map(|parts| parts.device_id.as_str()).collect();
        let figure = match sort.by {
            Figure::Events => parts.len() as f64,
            Figure::Failures => failures,
            Figure::FailureRate => failures / parts.len() as f64,
            Figure::Devices => devices.len() as f64,
        };
        if sort.descending { -figure } else { figure }
    };
    groups.sort_by(|(one, of_one), (other, of_other)| {
        let order = one.0.cmp(&other.0);
        order.then(figure(of_one).total_cmp(&figure(of_other))).then(one.1.cmp(&other.1))
    });
    let mut places: BTreeMap<Option<Timestamp>, usize> = BTreeMap::new();
    groups.retain(|((start, _), _)| {
        let place = places.entry(*start).or_default();
        *place += 1;
        sort.limit.is_none_or(|limit| *place <= limit)
    });
    groups
}

/// Checks that the store's answer to one question equals the simple one.
pub(crate) fn check(
    store: &Store,
    records: &[Record],
    query: &StatisticsQuery,
) -> Result<(), TestCaseError> {
    let found = store.statistics(DEFAULT, query).unwrap();
    let expected = in_order(groups(records, query), query.sort);
    let keys: Vec<Key> = found.rows(0..found.len()).map(key_of).collect();
    let expected_keys: Vec<Key> = expected.iter().map(|(key, _)| key.clone()).collect();
    prop_assert_eq!(keys, expected_keys, "{:?}", query);
    for (row, (_, parts)) in found.rows(0..found.len()).zip(&expected) {
        let figures = row.figures;
        let devices: BTreeSet<&str> = parts.iter().map(|parts| parts.device_id.as_str()).collect();
        let failures = parts.iter().filter(|parts| parts.status != "success").count();
        let counts = (figures.events, figures.devices, figures.failures);
        let expected = (parts.len() as u64, devices.len() as u64, failures as u64);
        prop_assert_eq!(counts, expected, "{:?} {:?}", query, row);
        let durations: Vec<f64> = parts.iter().filter_map(|parts| parts.duration).collect();
        let signals: Vec<f64> = parts.iter().filter_map(|parts| signal(parts)).collect();
        let (duration, strength) = (figures.duration, figures.signal_strength);
        prop_assert_eq!(duration.count, durations.len() as u64);
        prop_assert_eq!(strength.count, signals.len() as u64);
        let shares = [(0.5, duration.p50), (0.95, duration.p95), (0.99, duration.p99)];
        for (share, found) in shares {
            prop_assert!(is_near(found, quantile(&durations, share)), "{:?} {:?}", query, row);
        }
        prop_assert!(is_near(strength.p10, quantile(&signals, 0.1)), "{:?} {:?}", query, row);
        prop_assert!(is_near(duration.mean, mean(&durations)));
        prop_assert!(is_near(strength.mean, mean(&signals)));
    }
    Ok(())
}

fn key_of(row: StatisticsRow<'_>) -> Key {
    let keys =
        [row.application_id, row.device_id, row.connection_type, row.status, row.network_type];
    (row.start, keys.map(|key| key.map(str::to_owned)))
}

fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = share * values.len().checked_sub(1)? as f64;
    let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    Some(low + (high - low) * rank.fract())
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Whether a value is within the accuracy of the sketch.
fn is_near(found: Option<f64>, exact: Option<f64>) -> bool {
    match (found, exact) {
        (Some(found), Some(exact)) => (found - exact).abs() <= exact.abs() * 0.0101 + 1e-6,
        (found, exact) => found.is_none() && exact.is_none(),
    }
}
