//! `GET /device_app_connection_log/stats/`: counts, failures, distinct devices and percentiles.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::{Method, Version, header};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::{
    Durations, GroupBy, Interval, SignalStrengths, StatisticsAnswer, StatisticsError,
    StatisticsQuery, StatisticsRow,
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::accept;
use crate::app::App;
use crate::auth::Reader;
use crate::events::query::{self, RFC3339};
use crate::pipe::{FedBody, feed};
use crate::problem::{Problem, ProblemKind};
use crate::query_string::QueryString;

/// How long a question waits for its turn, and a large answer for its own.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a large answer may take to be sent: at 30 MB, for a client that takes 100 KB a second.
const SENDING_TIME_MAX: Duration = Duration::from_mins(5);

/// Statistics of events.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct Statistics {
    /// As asked for.
    #[schema(required)]
    interval: Option<String>,
    /// In order of start and keys.
    results: Vec<StatisticsGroup>,
}

/// One group of events.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct StatisticsGroup {
    /// When the step in time begins; null without an interval.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    start: Option<String>,
    /// Where it is grouped by.
    #[schema(nullable = false)]
    application_id: Option<String>,
    /// Where it is grouped by.
    #[schema(nullable = false)]
    device_id: Option<String>,
    /// Where it is grouped by.
    #[schema(nullable = false)]
    connection_type: Option<String>,
    /// Where it is grouped by.
    #[schema(nullable = false)]
    status: Option<String>,
    /// Where it is grouped by; null for events without one.
    network_type: Option<String>,
    events: u64,
    /// Distinct devices.
    devices: u64,
    /// Events with another status than success.
    failures: u64,
    /// Failures among events, 0 to 1.
    failure_rate: f64,
    duration: DurationFigures,
    signal_strength: SignalFigures,
}

/// Of the durations in seconds; null where there is none. Percentiles are within 1 %.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
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

/// Of `metadata.signal_strength`, where it is a number. Percentiles are within 1 %.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct SignalFigures {
    count: u64,
    #[schema(required)]
    mean: Option<f64>,
    #[schema(required)]
    p10: Option<f64>,
}

