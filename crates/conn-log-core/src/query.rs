//! Which page of a list a reader asks for: the events, their order, and where the page begins.

use crate::{EventFilter, Timestamp};

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
