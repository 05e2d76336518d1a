//! Pages of lists: their start, direction and size.

use conn_log_core::Record;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items in the list's order, even if the page was read backwards.
    pub items: Vec<T>,
    /// Whether there are more items beyond the page, in the direction of the read.
    pub has_more: bool,
}

/// The start and direction of a page. `P` is a position in the list.
#[derive(Clone, Debug, PartialEq)]
pub enum PageStart<P> {
    /// The first page.
    First,
    /// The page after this position.
    After(P),
    /// The page just before this position.
    Before(P),
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct PageQuery<P> {
    /// The start and direction.
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

    /// Makes the page from items sorted in the direction of reading. If there is more than one
    /// page, `items` must have at least one more than the page.
    pub(crate) fn page<T>(&self, mut items: Vec<T>) -> Page<T> {
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        if self.is_backwards() {
            items.reverse();
        }
        Page { items, has_more }
    }

    /// Makes the page from all items of a short list, in any order. The list is sorted by `place`,
    /// the highest first.
    pub(crate) fn page_of_all<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> P) -> Page<T>
    where
        P: Ord,
    {
        match &self.start {
            PageStart::First => {}
            PageStart::After(position) => items.retain(|item| place(item) < *position),
            PageStart::Before(position) => items.retain(|item| place(item) > *position),
        }
        items.sort_by_key(|item| std::cmp::Reverse(place(item)));
        if self.is_backwards() {
            items.reverse();
        }
        self.page(items)
    }
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// The records in the requested order, even if the page was read backwards.
    pub records: Vec<Record>,
    /// Whether there are more records beyond the page, in the direction of the read.
    pub has_more: bool,
}