/// Counts, failures, distinct devices and percentiles of events, in steps of time and by groups.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/stats/",
    tag = "Events",
    params(
        ("since" = Option<DateTime<Utc>>, Query, description = "Timestamps from here on"),
        ("until" = Option<DateTime<Utc>>, Query, description = "Timestamps before this"),
        ("interval" = Option<String>, Query,
            description = "1m, 5m, 1h or 1d; without, all time is one step"),
        ("group_by" = Option<Vec<String>>, Query, description = "Any of application_id, \
            device_id, connection_type, status, network_type; repeatable, or with commas"),
        ("device_id" = Option<Vec<String>>, Query, description = "Repeatable"),
        ("application_id" = Option<Vec<String>>, Query, description = "Repeatable"),
        ("connection_type" = Option<Vec<String>>, Query, description = "Repeatable"),
        ("status" = Option<Vec<String>>, Query, description = "Repeatable"),
    ),
    responses(
        (status = 200, description = "The figures", body = Statistics),
        (status = 400, description = "A parameter is unknown, has a value it does not take, or \
            the answer would be too large",
            body = crate::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn stats(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let asked = asked(QueryString::of(&request)?)?;
    accept::require(&request, "application/json")?;
    let app = App::of(&request);
    let Ok(Ok(place)) = timeout(PLACE_WAIT_MAX, app.statistics.acquire()).await else {
        return Err(Problem::new(
            ProblemKind::Overloaded,
            "too many statistics are being computed",
        )
        .with_header(header::RETRY_AFTER, "5"));
    };
    let answer = app
        .read(move |store| match store.statistics(caller.tenant(), &asked) {
            Ok(groups) => {
                let body = Body { interval: asked.interval, by: asked.group_by, groups };
                let first = body.part(0);
                Ok(Ok((body, first)))
            }
            Err(StatisticsError::Store(error)) => Err(error),
            Err(too_many) => Ok(Err(too_many.to_string())),
        })
        .await?;
    let (body, first) =
        answer.map_err(|detail| Problem::parameter("interval", "too_many", detail))?;
    let first = first.map_err(|error| Problem::internal(&error))?;
    drop(place);
    respond(&request, body, first).await
}

/// Sends what is small at once, and what is large as it is made: for a while, and a few at a time.
async fn respond(request: &HttpRequest, body: Body, first: Bytes) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json");
    if body.parts() == 1 {
        return Ok(response.body(first));
    }
    if request.method() == Method::HEAD {
        // Its length is not known before it is made.
        return Ok(response.streaming(stream::empty::<Result<Bytes, actix_web::Error>>()));
    }
    let places = App::of(request).statistics_sent.clone();
    let Ok(Ok(place)) = timeout(PLACE_WAIT_MAX, places.acquire_owned()).await else {
        return Err(Problem::new(
            ProblemKind::Overloaded,
            "too many large statistics are being sent",
        )
        .with_header(header::RETRY_AFTER, "30"));
    };
    let parts = stream::once(ready(Ok(first))).chain(rest(body));
    if request.version() < Version::HTTP_11 {
        // Its clients know no chunks (RFC 9112, section 6.1).
        let whole: Vec<Bytes> =
            parts.try_collect().await.map_err(|error| Problem::internal(&error))?;
        let length = whole.iter().map(|part| part.len() as u64).sum();
        let parts = sent(stream::iter(whole.into_iter().map(Ok)), place);
        return Ok(response.body(SizedStream::new(length, parts)));
    }
    Ok(response.streaming(sent(parts, place)))
}

/// A body of those parts. The place is kept until the last of them waits alone, or the client has taken
/// too long: then the body breaks off.
fn sent(
    parts: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static,
    place: OwnedSemaphorePermit,
) -> FedBody {
    let (feed, body) = feed(1);
    let request_id = crate::request_id::current();
    let sending = async move {
        let mut parts = pin!(parts);
        while let Some(part) = parts.next().await {
            feed.send(part?).await?;
        }
        feed.end();
        Ok::<(), actix_web::Error>(())
    };
    actix_web::rt::spawn(async move {
        let _place = place;
        match timeout(SENDING_TIME_MAX, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("{request_id}: statistics ended early: {error}"),
            Err(_) => log::warn!("{request_id}: statistics ended early: taken too slowly"),
        }
    });
    body
}

/// The parts of a body after its first, written off the workers, two at a time; a client that takes none
/// has no more than a few of them waiting.
fn rest(body: Body) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let (parts, body) = (body.parts(), Arc::new(body));
    let written = stream::iter(1..parts).map(move |part| {
        let body = Arc::clone(&body);
        // Begun when it is asked for.
        async move { Ok(web::block(move || body.part(part)).await??) }
    });
    written.buffered(2)
}

fn asked(mut parameters: QueryString) -> Result<StatisticsQuery, Problem> {
    let filter = StatisticsQuery {
        since: parameters.read("since", RFC3339, Timestamp::parse)?,
        until: parameters.read("until", RFC3339, Timestamp::parse)?,
        device_ids: query::repeatable(&mut parameters, "device_id")?,
        application_ids: query::repeatable(&mut parameters, "application_id")?,
        connection_types: query::repeatable(&mut parameters, "connection_type")?,
        statuses: query::repeatable(&mut parameters, "status")?,
        interval: parameters.read("interval", "1m, 5m, 1h or 1d", interval_of)?,
        group_by: group_by(&mut parameters)?,
    };
    parameters.finish()?;
    Ok(filter)
}

fn interval_of(text: &str) -> Option<Interval> {
    match text {
        "1m" => Some(Interval::Minute),
        "5m" => Some(Interval::FiveMinutes),
        "1h" => Some(Interval::Hour),
        "1d" => Some(Interval::Day),
        _ => None,
    }
}

