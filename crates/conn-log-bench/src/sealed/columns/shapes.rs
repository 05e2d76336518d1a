//! Metadata as its shape, which is its JSON with a mark in place of each value, and its values.
//!
//! The JSON is canonical, so that shape and values give it back byte for byte. Metadata that does not come
//! back, or has a shape that few events of the block have, stays whole.

use std::ops::Range;

/// The shape of metadata that is not split into columns. JSON has no such character outside of a string.
pub(super) const WHOLE: &str = "\u{5}";

/// A value of a shape, told apart by the mark in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// The text between the quotes, as it is escaped.
    Text,
    /// A number that `i64` writes in the same way.
    Int,
    /// Another number.
    Real,
    /// The event's session id.
    Session,
}

impl Slot {
    fn mark(self) -> char {
        match self {
            Slot::Text => '\u{1}',
            Slot::Int => '\u{2}',
            Slot::Real => '\u{3}',
            Slot::Session => '\u{4}',
        }
    }

    fn of_mark(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Slot::Text),
            2 => Some(Slot::Int),
            3 => Some(Slot::Real),
            4 => Some(Slot::Session),
            _ => None,
        }
    }
}

/// The shape of metadata and the places of its values. `None` if it has a character that marks use.
pub(super) fn split(json: &str, session: Option<&str>) -> Option<(String, Vec<Range<usize>>)> {
    let bytes = json.as_bytes();
    if bytes.iter().any(|byte| *byte < b' ') {
        return None;
    }
    let (mut shape, mut values) = (String::with_capacity(json.len()), Vec::new());
    let (mut literal, mut at) = (0, 0);
    while at < bytes.len() {
        let (value, slot) = match bytes[at] {
            b'"' => {
                let end = end_of_text(bytes, at + 1)?;
                if bytes.get(end + 1) == Some(&b':') {
                    // The name of a member belongs to the shape.
                    at = end + 1;
                    continue;
                }
                let text = &json[at + 1..end];
                (at + 1..end, if Some(text) == session { Slot::Session } else { Slot::Text })
            }
            b'-' | b'0'..=b'9' => {
                let is_number =
                    |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + bytes[at..].iter().take_while(is_number).count();
                (at..end, if is_int(&json[at..end]) { Slot::Int } else { Slot::Real })
            }
            _ => {
                at += 1;
                continue;
            }
        };
        shape.push_str(&json[literal..value.start]);
        shape.push(slot.mark());
        literal = value.end;
        // Past the closing quote.
        at = value.end + usize::from(matches!(slot, Slot::Text | Slot::Session));
        values.push(value);
    }
    shape.push_str(&json[literal..]);
    Some((shape, values))
}

fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn is_int(text: &str) -> bool {
    text.parse().is_ok_and(|value: i64| itoa::Buffer::new().format(value) == text)
}

/// A column's name: the member's name before the value, which of the values after that name, and its kind.
/// Shapes share the columns of values that they share.
pub(super) type Name<'s> = (&'s str, usize, Slot);

/// The slots of a shape.
pub(super) fn slots(shape: &str) -> Vec<Name<'_>> {
    let bytes = shape.as_bytes();
    let mut slots: Vec<Name<'_>> = Vec::new();
    let (mut name, mut at) = ("", 0);
    while at < bytes.len() {
        if let Some(slot) = Slot::of_mark(bytes[at]) {
            let before = slots.iter().filter(|other| other.0 == name && other.2 == slot).count();
            slots.push((name, before, slot));
            // Past the closing quote.
            at += usize::from(matches!(slot, Slot::Text | Slot::Session));
        } else if bytes[at] == b'"'
            && let Some(end) = end_of_text(bytes, at + 1)
            && bytes.get(end + 1) == Some(&b':')
        {
            name = &shape[at + 1..end];
            at = end;
        }
        at += 1;
    }
    slots
}

/// Puts values in the places of a shape's marks.
pub(super) fn fill(shape: &str, mut value: impl FnMut(usize, &mut String), out: &mut String) {
    let (mut literal, mut slot) = (0, 0);
    for (at, byte) in shape.bytes().enumerate() {
        if Slot::of_mark(byte).is_some() {
            out.push_str(&shape[literal..at]);
            value(slot, out);
            slot += 1;
            literal = at + 1;
        }
    }
    out.push_str(&shape[literal..]);
}
