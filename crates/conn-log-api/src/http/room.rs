//! Rooms: bounds on the bytes that are held for all clients together.
//!
//! Code takes a share of a room before it holds bytes, and gives the share back by dropping it. A
//! room does not know what its bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound on bytes, shared by all holders.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: usize,
    taken: AtomicUsize,
}

/// The bytes of a room that one holder has.
#[derive(Debug)]
pub(crate) struct Share {
    room: Room,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Room(Arc::new(Inner { bytes_max, taken: AtomicUsize::new(0) }))
    }

    /// An empty share.
    pub(crate) fn share(&self) -> Share {
        Share { room: self.clone(), bytes: 0 }
    }

    /// A share of that many bytes, if there is room for it.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow_to(bytes).then_some(share)
    }

    /// A share of that many bytes, which is counted even if the room is full: for bytes that are
    /// held already and cannot be refused any more.
    pub(crate) fn take_anyway(&self, bytes: usize) -> Share {
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        Share { room: self.clone(), bytes }
    }
}

impl Share {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows the share to at least that many bytes; says whether there was room.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let Inner { bytes_max, taken } = &*self.room.0;
        let grown = |taken: usize| taken.checked_add(more).filter(|sum| sum <= bytes_max);
        let has_grown = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if has_grown {
            self.bytes = bytes;
        }
        has_grown
    }

    /// Shrinks the share to at most that many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.room.0.taken.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_a_limit_and_gets_back_dropped_shares() {
        let room = Room::new(10);
        let mut first = room.take(6).unwrap();
        assert!(room.take(5).is_none());
        assert!(!first.grow_to(11) && first.bytes() == 6);
        let second = room.take(4).unwrap();
        first.shrink_to(2);
        assert!(first.grow_to(6) && !first.grow_to(7));
        drop((first, second));
        assert!(room.take(10).is_some());
    }

    #[test]
    fn unrefusable_bytes_count_against_refusable_ones() {
        let room = Room::new(10);
        let held = room.take_anyway(15);
        assert!(room.take(1).is_none());
        drop(held);
        assert!(room.take(10).is_some());
    }
}
