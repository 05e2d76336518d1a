//! Which events a reader asks for, in which order, and from where on.

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

/// The order of a list. Ties in timestamp are broken by id, in the same direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Newest registered first.
    #[default]
    IdDescending,
    /// In the order of registration.
    IdAscending,
    /// Latest timestamp first.
    TimestampDescending,
    /// Earliest timestamp first.
    TimestampAscending,
}

/// An event's place in an order: its id, and its timestamp where the order is by timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The event's timestamp. Orders by id do not look at it.
    pub timestamp: Timestamp,
    /// The event's id.
    pub id: i64,
}

/// From where, and which way, a page is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first page.
    #[default]
    First,
    /// What follows this place, in the list's order.
    After(Position),
    /// What comes just before this place; still given in the list's order.
    Before(Position),
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventQuery {
    /// Which events.
    pub filter: EventFilter,
    /// In which order.
    pub order: Order,
    /// From where on.
    pub start: Start,
    /// At most this many, 1 or more.
    pub limit: usize,
}