fn name_of(interval: Interval) -> &'static str {
    match interval {
        Interval::Minute => "1m",
        Interval::FiveMinutes => "5m",
        Interval::Hour => "1h",
        Interval::Day => "1d",
    }
}

fn group_by(parameters: &mut QueryString) -> Result<GroupBy, Problem> {
    let mut by = GroupBy::default();
    for name in parameters.all("group_by").iter().flat_map(|names| names.split(',')) {
        match name {
            "application_id" => by.application_id = true,
            "device_id" => by.device_id = true,
            "connection_type" => by.connection_type = true,
            "status" => by.status = true,
            "network_type" => by.network_type = true,
            _ => {
                let detail = "any of application_id, device_id, connection_type, status and \
                    network_type";
                return Err(Problem::parameter("group_by", "invalid_value", detail));
            }
        }
    }
    Ok(by)
}

/// Groups in one part of a body: some 150 KB of JSON.
const PART_GROUPS: usize = 500;

/// Bytes of one group's JSON, roughly.
const GROUP_BYTES: usize = 320;

/// An answer's JSON, which is made in parts: there may be a hundred thousand groups.
struct Body {
    interval: Option<Interval>,
    by: GroupBy,
    groups: StatisticsAnswer,
}

impl Body {
    /// How many parts there are, 1 or more.
    fn parts(&self) -> usize {
        self.groups.len().div_ceil(PART_GROUPS).max(1)
    }

    /// One of them, counted from 0.
    fn part(&self, index: usize) -> Result<Bytes, serde_json::Error> {
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
            serde_json::to_writer(&mut json, &Row(self.by, row))?;
        }
        if index + 1 == self.parts() {
            json.extend_from_slice(b"]}");
        }
        Ok(json.into())
    }
}

struct Row<'a>(GroupBy, StatisticsRow<'a>);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row(by, row) = self;
        let figures = row.figures;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("start", &row.start)?;
        let keys = [
            (by.application_id, "application_id", row.application_id),
            (by.device_id, "device_id", row.device_id),
            (by.connection_type, "connection_type", row.connection_type),
            (by.status, "status", row.status),
            (by.network_type, "network_type", row.network_type),
        ];
        for (_, name, value) in keys.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
            members.serialize_entry(name, &value)?;
        }
        members.serialize_entry("events", &figures.events)?;
        members.serialize_entry("devices", &figures.devices)?;
        members.serialize_entry("failures", &figures.failures)?;
        members.serialize_entry("failure_rate", &rate(figures.failures, figures.events))?;
        members.serialize_entry("duration", &OfDurations(figures.duration))?;
        members.serialize_entry("signal_strength", &OfSignals(figures.signal_strength))?;
        members.end()
    }
}

struct OfDurations(Durations);

impl Serialize for OfDurations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(5))?;
        members.serialize_entry("count", &self.0.count)?;
        members.serialize_entry("mean", &self.0.mean.map(rounded))?;
        members.serialize_entry("p50", &self.0.p50.map(rounded))?;
        members.serialize_entry("p95", &self.0.p95.map(rounded))?;
        members.serialize_entry("p99", &self.0.p99.map(rounded))?;
        members.end()
    }
}

struct OfSignals(SignalStrengths);

impl Serialize for OfSignals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(3))?;
        members.serialize_entry("count", &self.0.count)?;
        members.serialize_entry("mean", &self.0.mean.map(rounded))?;
        members.serialize_entry("p10", &self.0.p10.map(rounded))?;
        members.end()
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 events")]
fn rate(failures: u64, events: u64) -> f64 {
    if events == 0 { 0.0 } else { rounded(failures as f64 / events as f64) }
}

/// To a millionth: beyond it digits only say how the sum was made. Tiny values keep theirs.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if value.abs() < 1e-3 || !rounded.is_finite() { value } else { rounded }
}
