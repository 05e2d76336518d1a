//! A query for one page of a list: the filter, the order, and the start of the page.

use crate::{EventFilter, Timestamp};

/// The order of a list. Events with the same timestamp are sorted by id, in the same direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The newest registered event first.
    #[default]
    IdDescending,
    /// In the order of registration.
    IdAscending,
    /// The latest timestamp first.
    TimestampDescending,
    /// The earliest timestamp first.
    TimestampAscending,
}

/// An event's position in an order: its id, and its timestamp if the order is by timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The event's timestamp. Orders by id ignore it.
    pub timestamp: Timestamp,
    /// The event's id.
    pub id: i64,
}

/// The start and direction of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first page.
    #[default]
    First,
    /// The page after this position, in the list's order.
    After(Position),
    /// The page just before this position; its events are still in the list's order.
    Before(Position),
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventQuery {
    /// The filter of the events.
    pub filter: EventFilter,
    /// The order of the events.
    pub order: Order,
    /// The start and direction.
    pub start: Start,
    /// At most this many, 1 or more.
    pub limit: usize,
}
