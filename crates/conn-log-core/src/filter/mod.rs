//! Filters of events: one definition for lists, streams, exports, rules and policies.
//!
//! A filter is read from a query string or from JSON, with the same names and rules. It can be
//! written as JSON. It knows neither HTTP nor SQL.

mod error;
mod json;
mod matching;
mod metadata_path;
mod query_string;

use ipnet::IpNet;

pub use self::error::{FilterError, FilterErrorCode};
pub use self::metadata_path::MetadataPath;
use crate::Timestamp;

/// A filter for events of a list, a stream or an export. Every given condition must hold; within a
/// repeatable one any value may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFilter {
    /// Any of these devices; empty for all.
    pub device_ids: Vec<String>,
    /// Any of these applications; empty for all.
    pub application_ids: Vec<String>,
    /// Any of these connection types; empty for all.
    pub connection_types: Vec<String>,
    /// Any of these statuses; empty for all.
    pub statuses: Vec<String>,
    /// Only addresses within this block. A single address is a block of one.
    pub ip_network: Option<IpNet>,
    /// Only this session.
    pub session_id: Option<String>,
    /// Only events whose timestamp is this or later.
    pub since: Option<Timestamp>,
    /// Only events whose timestamp is before this.
    pub until: Option<Timestamp>,
    /// Only events whose metadata has these values at these paths.
    pub metadata: Vec<MetadataFilter>,
    /// Only events with a duration of at least this many seconds.
    pub min_duration: Option<f64>,
    /// Only events with a duration of at most this many seconds.
    pub max_duration: Option<f64>,
}

/// One `metadata.<path>=<value>` filter.
///
/// It holds if the value at the path is the text `value`, or a number, `true`, `false` or `null`
/// whose JSON text is `value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataFilter {
    /// The path to the value.
    pub path: MetadataPath,
    /// The expected value.
    pub value: String,
}
