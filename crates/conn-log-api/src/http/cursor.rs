//! Opaque cursors: an item's key in a list, and the direction to read from there.
//!
//! A cursor is base64url of a version, the list that it belongs to, a direction and the key. A
//! cursor of another version or another list is refused.

use conn_log_core::{Position, Timestamp};
use conn_log_store::{PageStart, SessionPlace, TokenPlace};
use data_encoding::BASE64URL_NOPAD;
use uuid::Uuid;

/// The first byte of every cursor. It changes whenever the meaning of the bytes after it changes.
const VERSION: u8 = 2;

const AFTER: u8 = b'a';
const BEFORE: u8 = b'b';

/// A list and its order. A cursor of one list is refused by all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListTag(pub(crate) u8);

/// The sort key of a list, as a cursor holds it.
pub(crate) trait CursorKey: Sized {
    /// The key as bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// The key from its bytes; `None` for invalid bytes.
    fn of_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Encodes a start as a cursor. The first page has no cursor.
pub(crate) fn encode<P: CursorKey>(list: ListTag, start: &PageStart<P>) -> Option<String> {
    let (direction, key) = match start {
        PageStart::First => return None,
        PageStart::After(key) => (AFTER, key),
        PageStart::Before(key) => (BEFORE, key),
    };
    let mut bytes = vec![VERSION, list.0, direction];
    bytes.extend(key.to_bytes());
    Some(BASE64URL_NOPAD.encode(&bytes))
}

/// Decodes a cursor of the same list.
pub(crate) fn decode<P: CursorKey>(list: ListTag, text: &str) -> Option<PageStart<P>> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    match bytes.as_slice() {
        [VERSION, of, AFTER, key @ ..] if *of == list.0 => {
            Some(PageStart::After(P::of_bytes(key)?))
        }
        [VERSION, of, BEFORE, key @ ..] if *of == list.0 => {
            Some(PageStart::Before(P::of_bytes(key)?))
        }
        _ => None,
    }
}

/// A name. The databases accept no U+0000 in a text.
impl CursorKey for String {
    fn to_bytes(&self) -> Vec<u8> {
        self.clone().into_bytes()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let name = String::from_utf8(bytes.to_vec()).ok()?;
        (!name.contains('\0')).then_some(name)
    }
}

/// A number.
impl CursorKey for i64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(i64::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl CursorKey for Position {
    fn to_bytes(&self) -> Vec<u8> {
        time_and_id(self.timestamp, self.id)
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (timestamp, id) = of_time_and_id(bytes)?;
        Some(Position { timestamp, id })
    }
}

impl CursorKey for SessionPlace {
    fn to_bytes(&self) -> Vec<u8> {
        time_and_id(self.at, self.event_id)
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, event_id) = of_time_and_id(bytes)?;
        Some(SessionPlace { at, event_id })
    }
}

impl CursorKey for TokenPlace {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.created_at.micros().to_be_bytes()[..], self.id.as_bytes()].concat()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, id) = bytes.split_first_chunk()?;
        let created_at = Timestamp::from_micros(i64::from_be_bytes(*time));
        Some(TokenPlace { created_at, id: Uuid::from_slice(id).ok()? })
    }
}

fn time_and_id(time: Timestamp, id: i64) -> Vec<u8> {
    [time.micros().to_be_bytes(), id.to_be_bytes()].concat()
}

fn of_time_and_id(bytes: &[u8]) -> Option<(Timestamp, i64)> {
    let (time, id) = bytes.split_first_chunk()?;
    let time = Timestamp::from_micros(i64::from_be_bytes(*time));
    Some((time, i64::from_be_bytes(id.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: ListTag = ListTag(b'x');

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let key = Position { id: 7, timestamp: Timestamp::from_micros(-5) };
        for start in [PageStart::After(key), PageStart::Before(key)] {
            let text = encode(LIST, &start).unwrap();
            assert_eq!(decode(LIST, &text), Some(start));
            assert_eq!(decode::<Position>(ListTag(b'y'), &text), None);
        }
        assert_eq!(encode::<Position>(LIST, &PageStart::First), None);
    }

    #[test]
    fn a_cursor_of_another_version_or_another_length_is_refused() {
        let key = SessionPlace { at: Timestamp::EPOCH, event_id: 7 };
        let text = encode(LIST, &PageStart::After(key)).unwrap();
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let changed = |change: fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            decode::<SessionPlace>(LIST, &BASE64URL_NOPAD.encode(&bytes))
        };
        assert_eq!(changed(|_| {}), Some(PageStart::After(key)));
        assert_eq!(changed(|bytes| bytes[0] -= 1), None);
        assert_eq!(changed(|bytes| bytes[2] = b'?'), None);
        assert_eq!(changed(|bytes| bytes.truncate(18)), None);
        assert_eq!(changed(|bytes| bytes.push(0)), None);
        assert_eq!(changed(Vec::clear), None);
    }

    #[test]
    fn a_token_s_place_reads_back() {
        let place = TokenPlace { created_at: Timestamp::EPOCH, id: Uuid::from_u128(7) };
        assert_eq!(TokenPlace::of_bytes(&place.to_bytes()), Some(place));
        assert_eq!(TokenPlace::of_bytes(&place.to_bytes()[1..]), None);
    }

    #[test]
    fn a_name_is_utf8_without_nul() {
        let text = encode(LIST, &PageStart::After("gerät".to_owned())).unwrap();
        assert_eq!(decode(LIST, &text), Some(PageStart::After("gerät".to_owned())));
        for bytes in [&b"\xff"[..], b"a\0b"] {
            let bytes = [&[VERSION, LIST.0, AFTER], bytes].concat();
            assert_eq!(decode::<String>(LIST, &BASE64URL_NOPAD.encode(&bytes)), None);
        }
    }
}
