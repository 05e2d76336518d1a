//! A set of ids of one run, as a bitmap.

use crate::log::span::Span;

#[derive(Clone, Debug)]
pub(super) struct IdSet {
    span: Span,
    words: Vec<u64>,
    /// The number of ids in the set.
    count: usize,
    /// Words at the front that are known to be empty.
    skipped: usize,
}

impl IdSet {
    /// An empty set for ids of that span.
    pub(super) fn new(span: Span) -> Self {
        let words = usize::try_from(span.len().div_ceil(64)).unwrap_or(0);
        IdSet { span, words: vec![0; words], count: 0, skipped: 0 }
    }

    /// Adds an id. Ids outside the span are ignored.
    pub(super) fn insert(&mut self, id: i64) {
        if let Some((word, bit)) = self.bit(id) {
            self.count += usize::from(self.words[word] & bit == 0);
            self.words[word] |= bit;
        }
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.bit(id).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Keeps only ids that are also in `other`; both sets must have the same span.
    pub(super) fn intersect(&mut self, other: &IdSet) {
        self.count = 0;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
            self.count += word.count_ones() as usize;
        }
    }

    /// Keeps only ids in a span.
    pub(super) fn keep(&mut self, span: Span) {
        if span.first <= self.span.first && self.span.last <= span.last {
            return;
        }
        let mut kept = IdSet::new(self.span);
        let offset = |id: i64| usize::try_from((id - self.span.first) / 64).unwrap_or(0);
        let both = self.span.and(span);
        if !both.is_empty() {
            for word in offset(both.first)..=offset(both.last) {
                kept.words[word] = u64::MAX;
            }
            // The words at both ends may contain ids outside the span.
            for id in (both.first - 64..both.first).chain(both.last + 1..=both.last + 64) {
                kept.remove(id);
            }
        }
        self.intersect(&kept);
    }

    fn remove(&mut self, id: i64) {
        if let Some((word, bit)) = self.bit(id) {
            self.words[word] &= !bit;
        }
    }

    /// Takes up to `count` ids out, the lowest or the highest first, in that order.
    pub(super) fn take(&mut self, count: usize, is_descending: bool) -> Vec<i64> {
        let mut taken = Vec::with_capacity(count.min(self.count));
        while taken.len() < count && self.count > 0 {
            let first = self.span.first;
            let bits = &mut self.words;
            let (word, bit) = if is_descending {
                // Empty words at the end are removed, so that they are not read again.
                while bits.last() == Some(&0) {
                    bits.pop();
                }
                let Some(last) = bits.last() else { break };
                (bits.len() - 1, 63 - last.leading_zeros())
            } else {
                let empty = bits.iter().skip(self.skipped).take_while(|word| **word == 0).count();
                self.skipped += empty;
                let Some(word) = bits.get(self.skipped) else { break };
                (self.skipped, word.trailing_zeros())
            };
            bits[word] &= !(1 << bit);
            self.count -= 1;
            taken.push(first + i64::try_from(word * 64).unwrap_or(0) + i64::from(bit));
        }
        taken
    }

    fn bit(&self, id: i64) -> Option<(usize, u64)> {
        let offset = self.span.contains(id).then(|| id - self.span.first)?;
        let word = usize::try_from(offset / 64).ok()?;
        (word < self.words.len()).then_some((word, 1 << (offset % 64)))
    }
}
