//! From query parameters to the events that are asked for.

use std::net::IpAddr;

use conn_log_core::{EventFilter, MetadataFilter, Order, Timestamp};
use ipnet::IpNet;

use crate::http::problem::Problem;
use crate::http::query_string::QueryString;

/// Values of one repeatable filter at most: each is a branch of the query.
const VALUES_MAX: usize = 100;

/// `metadata.<path>=<value>` filters at most, each looked for in every event that is left.
const METADATA_FILTERS_MAX: usize = 8;

/// Takes the filters out of a query string.
pub(crate) fn filter(query: &mut QueryString) -> Result<EventFilter, Problem> {
    let filter = EventFilter {
        device_ids: repeatable(query, "device_id")?,
        application_ids: repeatable(query, "application_id")?,
        connection_types: repeatable(query, "connection_type")?,
        statuses: statuses(query)?,
        ip_network: query.read("ip_address", "an address or a CIDR block", network)?,
        session_id: query.one("session_id")?,
        since: query.read("since", RFC3339, Timestamp::parse)?,
        until: query.read("until", RFC3339, Timestamp::parse)?,
        min_duration: query.read("min_duration", SECONDS, seconds)?,
        max_duration: query.read("max_duration", SECONDS, seconds)?,
        metadata: metadata(query)?,
    };
    Ok(filter)
}

/// Takes the statuses out of a query string. As in events, `failed` is taken as failure.
pub(crate) fn statuses(query: &mut QueryString) -> Result<Vec<String>, Problem> {
    let given = repeatable(query, "status")?.into_iter();
    Ok(given.map(|s| if s == "failed" { "failure".to_owned() } else { s }).collect())
}

/// Takes the order out of a query string.
pub(crate) fn order(query: &mut QueryString) -> Result<Option<Order>, Problem> {
    query.read("order", "-id, id, -timestamp or timestamp", |text| match text {
        "-id" => Some(Order::IdDescending),
        "id" => Some(Order::IdAscending),
        "-timestamp" => Some(Order::TimestampDescending),
        "timestamp" => Some(Order::TimestampAscending),
        _ => None,
    })
}

pub(crate) const RFC3339: &str =
    "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z";

const SECONDS: &str = "a number of seconds, 0 or more";

/// Takes every value of a repeatable filter out of a query string.
pub(crate) fn repeatable(query: &mut QueryString, name: &str) -> Result<Vec<String>, Problem> {
    let values = query.all(name);
    if values.len() > VALUES_MAX {
        let detail = format!("at most {VALUES_MAX} values");
        return Err(Problem::parameter(name, "too_many", detail));
    }
    if values.iter().any(|value| value.contains('\0')) {
        return Err(Problem::parameter(name, "invalid_value", "U+0000 is in no event"));
    }
    Ok(values)
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.into()),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

fn metadata(query: &mut QueryString) -> Result<Vec<MetadataFilter>, Problem> {
    let given = query.prefixed("metadata.");
    if given.len() > METADATA_FILTERS_MAX {
        let detail = format!("at most {METADATA_FILTERS_MAX} metadata filters");
        return Err(Problem::parameter("metadata", "too_many", detail));
    }
    let mut filters = Vec::with_capacity(given.len());
    for (path, value) in given {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let plain = |text: &String| !text.is_empty() && !text.contains('\0');
        if !path.iter().all(plain) || value.contains('\0') {
            let detail = "member names from the outside in, with a dot between two";
            return Err(Problem::parameter("metadata", "invalid_value", detail));
        }
        filters.push(MetadataFilter { path, value });
    }
    Ok(filters)
}
