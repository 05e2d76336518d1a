//! Parses query parameters into a statistics query.

use conn_log_core::Timestamp;
use conn_log_store::{Figure, GroupBy, Interval, STATISTICS_ROWS_MAX, Sort, StatisticsQuery};

use crate::http::problem::Problem;
use crate::http::query_string::QueryString;
use crate::log::query::{self, RFC3339_IN_QUERY};

/// Parses a request's parameters.
pub(super) fn of(mut parameters: QueryString) -> Result<StatisticsQuery, Problem> {
    let asked = StatisticsQuery {
        since: parameters.read("since", RFC3339_IN_QUERY, Timestamp::parse)?,
        until: parameters.read("until", RFC3339_IN_QUERY, Timestamp::parse)?,
        device_ids: query::repeatable(&mut parameters, "device_id")?,
        application_ids: query::repeatable(&mut parameters, "application_id")?,
        connection_types: query::repeatable(&mut parameters, "connection_type")?,
        statuses: query::repeatable(&mut parameters, "status")?,
        interval: parameters.read("interval", "1m, 5m, 15m, 1h, 1d, 1w or 1mo", interval_of)?,
        timezone: parameters.parsed("timezone", ZONE)?.unwrap_or_default(),
        group_by: group_by(&mut parameters)?,
        sort: sort(&mut parameters)?,
    };
    parameters.finish()?;
    Ok(asked)
}

fn interval_of(text: &str) -> Option<Interval> {
    match text {
        "1m" => Some(Interval::Minute),
        "5m" => Some(Interval::FiveMinutes),
        "15m" => Some(Interval::QuarterHour),
        "1h" => Some(Interval::Hour),
        "1d" => Some(Interval::Day),
        "1w" => Some(Interval::Week),
        "1mo" => Some(Interval::Month),
        _ => None,
    }
}

/// The name of an interval in a request.
pub(super) fn name_of(interval: Interval) -> &'static str {
    match interval {
        Interval::Minute => "1m",
        Interval::FiveMinutes => "5m",
        Interval::QuarterHour => "15m",
        Interval::Hour => "1h",
        Interval::Day => "1d",
        Interval::Week => "1w",
        Interval::Month => "1mo",
    }
}

const ZONE: &str = "the name of a time zone in the IANA database, such as UTC or Europe/Berlin";

const SORT: &str =
    "events, failures, failure_rate or devices, the largest first with a minus before";

/// The sort order of the groups, and the maximum number of groups.
fn sort(parameters: &mut QueryString) -> Result<Option<Sort>, Problem> {
    let sort = parameters.read("sort", SORT, sort_of)?;
    let read =
        |text: &str| text.parse().ok().filter(|limit| (1..=STATISTICS_ROWS_MAX).contains(limit));
    let limit = parameters.read("limit", "a whole number from 1 to 100,000", read)?;
    match (sort, limit) {
        (None, Some(_)) => Err(Problem::parameter("limit", "conflict", "goes with sort only")),
        (sort, limit) => Ok(sort.map(|sort| Sort { limit, ..sort })),
    }
}

fn sort_of(text: &str) -> Option<Sort> {
    let (figure, descending) = match text.strip_prefix('-') {
        Some(figure) => (figure, true),
        None => (text, false),
    };
    let by = match figure {
        "events" => Figure::Events,
        "failures" => Figure::Failures,
        "failure_rate" => Figure::FailureRate,
        "devices" => Figure::Devices,
        _ => return None,
    };
    Some(Sort { by, descending, limit: None })
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
