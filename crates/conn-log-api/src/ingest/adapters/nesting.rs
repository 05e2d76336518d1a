//! A limit on the nesting of JSON, checked before parsing.

use crate::ingest::submitted::BodyFault;

/// Brackets that may be open at once in a body. Up to this limit, metadata deeper than its eight
/// levels is reported as a fault of its event.
const OPEN_BRACKETS_MAX: usize = 64 << 10;

/// Refuses JSON with too many open brackets. The parser keeps a byte for each open bracket, and
/// more while its buffer grows, so such a text would take two or three times its size in addition.
pub(super) fn nests_little(json: &[u8]) -> Result<(), BodyFault> {
    if json.len() <= OPEN_BRACKETS_MAX {
        return Ok(());
    }
    let (mut open, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => open += 1,
            b']' | b'}' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
        if open > OPEN_BRACKETS_MAX {
            return Err(BodyFault::NestsDeep { brackets_max: OPEN_BRACKETS_MAX });
        }
    }
    Ok(())
}
