//! Pages of lists: from where, which way, and how far.

use conn_log_core::Record;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// In the list's order, whichever way the page was read.
    pub items: Vec<T>,
    /// Whether there are more beyond the page, in the direction that it was read.
    pub has_more: bool,
}

/// From where, and which way, a page is read. `P` is a position in the list.
#[derive(Clone, Debug, PartialEq)]
pub enum PageStart<P> {
    /// The first page.
    First,
    /// What follows this position.
    After(P),
    /// What comes just before this position.
    Before(P),
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct PageQuery<P> {
    /// From where on.
    pub start: PageStart<P>,
    /// At most this many, 1 or more.
    pub limit: usize,
}

impl<P: Clone> PageQuery<P> {
    pub(crate) fn position(&self) -> Option<P> {
        match &self.start {
            PageStart::First => None,
            PageStart::After(position) | PageStart::Before(position) => Some(position.clone()),
        }
    }

    pub(crate) fn is_backwards(&self) -> bool {
        matches!(self.start, PageStart::Before(_))
    }

    /// The page out of items sorted in the direction of reading, one more than the page at least
    /// where there are more.
    pub(crate) fn page<T>(&self, mut items: Vec<T>) -> Page<T> {
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        if self.is_backwards() {
            items.reverse();
        }
        Page { items, has_more }
    }
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// In the order that was asked for, whichever way the page was read.
    pub records: Vec<Record>,
    /// Whether there are more beyond the page, in the direction that it was read.
    pub has_more: bool,
}
