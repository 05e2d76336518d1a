//! The answer's JSON, made in parts because there may be a hundred thousand groups.

use actix_web::web::Bytes;
use conn_log_core::Timestamp;
use conn_log_store::{
    Durations, GroupBy, Interval, SignalStrengths, StatisticsAnswer, StatisticsRow,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::name_of;

/// Statistics of events.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described: a Body is written in parts")]
pub(crate) struct Statistics<'a> {
    /// The interval of the request.
    #[schema(required)]
    interval: Option<IntervalName>,
    /// In order of start, and of keys or as asked for.
    results: Vec<StatisticsGroup<'a>>,
}

/// The names of intervals.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) enum IntervalName {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "15m")]
    QuarterHour,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
    #[serde(rename = "1w")]
    Week,
    #[serde(rename = "1mo")]
    Month,
}

/// The keys of groups.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupKey {
    ApplicationId,
    DeviceId,
    ConnectionType,
    Status,
    NetworkType,
}

/// The figures that groups are sorted by, the largest first with a minus.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) enum SortName {
    #[serde(rename = "-events")]
    MostEvents,
    #[serde(rename = "events")]
    FewestEvents,
    #[serde(rename = "-failures")]
    MostFailures,
    #[serde(rename = "failures")]
    FewestFailures,
    #[serde(rename = "-failure_rate")]
    HighestFailureRate,
    #[serde(rename = "failure_rate")]
    LowestFailureRate,
    #[serde(rename = "-devices")]
    MostDevices,
    #[serde(rename = "devices")]
    FewestDevices,
}

/// One group of events.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatisticsGroup<'a> {
    /// The start of the time interval, in UTC; null without an interval.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    start: Option<Timestamp>,
    /// Only if the request groups by it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a str>,
    /// Only if the request groups by it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    /// Only if the request groups by it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_type: Option<&'a str>,
    /// Only if the request groups by it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    /// Only if the request groups by it; null for events without one.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    network_type: Option<Option<&'a str>>,
    events: u64,
    /// Distinct devices.
    devices: u64,
    /// Events with another status than success.
    failures: u64,
    /// The share of failures in the events, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    failure_rate: f64,
    duration: DurationFigures,
    signal_strength: SignalFigures,
}

/// Figures of the durations, in seconds; null if no event has one. Percentiles are within 1 %.
#[derive(Serialize, ToSchema)]
pub(crate) struct DurationFigures {
    count: u64,
    #[schema(required)]
    mean: Option<f64>,
    #[schema(required)]
    p50: Option<f64>,
    #[schema(required)]
    p95: Option<f64>,
    #[schema(required)]
    p99: Option<f64>,
}

/// Figures of `metadata.signal_strength`, if it is a number. Percentiles are within 1 %.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignalFigures {
    count: u64,
    #[schema(required)]
    mean: Option<f64>,
    #[schema(required)]
    p10: Option<f64>,
}

impl<'a> StatisticsGroup<'a> {
    fn of(by: GroupBy, row: StatisticsRow<'a>) -> Self {
        let figures = row.figures;
        StatisticsGroup {
            start: row.start,
            application_id: row.application_id,
            device_id: row.device_id,
            connection_type: row.connection_type,
            status: row.status,
            network_type: by.network_type.then_some(row.network_type),
            events: figures.events,
            devices: figures.devices,
            failures: figures.failures,
            failure_rate: rate(figures.failures, figures.events),
            duration: figures.duration.into(),
            signal_strength: figures.signal_strength.into(),
        }
    }
}

impl From<Durations> for DurationFigures {
    fn from(durations: Durations) -> Self {
        DurationFigures {
            count: durations.count,
            mean: durations.mean.map(rounded),
            p50: durations.p50.map(rounded),
            p95: durations.p95.map(rounded),
            p99: durations.p99.map(rounded),
        }
    }
}

impl From<SignalStrengths> for SignalFigures {
    fn from(strengths: SignalStrengths) -> Self {
        SignalFigures {
            count: strengths.count,
            mean: strengths.mean.map(rounded),
            p10: strengths.p10.map(rounded),
        }
    }
}

/// Groups in one part of a body: some 150 KB of JSON.
const PART_GROUPS: usize = 500;

/// Bytes of one group's JSON, roughly.
const GROUP_BYTES: usize = 320;

/// An answer's JSON, made in parts because there may be a hundred thousand groups.
pub(super) struct Body {
    pub(super) interval: Option<Interval>,
    pub(super) by: GroupBy,
    pub(super) groups: StatisticsAnswer,
}

impl Body {
    /// The number of parts, 1 or more.
    pub(super) fn parts(&self) -> usize {
        self.groups.len().div_ceil(PART_GROUPS).max(1)
    }

    /// The part at `index`, counted from 0.
    pub(super) fn part(&self, index: usize) -> Result<Bytes, serde_json::Error> {
        let places = index * PART_GROUPS..(index + 1) * PART_GROUPS;
        let mut json = Vec::with_capacity(64 + PART_GROUPS.min(self.groups.len()) * GROUP_BYTES);
        if index == 0 {
            json.extend_from_slice(b"{\"interval\":");
            serde_json::to_writer(&mut json, &self.interval.map(name_of))?;
            json.extend_from_slice(b",\"results\":[");
        }
        for (place, row) in places.clone().zip(self.groups.rows(places)) {
            if place > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &StatisticsGroup::of(self.by, row))?;
        }
        if index + 1 == self.parts() {
            json.extend_from_slice(b"]}");
        }
        Ok(json.into())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 events")]
fn rate(failures: u64, events: u64) -> f64 {
    if events == 0 { 0.0 } else { rounded(failures as f64 / events as f64) }
}

/// Rounds to a millionth: further digits depend only on how the sum was made. Tiny values keep
/// theirs.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if value.abs() < 1e-3 || !rounded.is_finite() { value } else { rounded }
}
