//! Spans of ids.

/// Ids from `first` to `last`, both included; empty if `last` is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Span {
    pub(crate) const ALL: Span = Span { first: 1, last: i64::MAX };

    pub(crate) fn len(self) -> u64 {
        self.last.saturating_add(1).saturating_sub(self.first).max(0).cast_unsigned()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.last < self.first
    }

    pub(crate) fn contains(self, id: i64) -> bool {
        self.first <= id && id <= self.last
    }

    pub(crate) fn and(self, other: Span) -> Span {
        Span { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// Cuts up to `count` ids off the end or the start, and returns them.
    pub(crate) fn cut(&mut self, count: i64, is_descending: bool) -> Span {
        let mut cut = *self;
        if is_descending {
            cut.first = cut.first.max(self.last.saturating_sub(count - 1));
            self.last = cut.first - 1;
        } else {
            cut.last = cut.last.min(self.first.saturating_add(count - 1));
            self.first = cut.last.saturating_add(1);
        }
        cut
    }
}
