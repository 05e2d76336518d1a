//! How deep JSON may nest before it is parsed.

use crate::ingest::submitted::BodyFault;

/// Brackets that may be open at once in a body. What is deeper than metadata's eight levels is told as a fault
/// of its event, up to here.
const OPEN_BRACKETS_MAX: usize = 64 << 10;

/// Refuses JSON of brackets within brackets: the parser keeps a byte for each that is open, and more while
/// it grows, so that such a text would take its size two or three times again.
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
