//! Numbers in few bytes: LEB128, signed ones in zigzag.

use integer_encoding::VarInt as _;

/// Bytes of the largest number.
const BYTES_MAX: usize = 10;

pub(super) fn write(out: &mut Vec<u8>, number: u64) {
    let mut bytes = [0; BYTES_MAX];
    let length = number.encode_var(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
}

pub(super) fn write_signed(out: &mut Vec<u8>, number: i64) {
    let mut bytes = [0; BYTES_MAX];
    let length = number.encode_var(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
}

/// Reads a number from the front. `None` if there is no valid number.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (number, length) = u64::decode_var(bytes)?;
    *bytes = &bytes[length..];
    Some(number)
}

/// Reads a signed number from the front.
pub(super) fn read_signed(bytes: &mut &[u8]) -> Option<i64> {
    let (number, length) = i64::decode_var(bytes)?;
    *bytes = &bytes[length..];
    Some(number)
}
