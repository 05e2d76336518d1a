//! Which events a reader asks for.

mod matching;

use ipnet::IpNet;

use crate::Timestamp;

/// The events that a list, a stream or an export is about. Every given filter must hold; within a
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
/// It holds where the path leads to the text `value`, or to a number, `true`, `false` or `null`
/// whose JSON text is `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataFilter {
    /// Member names from the outside in: `a.b` is `["a", "b"]`. Never empty.
    pub path: Vec<String>,
    /// What is to be there.
    pub value: String,
}
