//! Opaque cursors: where a page ended, and which way the next one goes.

use conn_log_core::{Order, Position, Start, Timestamp};
use data_encoding::BASE64URL_NOPAD;

/// The first byte of every cursor. A cursor of another make is refused, not misread.
const VERSION: u8 = 1;

/// A place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) start: Start,
    /// Whether the page is one of the feed, which has no end.
    pub(crate) of_feed: bool,
}

/// Writes a place as a cursor. It holds the order, so that it cannot be taken into another one.
pub(crate) fn encode(order: Order, Cursor { start, of_feed }: Cursor) -> Option<String> {
    let (direction, position) = match start {
        Start::First => return None,
        Start::After(position) => (b'a', position),
        Start::Before(position) if of_feed => (b'f', position),
        Start::Before(position) => (b'b', position),
    };
    let mut bytes = vec![VERSION, order_byte(order), direction];
    bytes.extend(position.id.to_be_bytes());
    bytes.extend(position.timestamp.micros().to_be_bytes());
    Some(BASE64URL_NOPAD.encode(&bytes))
}

/// Reads a cursor of the same order.
pub(crate) fn decode(order: Order, cursor: &str) -> Option<Cursor> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let [VERSION, made_for, direction, numbers @ ..] = bytes.as_slice() else {
        return None;
    };
    let (id, micros) = numbers.split_first_chunk()?;
    let position = Position {
        id: i64::from_be_bytes(*id),
        timestamp: Timestamp::from_micros(i64::from_be_bytes(micros.try_into().ok()?)),
    };
    let start = match direction {
        _ if *made_for != order_byte(order) => return None,
        b'a' => Start::After(position),
        b'b' => Start::Before(position),
        b'f' if order == Order::IdAscending => Start::Before(position),
        _ => return None,
    };
    Some(Cursor { start, of_feed: *direction == b'f' })
}

fn order_byte(order: Order) -> u8 {
    match order {
        Order::IdDescending => b'd',
        Order::IdAscending => b'a',
        Order::TimestampDescending => b'T',
        Order::TimestampAscending => b't',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_order_only() {
        let position = Position { id: 7, timestamp: Timestamp::from_micros(-5) };
        for start in [Start::After(position), Start::Before(position)] {
            let cursor = Cursor { start, of_feed: false };
            let text = encode(Order::TimestampAscending, cursor).unwrap();
            assert_eq!(decode(Order::TimestampAscending, &text), Some(cursor));
            assert_eq!(decode(Order::IdAscending, &text), None);
        }
    }

    #[test]
    fn a_cursor_of_the_feed_is_one_by_ascending_id_only() {
        let start = Start::Before(Position { id: 7, timestamp: Timestamp::EPOCH });
        let cursor = Cursor { start, of_feed: true };
        let text = encode(Order::IdAscending, cursor).unwrap();
        assert_eq!(decode(Order::IdAscending, &text), Some(cursor));
        let elsewhere = encode(Order::IdDescending, cursor).unwrap();
        assert_eq!(decode(Order::IdDescending, &elsewhere), None);
    }
}
