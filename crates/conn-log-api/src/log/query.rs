//! Parses query parameters into a query of events.

use conn_log_core::{EventFilter, Order};

use crate::http::problem::Problem;
use crate::http::query_string::QueryString;

/// Takes the filters out of a query string.
pub(crate) fn filter(query: &mut QueryString) -> Result<EventFilter, Problem> {
    Ok(EventFilter::from_query(query.pairs())?)
}

/// Takes every value of a repeatable filter out of a query string.
pub(crate) fn repeatable(query: &mut QueryString, name: &str) -> Result<Vec<String>, Problem> {
    Ok(EventFilter::values_from_query(query.pairs(), name)?)
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

/// What a time in a query is.
pub(crate) const RFC3339_IN_QUERY: &str =
    "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z; a + is written %2B";

/// What a time in a body is.
pub(crate) const RFC3339: &str =
    "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z";
