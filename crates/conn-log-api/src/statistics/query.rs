//! From query parameters to the figures that are asked for.

use conn_log_core::Timestamp;
use conn_log_store::{GroupBy, Interval, StatisticsQuery};

use crate::http::problem::Problem;
use crate::http::query_string::QueryString;
use crate::log::query::{self, RFC3339};

/// What a request asks for.
pub(super) fn of(mut parameters: QueryString) -> Result<StatisticsQuery, Problem> {
    let asked = StatisticsQuery {
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
    Ok(asked)
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

/// An interval as a request names it.
pub(super) fn name_of(interval: Interval) -> &'static str {
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
