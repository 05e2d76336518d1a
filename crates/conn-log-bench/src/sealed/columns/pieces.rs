//! A text as a pattern and the numbers in it: `dev_00100` is a number of five digits after `dev_`, a
//! session's id sixteen hexadecimal digits after `sess_`, a UUID sixteen bytes.

use integer_encoding::VarInt as _;

fn is_hexadecimal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many decimal digits.
    Decimal(usize),
    /// So many lower-case hexadecimal digits.
    Hexadecimal(usize),
    /// Hexadecimal digits in the form 8-4-4-4-12.
    Uuid,
}

/// Shorter numbers stay text: they would make too many patterns.
const DECIMAL_MIN: usize = 4;
/// What an `i64` holds in any case.
const DECIMAL_MAX: usize = 18;
/// Shorter ones may be words.
const HEXADECIMAL_MIN: usize = 8;

const UUID_LENGTH: usize = 36;
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Piece {
    /// The piece at the beginning of that text.
    fn at(text: &[u8]) -> Option<Self> {
        if let Some(text) = text.get(..UUID_LENGTH)
            && text.iter().enumerate().all(|(place, byte)| {
                if UUID_HYPHENS.contains(&place) { *byte == b'-' } else { is_hexadecimal(*byte) }
            })
        {
            return Some(Piece::Uuid);
        }
        let length = text.iter().take_while(|byte| is_hexadecimal(**byte)).count();
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == length {
            return (DECIMAL_MIN..=DECIMAL_MAX).contains(&length).then_some(Piece::Decimal(length));
        }
        (length >= HEXADECIMAL_MIN).then_some(Piece::Hexadecimal(length))
    }

    pub(super) fn text_length(self) -> usize {
        match self {
            Piece::Decimal(length) | Piece::Hexadecimal(length) => length,
            Piece::Uuid => UUID_LENGTH,
        }
    }

    /// Of a piece that is kept as bytes.
    pub(super) fn bytes_length(self) -> usize {
        match self {
            Piece::Decimal(_) => 0,
            Piece::Hexadecimal(length) => length.div_ceil(2),
            Piece::Uuid => 16,
        }
    }

    /// Its digits, two to a byte.
    pub(super) fn write_bytes(text: &[u8], out: &mut Vec<u8>) {
        let digits = text.iter().filter(|byte| **byte != b'-').map(|byte| match byte {
            b'0'..=b'9' => byte - b'0',
            _ => byte - b'a' + 10,
        });
        let mut high = None;
        for digit in digits {
            match high.take() {
                None => high = Some(digit),
                Some(high) => out.push(high << 4 | digit),
            }
        }
        out.extend(high.map(|high| high << 4));
    }

    /// The digits of such bytes as a text.
    pub(super) fn text_of(self, bytes: &[u8], out: &mut String) {
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let length = self.text_length() - if self == Piece::Uuid { UUID_HYPHENS.len() } else { 0 };
        for digit in digits.take(length) {
            out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
        if self == Piece::Uuid {
            let begin = out.len() - length;
            UUID_HYPHENS.iter().for_each(|place| out.insert(begin + place, '-'));
        }
    }
}

/// Literals, each with the piece behind it.
pub(super) type Parts<'p> = Vec<(&'p str, Option<Piece>)>;

/// A text without its numbers: literals, each followed by a piece, except the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pattern(pub(super) Vec<u8>);

const KIND_END: u8 = 0;
const KIND_DECIMAL: u8 = 1;
const KIND_HEXADECIMAL: u8 = 2;
const KIND_UUID: u8 = 3;

impl Pattern {
    /// The pattern of a text. Gives each piece with its text to `take`.
    pub(super) fn of<'t>(text: &'t str, mut take: impl FnMut(Piece, &'t [u8])) -> Self {
        let (bytes, mut pattern) = (text.as_bytes(), Pattern::default());
        let (mut literal, mut at) = (0, 0);
        while at < bytes.len() {
            let is_inside = at > literal && bytes[at - 1].is_ascii_alphanumeric();
            let is_word = is_inside && !bytes[at].is_ascii_digit();
            let piece = if is_word { None } else { Piece::at(&bytes[at..]) };
            let Some(piece) = piece else {
                // Not the rest of these digits either: their beginning belongs to them.
                let rest = bytes[at..].iter().take_while(|byte| is_hexadecimal(**byte)).count();
                at += rest.max(1);
                continue;
            };
            let end = at + piece.text_length();
            pattern.push(&bytes[literal..at], Some(piece));
            take(piece, &bytes[at..end]);
            (literal, at) = (end, end);
        }
        pattern.push(&bytes[literal..], None);
        pattern
    }

    fn push(&mut self, literal: &[u8], piece: Option<Piece>) {
        self.0.extend(literal.len().encode_var_vec());
        self.0.extend(literal);
        let (kind, length) = match piece {
            None => (KIND_END, None),
            Some(Piece::Decimal(length)) => (KIND_DECIMAL, Some(length)),
            Some(Piece::Hexadecimal(length)) => (KIND_HEXADECIMAL, Some(length)),
            Some(Piece::Uuid) => (KIND_UUID, None),
        };
        self.0.push(kind);
        self.0.extend(length.into_iter().flat_map(usize::encode_var_vec));
    }

    /// Its literals with the piece behind each, from the beginning of `bytes`; and the rest.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<(Parts<'_>, &[u8])> {
        let mut parts = Vec::new();
        loop {
            let (length, read) = usize::decode_var(bytes)?;
            let (literal, rest) = bytes[read..].split_at_checked(length)?;
            let literal = std::str::from_utf8(literal).ok()?;
            let (kind, mut rest) = rest.split_first()?;
            let mut length = || {
                let (length, read) = usize::decode_var(rest)?;
                rest = &rest[read..];
                Some(length)
            };
            let piece = match *kind {
                KIND_DECIMAL => Some(Piece::Decimal(length()?)),
                KIND_HEXADECIMAL => Some(Piece::Hexadecimal(length()?)),
                KIND_UUID => Some(Piece::Uuid),
                _ => None,
            };
            parts.push((literal, piece));
            bytes = rest;
            if *kind == KIND_END {
                return Some((parts, bytes));
            }
        }
    }
}
